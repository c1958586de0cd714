use proptest::prelude::*;
use serde_json::{Value, json};

use super::membership::Person;
use super::*;
use crate::config::tests_support::config;
use crate::token::tests_support::claims;

const MAP: &str = "identities:\n\
    - {email: alice@example.com, user: alice, groups: [admins, devs]}\n\
    - {email_domain: example.com, user: '{email}', groups: [devs]}\n\
    - {service_token: 0f.access, user: ci}\n";

fn identify(subject: &Value) -> Option<Identity> {
    identify_in(MAP, subject, &json!({}), 0).map(|(identity, _)| identity)
}

/// By this map, at this time, as the provider tells it.
fn identify_in(map: &str, subject: &Value, provider: &Value, now: u64) -> Option<(Identity, u64)> {
    let tables = source::compile(map).unwrap();
    let map = IdentityMap {
        emails: &tables.emails,
        email_domains: &tables.email_domains,
        service_tokens: &tables.service_tokens,
        idp_groups: &tables.idp_groups,
        granted: &tables.granted,
    };
    let claims = claims(&config(), subject);
    let person = Person::of(&claims);
    let mut answer = json!({"email": subject["email"]});
    answer.as_object_mut().unwrap().extend(provider.as_object().unwrap().clone());
    let membership = person.map(|person| Membership::read(&answer.to_string(), &person, &map).unwrap());
    map.identify(&claims, Stored::default(), &membership.unwrap_or_default(), now).ok()
}

fn person(email: &str) -> Option<Identity> {
    identify(&json!({"email": email, "sub": "id-1"}))
}

fn service(client_id: &str) -> Option<Identity> {
    identify(&json!({"common_name": client_id, "sub": ""}))
}

#[test]
fn an_exact_address_wins_over_its_domain() {
    let alice = person("alice@example.com").unwrap();
    assert_eq!(
        (alice.user(), alice.groups(), alice.rule()),
        ("alice", &["admins".into(), "devs".into()][..], Rule::Email)
    );
    assert_eq!(alice.extras(), [(Extra::Email, "alice@example.com".into()), (Extra::Subject, "id-1".into())]);
    let bob = person("bob@example.com").unwrap();
    assert_eq!((bob.user(), bob.groups(), bob.rule()), ("bob@example.com", &["devs".into()][..], Rule::EmailDomain));
    let ci = service("0f.access").unwrap();
    assert_eq!((ci.user(), ci.groups(), ci.rule()), ("ci", &[][..], Rule::ServiceToken));
}

#[test]
fn case_27_addresses_compare_in_lower_case_and_whole() {
    assert_eq!(person("ALICE@Example.Com").unwrap().user(), "alice");
    for email in [
        "alice@example.com.evil",
        "alice@sub.example.com",
        "alice@notexample.com",
        "evil+alice@corp.com",
        "alice@example.com ",
        " alice@example.com",
        "alice@example.com\n",
        "аlice@example.com",
        "alice@exаmple.com",
        "alice@ｅxample.com",
        "@example.com",
        "example.com",
        "x@evil.com@example.com",
        "\"x,y\"@example.com",
        "a b@example.com",
        "system:admin@example.com",
    ] {
        assert_eq!(person(email), None, "{email:?}");
    }
    assert_eq!(person("evil+alice@example.com").unwrap().user(), "evil+alice@example.com");
}

#[test]
fn case_24_25_a_service_token_never_matches_a_rule_for_people_nor_the_reverse() {
    assert_eq!(service("alice@example.com"), None);
    assert_eq!(service("x@example.com"), None);
    assert_eq!(person("0f.access"), None);
    assert_eq!(service("0F.ACCESS"), None);
}

#[test]
fn case_31_43_whoever_is_in_no_entry_does_not_enter() {
    for key in ["__proto__", "constructor", "toString", "", "*", "{email}", "alice", "a\tb", "alice@example.com\talice"]
    {
        assert_eq!(person(&format!("{key}@corp.com")), None, "{key}");
        assert_eq!(service(&format!("{key}x")), None, "{key}");
    }
    assert_eq!(identify(&json!({"sub": "id-1"})), None);
}

#[test]
fn case_38_41_groups_may_be_none_and_come_once() {
    assert!(service("0f.access").unwrap().groups().is_empty());
    let tables = source::compile("identities: [{email: a@b.c, user: a, groups: [x, z, x]}]").unwrap();
    assert_eq!(tables.emails, "a@b.c\ta\tx,z\n");
}

