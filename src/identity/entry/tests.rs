use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::config::tests_support::config;
use crate::identity::membership::Membership;
use crate::identity::{Extra, Identity, IdentityMap};
use crate::token::tests_support;

const NOW: u64 = 1_800_000_000; // 2027-01-15T08:00:00Z

fn claims(about: &serde_json::Value) -> Claims {
    tests_support::claims(&config(), about)
}

fn alice() -> Claims {
    claims(&json!({"email": "Alice@Example.com", "sub": "id-1"}))
}

fn read_for_alice(entry: &serde_json::Value) -> Result<Verdict, EntryError> {
    read(&entry.to_string(), &alice(), NOW)
}

/// The identity, and until when, of whom an entry is for and the map does not know.
fn identity_of_alice(entry: &serde_json::Value, now: u64) -> Option<(Identity, u64)> {
    let Ok(Verdict::Stored(stored)) = read(&entry.to_string(), &alice(), now) else { panic!("{entry} is not read") };
    IdentityMap::default().identify(&alice(), stored, &Membership::default(), now).ok()
}

#[test]
fn the_key_names_the_caller_and_its_kind() {
    assert_eq!(key(&alice()).unwrap(), "email:alice@example.com");
    let token = claims(&json!({"common_name": "0f.access", "sub": ""}));
    assert_eq!(key(&token).unwrap(), "service-token:0f.access");
    assert_eq!(key(&claims(&json!({"sub": "id-1"}))), None);
    let long = format!("{}@example.com", "a".repeat(600));
    assert_eq!(key(&claims(&json!({"email": long, "sub": "id-1"}))), None);
}

#[test]
fn an_entry_gives_an_identity_until_it_expires() {
    let entry = json!({"user": "{email}", "groups": ["a", "b", "a"], "expires": "2027-01-15T09:00:00+00:30"});
    let (identity, until) = identity_of_alice(&entry, NOW).unwrap();
    assert_eq!((identity.user(), identity.groups()), ("alice@example.com", &["a".to_owned(), "b".to_owned()][..]));
    assert_eq!((identity.rule(), until), (Rule::Kv, NOW + 1800));
    assert_eq!(identity_of_alice(&entry, NOW + 1800), None);
}

#[test]
fn case_45_an_entry_takes_an_identity_until_it_expires() {
    assert_eq!(read_for_alice(&json!({"deny": true})), Ok(Verdict::Denied));
    assert_eq!(read_for_alice(&json!({"deny": true, "user": "root"})), Ok(Verdict::Denied));
    assert_eq!(
        read_for_alice(&json!({"deny": true, "expires": "2027-01-15T07:00:00Z"})),
        Ok(Verdict::Stored(Stored::default()))
    );
}

