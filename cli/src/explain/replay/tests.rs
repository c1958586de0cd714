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

/// The same by the cluster's own log: as whom the gateway's account impersonates.
fn of_cluster(event: &Value) -> Value {
    let mut event = event.clone();
    let mut other = event["user"].take();
    if let Some(as_other) = event.as_object_mut().unwrap().remove("impersonatedUser") {
        for (key, value) in as_other["extra"].as_object().unwrap() {
            other["extra"][key] = value.clone();
        }
        for member in ["username", "groups", "uid"] {
            other[member] = as_other[member].clone();
        }
    }
    event["user"] = json!({"username": "system:serviceaccount:kube-access:gateway"});
    event["impersonatedUser"] = other;
    event["annotations"] = json!({});
    event
}

fn as_other(event: &Value, user: &str, groups: &[&str], extra: Value) -> Value {
    let mut event = event.clone();
    let mut extras = extra;
    extras["kube-access.dev/original-user"] = json!([event["user"]["username"]]);
    extras["kube-access.dev/original-groups"] = event["user"]["groups"].clone();
    event["impersonatedUser"] = json!({"username": user, "groups": groups, "extra": extras});
    event
}

fn replay(against: &str, events: &[Value]) -> Vec<String> {
    replay_from(OLD, against, events)
}