#[test]
fn an_entry_that_has_ended_is_as_good_as_none() {
    let map = "identities:\n- {email: a@b.c, user: a, groups: [own], expires: 2027-01-15T08:00:00Z}\n\
        - {email_domain: b.c, user: guest, expires: 2027-01-15T09:00:00Z}\n";
    let at = |now| identify_in(map, &json!({"email": "a@b.c", "sub": "id-1"}), &json!({}), now);
    let (identity, until) = at(1_799_999_999).unwrap();
    assert_eq!((identity.user(), until), ("a", 1_800_000_000));
    let (identity, until) = at(1_800_000_000).unwrap();
    assert_eq!((identity.user(), identity.groups().len(), until), ("guest", 0, 1_800_003_600));
    assert_eq!(at(1_800_003_600), None);
}

#[test]
fn case_179_groups_of_the_provider_add_groups_and_let_in_where_an_entry_says_so() {
    let map = "identities:\n- {email: a@b.c, user: a, groups: [own]}\n- {idp_group: g-1, groups: [on-call, own]}\n\
        - {idp_group: g-2, user: 'sso:{email}', groups: [x], expires: 2027-01-15T08:00:00Z, act_as: {users: [root]}}\n\
        - {idp_group: g-3, idp: idp-1, user: guest, groups: [z]}\n";
    let of = |email: &str, groups: Value, idp: &str, now| {
        let provider = json!({"groups": groups, "idp": {"id": idp}});
        let (identity, _) = identify_in(map, &json!({"email": email, "sub": "id-1"}), &provider, now)?;
        Some([identity.user(), &identity.groups().join(","), identity.rule().name()].join(" "))
    };
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(of("a@b.c", json!([]), "", 0), text("a own email"));
    assert_eq!(of("a@b.c", json!(["g-1", "g-2", "g-3"]), "idp-1", 0), text("a own,on-call,x,z email"));
    assert_eq!(of("e@b.c", json!(["g-1"]), "", 0), None, "this group adds, and lets nobody in");
    assert_eq!(of("e@b.c", json!(["g-3", "g-2", "g-1"]), "idp-1", 0), text("sso:e@b.c on-call,own,x,z idp_group"));
    assert_eq!(of("e@b.c", json!(["g-3", "g-2"]), "idp-1", 1_800_000_000), text("guest z idp_group"));
    assert_eq!(of("e@b.c", json!(["g-3"]), "idp-2", 0), None, "by another login method");
    for group in ["G-1", "g-1 ", "system:masters", "on-call"] {
        assert_eq!(of("e@b.c", json!([group]), "", 0), None, "{group}");
    }
    let provider = json!({"groups": ["g-2"]});
    let (identity, until) = identify_in(map, &json!({"email": "e@b.c", "sub": "id-1"}), &provider, 0).unwrap();
    assert_eq!((&*identity.act_as().users, until), (&["root".to_owned()][..], 1_800_000_000));
}

#[test]
fn case_39_more_groups_than_are_sent_refuse_and_are_never_cut_short() {
    let names = |start: &str| (0..200).map(|number| format!("{start}{number}")).collect::<Vec<_>>().join(", ");
    let map = format!(
        "identities:\n- {{email: a@b.c, user: a, groups: [{}]}}\n- {{idp_group: g, groups: [{}]}}\n",
        names("x"),
        names("z")
    );
    let with =
        |groups: Value| identify_in(&map, &json!({"email": "a@b.c", "sub": "id-1"}), &json!({ "groups": groups }), 0);
    assert_eq!(with(json!([])).unwrap().0.groups().len(), 200);
    assert_eq!(with(json!(["g"])), None);
}

#[test]
fn case_42_the_keys_of_extras_are_lower_case_and_never_empty() {
    for extra in [Extra::Email, Extra::Grant, Extra::Subject] {
        assert!(extra.key().starts_with("kube-access.dev/") && extra.key() == extra.key().to_lowercase());
    }
}

#[test]
fn every_line_of_a_large_table_is_found_and_nothing_else_is() {
    for count in [1, 2, 3, 1000] {
        let keys: Vec<String> = (0..count).map(|i| format!("u{i:04}@x.y")).collect();
        let rows: Vec<String> = keys.iter().map(|key| format!("{key}\tuser-of-{key}\n")).collect();
        let table = rows.concat();
        for key in &keys {
            assert_eq!(find(&table, key), Some(&*format!("user-of-{key}")));
        }
        for key in ["", "a", "u0000@x.", "u0000@x.y\tuser", "u0000@x.y\n", "zzz"] {
            assert_eq!(find(&table, key), None);
        }
    }
}

proptest! {
    #[test]
    fn no_address_panics_or_becomes_a_reserved_name(email in "\\PC{0,20}@(example.com|corp.com)?") {
        if let Some(identity) = person(&email) {
            prop_assert!(!name::is_reserved(identity.user()) && name::is_well_formed(identity.user()));
        }
    }
}
