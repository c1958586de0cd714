use serde_json::{Value, json};

use super::*;
use crate::deadline::Deadline;
use crate::identity::tests_support::with_row;

const GUARDS: &str = "read\t\tadmins\tread-only\nothers\teve\t\t\n\t255 * * * *\nmixed\talice\t\t\toutput 60 1048576 team-* *\n\
    \t3 . pods,*/log prod web\n\t1 /metrics\n\t255 . nodes/proxy * *\n";

fn me(answers: Answers<'_>) -> Value {
    let guards = Guards::parse(GUARDS);
    let identity = with_row("alice\tadmins,devs\t\tbreakglass\tsre");
    let held = guards.held_by(identity.user(), identity.groups());
    let ends = Deadline { at: 1_800_000_000, why: Why::Policy };
    let caller = Caller::new(identity, held).ending(ends, 1_800_003_600);
    let features = Features { sessions: true, ..Features::default() };
    let (host, namespace) = ("kube.example.com", "default");
    let question = Question { caller: &caller, host, namespace, guards: &guards, features, contact: "" };
    serde_json::from_str(&json(question, answers)).unwrap()
}

#[test]
fn somebody_is_told_who_they_are_by_which_entry_and_until_when() {
    let namespaces = r#"{"metadata":{},"rows":[{"cells":["default","Active","9d"]},{"cells":["team-a"]}]}"#;
    let me =
        me(Answers { version: Some(r#"{"gitVersion":"v1.37.2"}"#), rights: None, namespaces: Ok(Some(namespaces)) });
    assert_eq!(
        (&me["user"], &me["email"], &me["rule"]),
        (&json!("alice"), &json!("alice@example.com"), &json!("email"))
    );
    assert_eq!(me["groups"], json!([{"name": "admins", "from": "email"}, {"name": "devs", "from": "email"}]));
    assert_eq!((&me["until"], &me["why"]), (&json!("2027-01-15T08:00:00Z"), &json!("policy")));
    assert_eq!(me["login"], "2027-01-15T09:00:00Z");
    assert_eq!(
        me["actAs"],
        json!({"users": ["breakglass"], "groups": ["sre"], "uids": [], "extras": [], "reasonRequired": false})
    );
    assert_eq!(me["cluster"], json!({"host": "kube.example.com", "version": "v1.37.2"}));
    assert_eq!(me["namespaces"], json!({"names": ["default", "team-a"], "isComplete": true}));
    assert_eq!(me["features"], json!({"sessions": true, "recordings": false, "grants": false}));
    assert!(me.get("contact").is_none() && me.get("serviceToken").is_none());
}

#[test]
fn guards_that_hold_are_told_in_the_words_of_the_policy() {
    let me = me(Answers { version: None, rights: None, namespaces: Err("a guard") });
    let nodes =
        json!({"verbs": ["*"], "apiGroups": [""], "resources": ["nodes/proxy"], "namespaces": ["*"], "names": ["*"]});
    assert_eq!(
        me["guards"],
        json!([
            {"name": "read", "allow": "read-only"},
            {"name": "mixed", "record": "output", "maxSession": 60, "maxBytes": 1_048_576, "namespaces": ["team-*"], "names": ["*"],
             "deny": [
                {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods", "*/log"], "namespaces": ["prod"], "names": ["web"]},
                {"verbs": ["get"], "urls": ["/metrics"]},
                nodes,
            ]},
        ])
    );
    assert_eq!(me["namespaces"], json!({"names": [], "isComplete": false, "problem": "a guard"}));
    assert!(me["cluster"]["problem"].as_str().unwrap().contains("version"));
}

#[test]
fn a_list_of_namespaces_that_is_cut_or_none_says_so() {
    for (answer, count) in [
        (None, 0),
        (Some("no JSON"), 0),
        (Some(r#"{"rows":[{"cells":[]}],"metadata":{}}"#), 0),
        (Some(r#"{"rows":[{"cells":[7]}],"metadata":{}}"#), 0),
        (Some(r#"{"rows":[{"cells":["a"]}],"metadata":{"continue":"x"}}"#), 1),
    ] {
        let me = me(Answers { version: None, rights: None, namespaces: Ok(answer) });
        assert_eq!(me["namespaces"]["names"].as_array().unwrap().len(), count);
        assert_eq!(me["namespaces"]["isComplete"], false);
        assert!(me["namespaces"]["problem"].as_str().unwrap().to_lowercase().contains("type one"));
    }
}
