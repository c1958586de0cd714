//! The policy as the Worker has it: compiled by the files that `build.rs` compiles it with, and read by the library's own types.

use std::collections::HashSet;
use std::path::Path;
use std::{fs, io};

use kube_access::guard::{Guards, words};
use kube_access::identity::{IdentityMap, name};

use crate::failure::Failure;

#[path = "../../policy/resources.rs"]
#[allow(dead_code, clippy::duplicate_mod, reason = "shared with the policy's compiler, which uses and tests all of it")]
mod resources;
#[path = "../../policy/source.rs"]
#[allow(dead_code, reason = "shared with build.rs, which uses and tests all of it")]
mod source;

/// The policy of a file, compiled.
#[derive(Debug)]
pub(crate) struct Policy {
    tables: source::Tables,
}

impl Policy {
    /// Reads and compiles a file. What is wrong in it is told with its line, as the build does.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let shown = path.display();
        let yaml = fs::read_to_string(path).map_err(|error| {
            let is_missing = error.kind() == io::ErrorKind::NotFound;
            let remedy = if is_missing { ": name the policy with --policy FILE" } else { "" };
            Failure::new(format!("{shown}: {error}{remedy}"))
        })?;
        Self::compile(&yaml).map_err(|message| Failure::new(format!("{shown}, {message}")))
    }

    /// Compiles the text of a policy.
    pub(crate) fn compile(yaml: &str) -> Result<Self, String> {
        source::compile(yaml).map(|tables| Self { tables }).map_err(|error| error.to_string())
    }

    /// Who enters, as whom.
    pub(crate) fn map(&self) -> IdentityMap<'_> {
        IdentityMap {
            emails: &self.tables.emails,
            email_domains: &self.tables.email_domains,
            service_tokens: &self.tables.service_tokens,
            idp_groups: &self.tables.idp_groups,
            granted: &self.tables.granted,
        }
    }

    /// What may not pass.
    pub(crate) fn guards(&self) -> Guards<'_> {
        Guards::parse(&self.tables.guards)
    }

    /// The users, as entries write them, and the groups that entries give and that are listed under `grants`: Terraform lets the
    /// gateway give no others.
    pub(crate) fn names(&self) -> HashSet<&str> {
        let source::Tables { emails, email_domains, service_tokens, idp_groups, granted, .. } = &self.tables;
        // A row begins with user and groups, after its keys.
        let tables = [(emails, 1), (email_domains, 1), (service_tokens, 1), (idp_groups, 2), (granted, 0)];
        let rows = tables.into_iter().flat_map(|(table, keys)| table.lines().map(move |line| (line, keys)));
        let cells = rows.flat_map(|(line, keys)| line.split('\t').skip(keys).take(2));
        cells.flat_map(|cell| cell.split(',')).filter(|name| !name.is_empty()).collect()
    }

    /// The entries that name a group of the identity provider.
    pub(crate) fn idp_groups(&self) -> impl Iterator<Item = IdpGroup<'_>> {
        self.tables.idp_groups.lines().filter_map(|line| {
            let mut cells = line.split('\t');
            let (id, idp, user) = (cells.next()?, cells.next()?, cells.next()?);
            let groups = cells.next().unwrap_or_default();
            Some(IdpGroup { id, idp, user, groups: groups.split(',').filter(|group| !group.is_empty()).collect() })
        })
    }
}

/// An entry that names a group of the identity provider.
#[derive(Debug)]
pub(crate) struct IdpGroup<'p> {
    /// The group's ID.
    pub(crate) id: &'p str,
    /// The login method, where it counts by that one only.
    pub(crate) idp: &'p str,
    /// The user, where membership alone lets in.
    pub(crate) user: &'p str,
    /// The groups that it gives.
    pub(crate) groups: Vec<&'p str>,
}

/// The plural of a resource of Kubernetes' own, by its plural, singular, kind or short name.
pub(crate) fn plural_of(text: &str) -> Option<&'static str> {
    resources::plural_of(text)
}

/// The groups that have this resource, if it is one of Kubernetes' own.
pub(crate) fn groups_of(resource: &str) -> Vec<&'static str> {
    resources::groups_of(resource)
}
