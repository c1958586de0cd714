//! What a guard says, for whom it holds: in the words of the policy.

use serde::Serialize;

use super::words::{OF_RESOURCES, OF_URLS, VERBS};
use super::{Guards, Held, Pattern, Record, Rule};

/// A guard that holds for somebody.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Account<'m> {
    name: &'m str,
    #[serde(skip_serializing_if = "Option::is_none")]
    allow: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    deny: Vec<Denial>,
    /// What of a stream is recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<&'static str>,
    /// In seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_session: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_bytes: Option<u64>,
    /// Where it records or bounds streams.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    namespaces: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    names: Vec<String>,
}

/// What a rule takes away: resources, or URLs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Denial {
    verbs: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    urls: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    api_groups: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    resources: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    namespaces: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    names: Vec<String>,
}

impl Record {
    /// The word of the policy; nothing for nothing.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::Output => Some("output"),
            Self::Input => Some("input"),
        }
    }
}

impl<'m> Guards<'m> {
    /// The guards that hold for somebody, in the order of the file.
    pub fn accounts(&self, held: &Held) -> impl Iterator<Item = Account<'m>> {
        let held = held.clone();
        let of = move |(place, guard): (usize, &super::Guard<'m>)| {
            let session = self.sessions.iter().find(|session| session.guard == place);
            let [start, namespaces, names] = session.map_or([0; 3], |session| session.bounds);
            let written = |from, to| if session.is_some() { self.written(from, to) } else { Vec::new() };
            Account {
                name: guard.name,
                allow: guard.is_read_only.then_some("read-only"),
                deny: self.rules.iter().filter(|rule| rule.guard == place).map(|rule| self.denial(rule)).collect(),
                record: session.and_then(|session| session.record.name()),
                max_session: session.and_then(|session| session.seconds),
                max_bytes: session.map(|session| session.bytes),
                namespaces: written(start, namespaces),
                names: written(namespaces, names),
            }
        };
        self.all.iter().enumerate().filter(move |(place, _)| held.has(*place)).map(of)
    }

    fn denial(&self, rule: &Rule) -> Denial {
        let [start, groups, resources, namespaces, names] = rule.bounds;
        let all = if rule.is_of_urls { OF_URLS } else { OF_RESOURCES };
        let verbs = if rule.verbs & all == all { vec!["*"] } else { verbs(rule.verbs) };
        if rule.is_of_urls {
            let urls = self.written(start, groups);
            return Denial { verbs, urls, api_groups: vec![], resources: vec![], namespaces: vec![], names: vec![] };
        }
        Denial {
            verbs,
            urls: Vec::new(),
            api_groups: self.written(start, groups),
            resources: self.written(groups, resources),
            namespaces: self.written(resources, namespaces),
            names: self.written(namespaces, names),
        }
    }

    /// A list as the policy has it.
    fn written(&self, from: usize, to: usize) -> Vec<String> {
        match self.list(from, to) {
            [] => vec!["*".to_owned()],
            list => list.iter().map(Pattern::written).collect(),
        }
    }
}

fn verbs(set: u16) -> Vec<&'static str> {
    (0..).zip(VERBS).filter(|(place, _)| set >> place & 1 == 1).map(|(_, verb)| verb).collect()
}