fn replay_from(old: &str, against: &str, events: &[Value]) -> Vec<String> {
    let (old, new) = (Policy::compile(old).unwrap(), Policy::compile(against).unwrap());
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
    let Findings { events, unreadable, first_unreadable, .. } = replay.findings;
    assert_eq!((events, unreadable, first_unreadable), (1, 2, 1));
    for blank in ["\n", "\r\n", " \t\n"] {
        replay.take(blank.as_bytes());
    }
    assert_eq!(replay.findings.unreadable, 2, "a blank line is nothing");
    let words = replay.findings.in_words(&[]);
    assert!(words.contains("2 lines could not be read as an event, the first is line 1"), "{words}");
    assert!(words.ends_with("Whether anything is lost cannot be told."), "{words}");
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

#[test]
fn what_is_recorded_or_bounded_otherwise_is_told_of_each_stream() {
    let pods = "/api/v1/namespaces/n/pods/p";
    let bob = |uri: &str| event("bob@example.com", &["developers"], "get", uri);
    let events = [bob(&format!("{pods}/exec?REDACTED")), bob(&format!("{pods}/portforward")), bob(pods)];
    let new = format!("{OLD}guards: [{{ name: watched, record: true, max_session: 1h }}]\n");
    for events in [events.clone(), events.map(|event| of_cluster(&event))] {
        assert_eq!(
            replay(&new, &events),
            [
                "Changes bob@example.com guard watched: what is recorded or bounded of get pods/exec 1",
                "Changes bob@example.com guard watched: what is recorded or bounded of get pods/portforward 1",
            ]
        );
        assert_eq!(replay_from(&new, OLD, &events).len(), 2, "and of each that is not any more");
    }
}

#[test]
fn whom_somebody_acts_as_counts_with_all_that_it_takes() {
    const ACTING: &str = "\
identities:
  - email: alice@example.com
    user: alice
    groups: [admins]
    act_as: { users: [breakglass], groups: [sre], uids: [u-1], extras: [example.com/ticket] }
";
    let alice = event("alice@example.com", &["admins"], "list", "/api/v1/secrets");
    let mut all = as_other(&alice, "breakglass", &["sre"], json!({"example.com/ticket": ["7"]}));
    all["impersonatedUser"]["uid"] = "u-1".into();
    for event in [all.clone(), of_cluster(&all)] {
        assert_eq!(replay_from(ACTING, ACTING, std::slice::from_ref(&event)), [""; 0]);
        for (taken, with) in [
            ("users: [breakglass]", "users: [root]"),
            ("groups: [sre]", "groups: [x]"),
            (", uids: [u-1]", ""),
            (", extras: [example.com/ticket]", ""),
            ("act_as: {", "act_as: { reason_required: true,"),
        ] {
            let lost = ["Loses alice@example.com act_as: list secrets 1"];
            assert_eq!(
                replay_from(ACTING, &ACTING.replace(taken, with), std::slice::from_ref(&event)),
                lost,
                "{taken}"
            );
        }
    }
    let explained = as_other(&alice, "breakglass", &[], json!({"kube-access.dev/reason": ["INC-7"]}));
    let with_reason = ACTING.replace("act_as: {", "act_as: { reason_required: true,");
    for event in [explained.clone(), of_cluster(&explained)] {
        assert_eq!(replay_from(ACTING, &with_reason, &[event]), [""; 0], "the reason was given");
    }
}

#[test]
fn fewer_of_ones_own_groups_stay_free() {
    let alice = event("alice@example.com", &["admins"], "list", "/api/v1/secrets");
    let fewer = as_other(&alice, "alice", &["admins"], json!({}));
    let new = format!("{OLD}guards: [{{ name: no-secrets, deny: [{{ resources: [secrets] }}] }}]\n");
    for event in [fewer.clone(), of_cluster(&fewer)] {
        assert_eq!(replay(OLD, std::slice::from_ref(&event)), [""; 0]);
        assert_eq!(replay(&new, &[event]), ["Loses alice@example.com guard no-secrets: list secrets 1"]);
    }
}

#[test]
fn whoever_was_let_in_by_workers_kv_is_known_from_the_clusters_log_too() {
    let old = OLD.replace("grants: {", "grants: { users: [auditor],");
    let mut eve = event("eve@elsewhere.test", &["auditors"], "list", "/api/v1/pods");
    eve["user"]["username"] = "auditor".into();
    eve["annotations"]["kube-access.dev/rule"] = "kv".into();
    let acting = as_other(&eve, "breakglass", &[], json!({}));
    let new = format!("{old}guards: [{{ name: no-pods, deny: [{{ resources: [pods] }}] }}]\n");
    for event in [&eve, &acting, &of_cluster(&eve), &of_cluster(&acting)] {
        assert_eq!(replay_from(&old, &old, std::slice::from_ref(event)), [""; 0]);
        let lost = ["Loses eve@elsewhere.test guard no-pods: list pods 1"];
        assert_eq!(replay_from(&old, &new, std::slice::from_ref(event)), lost);
    }
    let unlisted = replay(&new, &[of_cluster(&eve)]);
    assert_eq!(unlisted, ["Unexplained eve@elsewhere.test no entry: list pods 1"], "the policy has no such user");
}

#[test]
fn a_group_that_nobody_may_give_any_more_is_lost() {
    let bob = event("bob@example.com", &["developers", "auditors"], "list", "/api/v1/pods");
    let without = OLD.replace("groups: [auditors]", "groups: [others]");
    for event in [bob.clone(), of_cluster(&bob)] {
        assert_eq!(replay(&without, &[event]), ["Loses bob@example.com entry email_domain: group auditors 1"]);
    }
}

#[test]
fn what_went_up_by_the_log_and_not_by_the_old_policy_is_unexplained() {
    let list = |email: &str, groups: &[&str]| event(email, groups, "list", "/api/v1/pods");
    let guarded = format!("{OLD}guards: [{{ name: no-pods, deny: [{{ resources: [pods] }}] }}]\n");
    let stranger = list("eve@elsewhere.test", &["x"]);
    let mut renamed = list("alice@example.com", &["admins"]);
    renamed["user"]["username"] = "root".into();
    for (old, event, row) in [
        (&*guarded, list("bob@example.com", &["developers"]), "bob@example.com guard no-pods: list pods 1"),
        (OLD, stranger, "eve@elsewhere.test no entry: list pods 1"),
        (OLD, renamed, "alice@example.com entry email: user root (by --policy alice) 1"),
        (
            OLD,
            list("bob@example.com", &["testers"]),
            "bob@example.com entry email_domain: groups testers in the log alone, groups developers by --policy alone 1",
        ),
    ] {
        for event in [event.clone(), of_cluster(&event)] {
            // Whatever the new policy says: nothing is told of it.
            for new in [OLD, &*guarded] {
                assert_eq!(replay_from(old, new, std::slice::from_ref(&event)), [format!("Unexplained {row}")]);
            }
        }
        let mut refused = event;
        refused["annotations"]["kube-access.dev/decision"] = "refuse".into();
        let rows = replay_from(old, old, &[refused]);
        assert_eq!(rows, [""; 0], "it did not go up");
    }
}
