use serde_json::{Value, json};

use super::*;

const GUARDS: &str = "no-secrets\t\t\t\n\t7 . secrets * *\nno-web\t\t\t\n\t64 . pods * web\nno-lists\t\t\t\n\t2 apps * prod *\n\
    no-metrics\t\t\t\n\t255 /metrics*\nrecorded\t\t\t\toutput 14400 67108864 * *\n";

fn rights(namespace: &str, guards: &str, status: &Value) -> Value {
    let guards = Guards::parse(guards);
    let held = guards.held_by("alice", &[]);
    let answer = json!({ "status": status }).to_string();
    let rights = Rights::read(namespace, Some(&answer), Guarded { guards: &guards, held: &held });
    serde_json::to_value(rights).unwrap()
}

fn row<'v>(rights: &'v Value, group: &str, resource: &str) -> &'v Value {
    let rows = rights["rows"].as_array().unwrap();
    let found = rows.iter().find(|row| row["group"] == group && row["resource"] == resource);
    found.map_or(&Value::Null, |row| &row["verbs"])
}

#[test]
fn an_administrators_rights_are_everything_less_what_guards_take() {
    let all = json!({"incomplete": false, "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}, {"verbs": ["get"], "nonResourceURLs": ["/metrics", "/healthz"]}],
        "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]});
    let rights = rights("prod", GUARDS, &all);
    assert_eq!((&rights["namespace"], &rights["isComplete"]), (&json!("prod"), &json!(true)));
    assert_eq!(rights["wildcards"], json!([{"verbs": ["*"], "groups": ["*"], "resources": ["*"]}]));
    for verb in ["get", "list", "watch"] {
        assert_eq!(row(&rights, "", "secrets")[verb], json!({"is": "taken", "by": "no-secrets"}));
    }
    assert_eq!(row(&rights, "", "secrets")["create"], json!({"is": "yes"}));
    assert_eq!(row(&rights, "apps", "deployments")["list"], json!({"is": "taken", "by": "no-lists"}));
    assert_eq!(row(&rights, "", "pods")["delete"], json!({"is": "yes", "except": "no-web"}));
    assert_eq!(row(&rights, "", "pods/exec")["create"], json!({"is": "yes", "recorded": "output"}));
    for (resource, verb) in [("pods/log", "get"), ("pods", "watch")] {
        assert_eq!(
            row(&rights, "", resource)[verb],
            json!({"is": "yes"}),
            "what stays open ends in time, and is not recorded"
        );
    }
    assert_eq!(row(&rights, "", "nodes")["get"], json!({"is": "yes"}));
    assert_eq!(rights["urls"][1], json!({"verbs": ["get"], "urls": ["/healthz"]}));
    let elsewhere = self::rights("default", GUARDS, &all);
    assert_eq!(row(&elsewhere, "apps", "deployments")["list"], json!({"is": "yes"}));
}

#[test]
fn rights_to_some_names_are_told_so_and_others_come_after_the_usual() {
    let some = json!({"incomplete": true, "evaluationError": "webhook does not support user rule resolution", "resourceRules": [
        {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["web", "db"]},
        {"verbs": ["list"], "apiGroups": [""], "resources": ["pods"]},
        {"verbs": ["use"], "apiGroups": ["policy"], "resources": ["podsecuritypolicies"], "resourceNames": ["a"]},
        {"verbs": ["get", "list"], "apiGroups": ["example.com"], "resources": ["widgets", "*/scale"]},
        {"verbs": ["get"], "apiGroups": ["example.org"], "resources": ["*/status"], "resourceNames": ["web"]},
        {"verbs": ["create"], "apiGroups": [""], "resources": ["pods/attach"]},
        {"verbs": ["create"], "apiGroups": [""], "resources": ["pods/exec"], "resourceNames": ["a", "db-1", "b"]},
        {"verbs": ["create"], "apiGroups": [""], "resources": ["pods/portforward"], "resourceNames": ["db-1"]},
    ]});
    let guards =
        "no-web\t\t\t\n\t1 . pods * web\nno-use\t\t\t\n\t8 . pods/exec * a\ninput\t\t\t\tinput 60 1048576 * db-*\n";
    let guarded = self::rights("default", guards, &some);
    assert_eq!(row(&guarded, "", "pods")["get"], json!({"is": "some", "names": ["db"], "except": "no-web"}));
    assert_eq!(row(&guarded, "", "pods/attach")["create"], json!({"is": "yes", "someRecorded": "input"}));
    let exec = json!({"is": "some", "names": ["db-1", "b"], "except": "no-use", "someRecorded": "input"});
    assert_eq!(row(&guarded, "", "pods/exec")["create"], exec);
    let one = json!({"is": "some", "names": ["db-1"], "recorded": "input"});
    assert_eq!(row(&guarded, "", "pods/portforward")["create"], one);
    let all_taken = self::rights("default", "none\t\t\t\n\t1 . pods * web,db\n", &some);
    assert_eq!(row(&all_taken, "", "pods")["get"], json!({"is": "taken", "by": "none"}));
    assert_eq!(
        guarded["wildcards"][1],
        json!({"verbs": ["get"], "groups": ["example.org"], "resources": ["*/status"], "names": ["web"]})
    );
    let rights = rights("default", "", &some);
    assert_eq!((&rights["isComplete"], &rights["problem"]), (&json!(false), &some["evaluationError"]));
    assert_eq!(
        row(&rights, "", "pods"),
        &json!({"get": {"is": "some", "names": ["web", "db"]}, "list": {"is": "yes"}})
    );
    assert_eq!(row(&rights, "policy", "podsecuritypolicies"), &json!({"use": {"is": "some", "names": ["a"]}}));
    assert_eq!(row(&rights, "example.com", "widgets")["get"], json!({"is": "yes"}));
    assert_eq!(row(&rights, "", "secrets"), &json!({}), "the usual are there, granted or not");
    assert_eq!(rights["wildcards"][0]["resources"], json!(["widgets", "*/scale"]));
    let rows = rights["rows"].as_array().unwrap();
    let usual = rows.iter().take_while(|row| row["isUsual"] == true).count();
    assert_eq!((usual, rows.len()), (USUAL.len(), USUAL.len() + 2));
}

#[test]
fn the_preset_leaves_what_reads() {
    let all = json!({"resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]});
    let rights = rights("default", "readers\t\t\tread-only\n", &all);
    let taken = json!({"is": "taken", "by": "readers"});
    assert_eq!(row(&rights, "", "pods")["get"], json!({"is": "yes"}));
    for (resource, verb) in [("pods", "delete"), ("pods/exec", "create"), ("secrets", "get"), ("configmaps", "patch")] {
        assert_eq!(row(&rights, "", resource)[verb], taken, "{verb} {resource}");
    }
}

#[test]
fn an_answer_that_cannot_be_read_is_no_right() {
    let guards = Guards::default();
    let held = guards.held_by("alice", &[]);
    for answer in
        [None, Some(""), Some("{}"), Some(r#"{"status":{"resourceRules":[{"verbs":"*"}]}}"#), Some(r#"{"status":[]}"#)]
    {
        let rights = Rights::read("default", answer, Guarded { guards: &guards, held: &held });
        let rights = serde_json::to_value(rights).unwrap();
        assert_eq!((&rights["isComplete"], &rights["rows"]), (&json!(false), &json!([])), "{answer:?}");
        assert!(rights["problem"].as_str().unwrap().contains("try again"));
        assert!(rules(answer).is_none_or(|rules| !rules.allow("create", "g", "r", "n")));
    }
}