#[test]
fn case_32_33_34_35_36_an_entry_that_cannot_be_read_or_may_not_be_is_an_error() {
    for text in [
        "",
        "null",
        "[]",
        "{",
        "{}",
        "true",
        r#"{"user":"a","user":"b"}"#,
        r#"{"user":"a","grants":[],"grants":[]}"#,
        r#"{"user":"a","act_as":{},"act_as":{}}"#,
        r#"{"user":"a","act_as":{"users":["b"],"users":["c"]}}"#,
        r#"{"user":"a"}x"#,
    ] {
        assert!(read(text, &alice(), NOW).is_err(), "{text}");
    }
    for entry in [
        json!({"user": ""}),
        json!({"user": null}),
        json!({"user": "a", "group": ["x"]}),
        json!({"user": "system:admin"}),
        json!({"user": "a,b"}),
        json!({"user": "a", "groups": "x"}),
        json!({"user": "a", "groups": ["system:masters"]}),
        json!({"user": "a", "groups": ["system:nodes"], "allow_system_masters": true}),
        json!({"user": "a", "groups": ["a,b"]}),
        json!({"user": "a", "groups": ["a\nb"]}),
        json!({"user": "a", "groups": vec!["g"; 301]}),
        json!({"user": "a", "expires": "tomorrow"}),
        json!({"user": "a", "expires": "2027-01-15"}),
        json!({"user": "a", "expires": 1_900_000_000}),
        json!({"user": "a", "expires": "1900-01-01T00:00:00Z"}),
        json!({"user": "a", "deny": "no"}),
        json!({"groups": ["a"]}),
        json!({"groups": ["a"], "grants": []}),
        json!({"user": "a", "act_as": {"users": ["system:admin"]}}),
        json!({"user": "a", "act_as": {"groups": ["system:masters"]}, "allow_system_masters": true}),
        json!({"user": "a", "act_as": {"extras": ["kube-access.dev/email"]}}),
        json!({"user": "a", "act_as": {"extras": ["scopes"]}}),
        json!({"user": "a", "act_as": {"user": ["b"]}}),
        json!({"act_as": {"users": ["b"]}, "grants": []}),
        json!({"user": "a", "groups": ["x".repeat(MAX_ENTRY_BYTES)]}),
    ] {
        assert!(read_for_alice(&entry).is_err(), "{entry}");
    }
    let masters = json!({"user": "a", "groups": ["system:masters"], "allow_system_masters": true});
    assert!(identity_of_alice(&masters, NOW).is_some());
    for email in ["a\nImpersonate-Group:x@example.com", "\u{430}lice@example.com", "a b@example.com"] {
        let odd = claims(&json!({"email": email, "sub": "id-1"}));
        let Ok(Verdict::Stored(stored)) = read(r#"{"user":"a"}"#, &odd, NOW) else { panic!("{email}") };
        assert!(IdentityMap::default().identify(&odd, stored, &Membership::default(), NOW).is_err(), "{email}");
    }
    let service = claims(&json!({"common_name": "0f.access", "sub": ""}));
    assert!(read(r#"{"user":"{email}"}"#, &service, NOW).is_err());
}

#[test]
fn an_entry_that_cannot_be_read_tells_the_field_and_what_was_expected_there() {
    let soon = "2027-01-15T09:00:00Z";
    let many = vec!["a"; 200];
    for (text, error) in [
        (
            "[]",
            "expected a JSON object with no fields but user, groups, allow_system_masters, act_as, expires, deny, grants",
        ),
        (r#"{"user":"x","grups":["secret"]}"#, "expected a JSON object with no fields but user, groups, "),
        ("{}", "expected user, grants or deny"),
        (r#"{"user":"x","user":"y"}"#, "user: expected one text"),
        (r#"{"user":"x","groups":"a"}"#, "groups: expected one list of texts"),
        (r#"{"user":"x","groups":["a,b"]}"#, "groups: expected 1 to 256 printable ASCII characters, no comma, "),
        (r#"{"user":"x","groups":["system:masters"]}"#, "groups: it is reserved: names that begin with system: "),
        (r#"{"groups":["a"]}"#, "user: expected one beside groups and act_as"),
        (r#"{"deny":"true"}"#, "deny: expected true or false, once"),
        (r#"{"user":"x","allow_system_masters":1}"#, "allow_system_masters: expected true or false, once"),
        (r#"{"user":"x","expires":1900000000}"#, "expires: expected a time by RFC 3339, such as "),
        (r#"{"user":"x","expires":"tomorrow"}"#, "expires: expected a time by RFC 3339, such as "),
        (r#"{"user":"x","act_as":[]}"#, "act_as: expected a JSON object with no fields but users, groups, uids, "),
        (r#"{"user":"x","act_as":{},"act_as":{}}"#, "act_as: expected it once"),
        (r#"{"user":"x","act_as":{"uids":[7]}}"#, "act_as.uids: expected one list of texts"),
        (r#"{"user":"x","act_as":{"extras":["scopes"]}}"#, "act_as.extras: expected keys with a domain "),
        (r#"{"user":"x","act_as":{"reason_required":"true"}}"#, "act_as.reason_required: expected true or false"),
        (r#"{"user":"x","grants":{}}"#, "grants: expected one list"),
        (r#"{"user":"x","grants":["sre"]}"#, "grants: expected a JSON object with no fields but groups, expires, "),
        (r#"{"grants":[{"groups":["sre"]}]}"#, "grants.expires: expected when it ends"),
        (&json!({"grants": [{"expires": soon}]}).to_string(), "grants.groups: expected at least one"),
        (&json!({"grants": [{"groups": ["g"], "expires": soon, "id": "a b"}]}).to_string(), "grants.id: expected "),
        (&json!({"grants": [{"groups": ["g"], "expires": soon, "by": 1}]}).to_string(), "grants.by: expected one text"),
        (&json!({"user": "x", "groups": vec!["g"; 301]}).to_string(), "groups: expected at most 300"),
        (
            &json!({"user": "x", "act_as": {"users": many, "groups": many}}).to_string(),
            "act_as.users, groups, uids and extras together: expected at most 300",
        ),
    ] {
        let found = read(text, &alice(), NOW).unwrap_err().to_string();
        assert!(found.starts_with(error), "{text}: {found}");
        assert!(!found.contains("secret"), "nothing of the entry is quoted");
    }
}

#[test]
fn case_32_an_entry_is_held_to_the_rules_of_the_map() {
    for (user, is_for_people, is_for_tokens) in [
        ("a", true, true),
        ("sso:{email}", true, false),
        ("{email}{email}", false, false),
        ("system:{email}", false, false),
        ("{email},x", false, false),
    ] {
        let text = json!({"user": user}).to_string();
        let token = claims(&json!({"common_name": "0f.access", "sub": ""}));
        let accepted = [alice(), token].map(|claims| read(&text, &claims, NOW).is_ok());
        assert_eq!(accepted, [is_for_people, is_for_tokens], "{user}");
        let map =
            |caller| super::super::source::compile(&format!("identities: [{{{caller}, user: '{user}'}}]")).is_ok();
        let compiled = ["email: a@b.c", "service_token: t.access"].map(map);
        assert_eq!(compiled, accepted, "{user}: as in the file");
    }
    let soon = "2027-01-15T09:00:00Z";
    for entry in [
        json!({"user": "a", "groups": ["{email}"]}),
        json!({"user": "a", "act_as": {"users": ["{email}"]}}),
        json!({"user": "a", "act_as": {"groups": ["x-{email}"]}}),
        json!({"user": "a", "act_as": {"uids": ["{email}"]}}),
        json!({"grants": [{"groups": ["{email}"], "expires": soon}]}),
        json!({"user": "a", "expires": null}),
        json!({"user": null, "grants": []}),
        json!({"user": "a", "groups": null}),
        json!({"user": "a", "allow_system_masters": null}),
        json!({"user": "a", "act_as": null}),
        json!({"user": "a", "act_as": {"users": null}}),
        json!({"user": "a", "deny": null}),
        json!({"user": "a", "grants": null}),
        json!({"grants": [{"groups": ["x"], "expires": soon, "id": null}]}),
        json!({"grants": [{"groups": ["x"], "expires": null}]}),
    ] {
        assert!(read_for_alice(&entry).is_err(), "{entry}");
    }
    let most = vec!["a"; 300];
    assert!(read_for_alice(&json!({"user": "a", "act_as": {"users": most}})).is_ok());
    assert!(read_for_alice(&json!({"user": "a", "act_as": {"users": most, "extras": ["a.b/c"]}})).is_err());
}

#[test]
fn case_180_grants_add_groups_each_until_its_own_end() {
    let at = |seconds: u64| format!("2027-01-15T08:{:02}:{:02}Z", seconds / 60, seconds % 60);
    let entry = json!({"user": "a", "groups": ["own"], "grants": [
        {"groups": ["x", "own"], "expires": at(60), "id": "g-1", "reason": "INC-1", "by": "bob"},
        {"groups": ["x", "z"], "expires": at(120)},
        {"groups": ["past"], "expires": at(0), "id": "g-0"},
        {"groups": ["far"], "expires": "9999-12-31T23:59:59Z", "id": "g-3"},
    ]});
    for (now, groups, grants, until) in [
        (NOW, &["own", "x", "z", "far"][..], &["g-1", "g-3"][..], NOW + 60),
        (NOW + 60, &["own", "x", "z", "far"], &["g-3"], NOW + 120),
        (NOW + 120, &["own", "far"], &["g-3"], 253_402_300_799),
    ] {
        let (identity, end) = identity_of_alice(&entry, now).unwrap();
        assert_eq!(identity.groups(), groups);
        let ids = identity.extras().iter().filter(|(extra, _)| *extra == Extra::Grant);
        assert!(ids.map(|(_, id)| id).eq(grants));
        assert!(identity.extras().is_sorted_by_key(|(extra, _)| extra.key()), "as the last hop has them");
        assert_eq!(end, until);
    }
}

#[test]
fn case_180_grants_alone_let_nobody_in_and_end_with_their_entry() {
    let grants = json!([{"groups": ["x"], "expires": "2027-01-15T09:00:00Z"}]);
    assert_eq!(identity_of_alice(&json!({ "grants": grants }), NOW), None);
    let entry = json!({"expires": "2027-01-15T08:30:00Z", "grants": grants});
    let stored = |now| read(&entry.to_string(), &alice(), now).unwrap();
    let known = IdentityMap { emails: "alice@example.com\ta\town\n", ..IdentityMap::default() };
    let at = |now| {
        let Verdict::Stored(stored) = stored(now) else { panic!("denied") };
        known.identify(&alice(), stored, &Membership::default(), now).unwrap()
    };
    let (identity, until) = at(NOW);
    assert_eq!((identity.groups(), until), (&["own".to_owned(), "x".to_owned()][..], NOW + 1800));
    assert_eq!((identity.rule(), at(NOW + 1800).0.groups()), (Rule::Email, &["own".to_owned()][..]));
    for grant in [
        json!({"groups": ["x"]}),
        json!({"expires": "2027-01-15T09:00:00Z"}),
        json!({"groups": [], "expires": "2027-01-15T09:00:00Z"}),
        json!({"groups": ["x"], "expires": "soon"}),
        json!({"groups": ["system:masters"], "expires": "2027-01-15T09:00:00Z"}),
        json!({"groups": ["x"], "expires": "2027-01-15T09:00:00Z", "id": "a b"}),
        json!({"groups": ["x"], "expires": "2027-01-15T09:00:00Z", "user": "root"}),
        json!({"groups": "x", "expires": "2027-01-15T09:00:00Z"}),
        json!(null),
    ] {
        assert!(read_for_alice(&json!({"user": "a", "grants": [grant]})).is_err(), "{grant}");
    }
    let many = vec![json!({"groups": ["x"], "expires": "2027-01-15T07:00:00Z"}); MAX_GRANTS + 1];
    assert!(read_for_alice(&json!({"user": "a", "grants": many})).is_err());
}

#[test]
fn case_180_what_was_granted_through_the_gateway_counts_as_far_as_the_policy_lists_it_now() {
    let map = IdentityMap { emails: "alice@example.com\ta\town\n", granted: "\ton-call,sre", ..IdentityMap::default() };
    let granted = |text: &str| {
        let mut stored = Stored::default();
        stored.add(text, &map, NOW)?;
        Ok::<_, EntryError>(map.identify(&alice(), stored, &Membership::default(), NOW).unwrap().0)
    };
    let text = json!({"grants": [
        {"id": "g-1", "groups": ["on-call", "admins"], "expires": "2027-01-15T09:00:00Z", "given": "2027-01-15T07:00:00Z", "reason": "r", "by": "b"},
        {"id": "g-2", "groups": ["admins"], "expires": "2027-01-15T09:00:00Z"},
        {"id": "g-3", "groups": ["sre"], "expires": "2027-01-15T08:00:00Z"},
    ]});
    let identity = granted(&text.to_string()).unwrap();
    assert_eq!(identity.groups(), ["own", "on-call"]);
    let sources: Vec<_> = identity.groups_with_sources().map(|(_, source)| source.clone()).collect();
    assert_eq!((sources[0].rule, sources[0].expires), (Some(Rule::Email), None));
    let granted_until = Some(NOW + 3600);
    assert_eq!((sources[1].rule, sources[1].grant.as_deref(), sources[1].expires), (None, Some("g-1"), granted_until));
    for text in ["", "[]", "{}", r#"{"grants":{}}"#, r#"{"grants":[],"user":"root"}"#, r#"{"grants":[{}]}"#] {
        assert!(granted(text).is_err(), "{text}");
    }
    assert_eq!(grants_key("email:alice@example.com").as_deref(), Some("grants:email:alice@example.com"));
    assert_eq!(grants_key(&"x".repeat(MAX_KEY_BYTES)), None);
}

proptest! {
    #[test]
    fn no_entry_panics_or_gives_a_reserved_name(text in "\\PC{0,80}", user in "[ -~]{0,12}", group in "[ -~]{0,12}") {
        let _ = read(&text, &alice(), NOW);
        let entry = json!({"user": user, "groups": [group]});
        if read_for_alice(&entry).is_ok() && let Some((identity, _)) = identity_of_alice(&entry, NOW) {
            prop_assert!(!name::is_reserved(identity.user()) && name::is_well_formed(identity.user()));
            prop_assert!(identity.groups().iter().all(|group| !name::is_reserved(group)));
        }
    }
}
