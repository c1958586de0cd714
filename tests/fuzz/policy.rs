//! What must be true of every policy that compiles, of every entry of Workers KV, and of whatever Access says of somebody.

use kube_access::guard::Guards;
use kube_access::identity::IdentityMap;
use kube_access::identity::entry::{self, Verdict};
use kube_access::identity::membership::{Membership, Person};
use kube_access::target::Target;
use kube_access::token::{Claims, Untrusted};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use serde_json::json;

use crate::team::{NOW, config, encode, merge, person};
use crate::{name, source};

const MAP: IdentityMap<'static> = IdentityMap {
    emails: "alice@example.com\talice\tadmins,devs\n",
    email_domains: "",
    service_tokens: "",
    idp_groups: "g-1\t\t\ton-call\ng-2\tidp-1\tguest\tguests\n",
    granted: "",
};

/// A guard takes away and never breaks kubectl: discovery and the reviews of oneself stay open; what holds for everybody holds for
/// whoever asks; and what one guard refuses, no other gives back.
pub(crate) fn guards(yaml: &str) -> Result<(), TestCaseError> {
    let Ok(tables) = source::compile(yaml) else {
        return Ok(());
    };
    let guards = Guards::parse(&tables.guards);
    let groups = ["agents".to_owned(), "developers".to_owned()];
    let everybody = guards.held_by("", &[]);
    let somebody = guards.held_by("alice", &groups);
    for (method, target) in [
        ("GET", "/api"),
        ("GET", "/apis/apps/v1?timeout=32s"),
        ("GET", "/version"),
        ("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews"),
    ] {
        prop_assert!(guards.check(&somebody, &Target::parse(method, target).unwrap()).is_ok(), "{} {}", method, target);
    }
    for (method, target) in [
        ("GET", "/api/v1/secrets"),
        ("GET", "/api/v1/namespaces/team-a/pods/web/exec?command=sh"),
        ("DELETE", "/apis/apps/v1/namespaces/prod/deployments/d"),
        ("GET", "/metrics"),
    ] {
        let target = Target::parse(method, target).unwrap();
        let is_refused_to_everybody = guards.check(&everybody, &target).is_err();
        prop_assert!(!is_refused_to_everybody || guards.check(&somebody, &target).is_err());
    }
    Ok(())
}

/// Whatever an entry says, nobody gets a name of the system, or one that is no header line.
pub(crate) fn entry(text: &str) -> Result<(), TestCaseError> {
    let claims = claims();
    if let Ok(Verdict::Stored(stored)) = entry::read(text, &claims, NOW) {
        let identity = MAP.identify(&claims, stored, &Membership::default(), NOW);
        if let Ok((identity, until)) = identity {
            prop_assert!(until > NOW);
            let act_as = identity.act_as();
            let names = identity.groups().iter().chain(&act_as.users).chain(&act_as.groups).chain(&act_as.uids);
            for name in names.chain([&identity.user().to_owned()]) {
                let is_loud = name == name::MASTERS && text.contains("allow_system_masters");
                prop_assert!(name::is_well_formed(name) && (!name::is_reserved(name) || is_loud), "{}", name);
            }
        }
    }
    Ok(())
}

/// Whatever Access says of somebody, nobody gets more than what the map gives for its own groups.
pub(crate) fn identity(text: &str) -> Result<(), TestCaseError> {
    let claims = claims();
    let person = Person::of(&claims).unwrap();
    if let Ok(membership) = Membership::read(text, &person, &MAP) {
        let (identity, _) = MAP.identify(&claims, entry::Stored::default(), &membership, NOW).unwrap();
        prop_assert_eq!(identity.user(), "alice");
        let known = ["admins", "devs", "on-call", "guests"];
        prop_assert!(identity.groups().iter().all(|group| known.contains(&group.as_str())));
        let is_on_call = identity.groups().iter().any(|group| group == "on-call");
        prop_assert!(!is_on_call || text.contains("-1") || text.contains("\\u"));
    }
    Ok(())
}

fn claims() -> Claims {
    let mut claims = person();
    merge(&mut claims, &json!({}));
    let token =
        format!("{}.{}.{}", encode(r#"{"alg":"RS256","kid":"team-1"}"#), encode(claims.to_string()), encode("s"));
    Untrusted::parse(&token).unwrap().confirm(true).unwrap().claims(&config(), NOW).unwrap()
}
