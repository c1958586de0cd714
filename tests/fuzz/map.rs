//! What must be true of every map that compiles.

use kube_access::identity::IdentityMap;
use kube_access::identity::entry::Stored;
use kube_access::identity::membership::Membership;
use kube_access::token::Untrusted;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use serde_json::{Value, json};

use crate::team::{NOW, config, encode, merge};
use crate::{name, source};

/// Each entry lets exactly its own caller in, as it says, and none grants what belongs to Kubernetes.
pub(crate) fn compile(yaml: &str) -> Result<(), TestCaseError> {
    let Ok(tables) = source::compile(yaml) else {
        return Ok(());
    };
    let map = IdentityMap {
        emails: &tables.emails,
        email_domains: &tables.email_domains,
        service_tokens: &tables.service_tokens,
        idp_groups: &tables.idp_groups,
        granted: &tables.granted,
    };
    for (table, about) in [
        (&tables.emails, person as fn(&str) -> Value),
        (&tables.email_domains, in_domain),
        (&tables.service_tokens, service),
    ] {
        let keys: Vec<&str> = table.lines().map(|line| line.split('\t').next().unwrap()).collect();
        prop_assert!(keys.is_sorted_by(|a, b| a < b), "{:?}", keys);
        for line in table.lines() {
            let mut cells = line.split('\t');
            let (key, user) = (cells.next().unwrap(), cells.next().unwrap());
            let groups =
                cells.next().unwrap_or_default().split(',').filter(|group| !group.is_empty()).collect::<Vec<_>>();
            let has_ended = cells.next().is_some_and(|end| end.parse::<u64>().is_ok_and(|end| end <= NOW));
            for group in &groups {
                prop_assert!(name::is_well_formed(group));
                let is_loud = *group == name::MASTERS && yaml.contains("allow_system_masters");
                prop_assert!(!name::is_reserved(group) || is_loud, "{}", group);
            }
            let claims = about(key);
            let email = claims["email"].as_str().unwrap_or_default().to_owned();
            if let Some(identity) = identify(map, &claims) {
                let is_exact = identity.user() == user.replace("{email}", &email);
                // A domain's stand-in may have an entry of its own.
                prop_assert!(is_exact && identity.groups() == groups || tables.emails.contains(&email), "{}", line);
                prop_assert!(name::is_well_formed(identity.user()) && !name::is_reserved(identity.user()));
            } else if !has_ended {
                let user = user.replace("{email}", &email);
                prop_assert!(name::is_reserved(&user) || !name::is_well_formed(&user), "{}", line);
            }
        }
    }
    for stranger in ["nobody@nowhere.test", "nobody", "", "@", "a\tb@nowhere.test"] {
        prop_assert!(yaml.contains("nowhere.test") || identify(map, &person(stranger)).is_none());
        prop_assert!(yaml.contains("nobody") || identify(map, &service(stranger)).is_none());
    }
    Ok(())
}

fn identify(map: IdentityMap<'_>, about: &Value) -> Option<kube_access::identity::Identity> {
    let mut claims = crate::team::person();
    merge(&mut claims, about);
    let header = encode(r#"{"alg":"RS256","kid":"team-1"}"#);
    let token = format!("{header}.{}.{}", encode(claims.to_string()), encode("s"));
    let signed = Untrusted::parse(&token).unwrap().confirm(true).unwrap();
    let claims = signed.claims(&config(), NOW).ok()?;
    map.identify(&claims, Stored::default(), &Membership::default(), NOW).ok().map(|(identity, _)| identity)
}

fn person(email: &str) -> Value {
    json!({ "email": email })
}

fn in_domain(domain: &str) -> Value {
    json!({"email": format!("stand-in@{domain}")})
}

fn service(client_id: &str) -> Value {
    json!({"email": null, "sub": "", "common_name": client_id})
}
