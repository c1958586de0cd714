use std::io::Cursor;

use serde_json::Value;

use super::*;

const OLD: &str = "\
identities:
  - { email: alice@example.com, user: alice, groups: [admins] }
  - { email_domain: example.com, user: '{email}', groups: [developers] }
  - { idp_group: g-1, groups: [on-call] }
grants: { groups: [auditors] }
";

fn event(email: &str, groups: &[&str], verb: &str, uri: &str) -> Value {
    let user = if email == "alice@example.com" { "alice" } else { email };
    json!({
        "kind": "Event", "stage": "ResponseComplete", "verb": verb, "requestURI": uri,
        "user": {"username": user, "groups": groups,
            "extra": {"kube-access.dev/email": [email], "kube-access.dev/subject": ["id"]}},
        "responseStatus": {"code": 200}, "requestReceivedTimestamp": "2027-01-15T08:00:00Z",
        "annotations": {"kube-access.dev/decision": "forward", "kube-access.dev/rule": "email"},
    })
}

fn replay(against: &str, events: &[Value]) -> Vec<String> {
    let (old, new) = (Policy::compile(OLD).unwrap(), Policy::compile(against).unwrap());
    let mut replay = Replay::new(&old, &new).unwrap();
    for event in events {
        replay.take(event.to_string().as_bytes());
    }
    let row = |(key, count): (&Key, &Count)| {
        format!("{:?} {} {}: {} {}", key.effect, key.caller, key.rule, key.what, count.requests)
    };
    replay.findings.rows.iter().map(row).collect()
}

#[test]
fn the_same_policy_changes_nothing_whatever_let_somebody_in() {
    let bob = "bob@example.com";
    let mut by_kv = event("eve@elsewhere.test", &["auditors"], "list", "/api/v1/pods");
    by_kv["annotations"]["kube-access.dev/rule"] = "kv".into();
    let events = [
        event(bob, &["developers"], "list", "/api/v1/pods?limit=500"),
        event(bob, &["developers", "on-call"], "list", "/api/v1/pods"),
        event(bob, &["developers", "on-call", "auditors"], "get", "/api/v1/namespaces/n/pods/p/exec?REDACTED"),
        event("alice@example.com", &["admins"], "get", "/version"),
        by_kv,
    ];
    assert_eq!(replay(OLD, &events), [""; 0]);
    let dropped = OLD.replace(", groups: [on-call]", ", groups: [sre]");
    assert_eq!(
        replay(&dropped, &events),
        [
            "Loses bob@example.com entry email_domain: group on-call 2",
            "Gains bob@example.com entry email_domain: group sre 2",
        ],
        "who was in the group is known by what it gave"
    );
}

#[test]
fn who_loses_and_who_gains_is_told_by_rule() {
    let new = "\
identities:
  - { email_domain: example.com, user: '{email}', groups: [developers] }
  - { email: mallory@elsewhere.test, user: mallory }
guards:
  - { name: no-secrets, for: { groups: [developers] }, deny: [{ resources: [secrets] }] }
  - { name: recorded, deny: [{ resources: [secrets], verbs: [delete] }] }
";
    let detail = IdentityError::NotMapped("mallory@elsewhere.test".into()).to_string();
    let stranger = json!({"verb": "list", "requestURI": "/api/v1/pods", "user": {}, "annotations": {
        "kube-access.dev/decision": "refuse", "kube-access.dev/detail": detail}});
    let mut refused_by_rbac = event("bob@example.com", &["developers"], "list", "/api/v1/secrets");
    refused_by_rbac["responseStatus"]["code"] = 403.into();
    let rows = replay(
        new,
        &[
            event("bob@example.com", &["developers"], "list", "/api/v1/secrets"),
            event("bob@example.com", &["developers"], "list", "/api/v1/secrets"),
            event("bob@example.com", &["developers"], "list", "/api/v1/pods"),
            event("alice@example.com", &["admins"], "list", "/api/v1/pods"),
            refused_by_rbac,
            stranger,
        ],
    );
    assert_eq!(
        rows,
        [
            "Loses alice@example.com entry email_domain: group admins 1",
            "Loses alice@example.com entry email_domain: user alice (becomes alice@example.com) 1",
            "Loses bob@example.com guard no-secrets: list secrets 2",
            "Gains alice@example.com entry email_domain: group developers 1",
            "Gains mallory@elsewhere.test no entry: list pods 1",
        ]
    );
}

#[test]
fn an_entry_that_ends_counts_until_it_does_in_whatever_order_the_log_is() {
    let new = OLD.replace("user: alice,", "user: alice, expires: 2027-01-15T09:00:00Z,");
    let mut late = event("alice@example.com", &["admins"], "list", "/api/v1/pods");
    late["requestReceivedTimestamp"] = "2027-01-15T10:00:00Z".into();
    let early = event("alice@example.com", &["admins"], "list", "/api/v1/pods");
    let lost = "Loses alice@example.com entry email_domain: group admins 1";
    for events in [[early.clone(), late.clone()], [late, early]] {
        assert!(replay(&new, &events).contains(&lost.to_owned()), "{events:?}");
    }
}

#[test]
fn a_line_that_is_too_long_or_no_event_is_counted_and_passed_over() {
    let mut text = vec![b'x'; usize::try_from(MAX_LINE_BYTES).unwrap() + 10];
    text.extend_from_slice(b"\n{}\n");
    text.extend_from_slice(event("bob@example.com", &["developers"], "list", "/api/v1/pods").to_string().as_bytes());
    let policy = Policy::compile(OLD).unwrap();
    let mut replay = Replay::new(&policy, &policy).unwrap();
    let (mut reader, mut line) = (Cursor::new(text), Vec::new());
    while next_line(&mut reader, &mut line).unwrap() {
        replay.take(&line);
    }
    assert_eq!((replay.findings.events, replay.findings.unreadable), (1, 2));
}

#[test]
fn rows_are_bounded_and_nothing_that_is_lost_is_uncounted() {
    let new = Policy::compile("identities: [{ email: alice@example.com, user: alice }]\n").unwrap();
    let old = Policy::compile(OLD).unwrap();
    let mut replay = Replay::new(&old, &new).unwrap();
    let total = MAX_ROWS as u64 + 50;
    for number in 0..total {
        let email = format!("p{number}@example.com");
        replay.take(event(&email, &["developers"], "list", "/api/v1/pods").to_string().as_bytes());
    }
    assert!(replay.findings.rows.len() <= MAX_ROWS + 1 && replay.known.len() <= MAX_KNOWN);
    assert_eq!(replay.findings.lost(), total);
}
