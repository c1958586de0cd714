//! `kubectl access explain` as a program: what it prints, and by which status it ends.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn explain(args: &[&str], stdin: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-access"));
    command.arg("explain").args(args).current_dir(REPOSITORY);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn the_policy_of_this_folder_is_explained_and_a_refusal_is_the_exit_status() {
    let sent = explain(&["--as-caller", "bob@example.com", "exec", "pod/web", "-n", "team-a"], "");
    assert_eq!(sent.status.code(), Some(0), "{}", text(&sent.stderr));
    assert!(text(&sent.stdout).contains("Impersonate-User:bob@example.com"));
    let refused = explain(&["--as-caller", "dave@contractors.example", "delete", "pod", "web"], "");
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stdout).contains("contractors-read-only"));
    let json = explain(&["-o", "json", "--as-caller", "nobody@x.test", "--request", "GET /api/v1/pods"], "");
    let told: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((json.status.code(), &told["refusal"]["status"]), (Some(1), &403.into()));
}

#[test]
fn a_wrong_command_line_says_what_was_expected() {
    for (args, words) in [
        (vec!["get", "pods"], "--as-caller"),
        (vec!["--as-caller", "a@b.c"], "get pods"),
        (vec!["--as-caller", "a@b.c", "get", "frobs"], "custom resource"),
        (vec!["--replay", "-"], "--against"),
        (vec!["--as-caller", "a@b.c", "--at", "noon", "get", "pods"], "RFC 3339"),
    ] {
        let output = explain(&args, "");
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(text(&output.stderr).contains(words), "{args:?}: {}", text(&output.stderr));
    }
    let missing = explain(&["--policy", "no.yaml", "--as-caller", "a@b.c", "get", "pods"], "");
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).contains("--policy FILE"));
}

#[test]
fn a_replay_fails_when_anything_is_lost_and_a_wrong_policy_names_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let against = dir.path().join("new.yaml");
    let event = r#"{"stage":"ResponseComplete","requestURI":"/api/v1/pods","verb":"list",
        "user":{"username":"bob@example.com","groups":["developers"],"extra":{"kube-access.dev/email":["bob@example.com"]}},
        "responseStatus":{"code":200},"requestReceivedTimestamp":"2027-01-15T08:00:00Z"}"#
        .replace('\n', "");
    let path = against.to_str().unwrap();
    fs::write(&against, "identities: [{ email: alice@example.com, user: alice }]\n").unwrap();
    let lost = explain(&["--replay", "-", "--against", path], &event);
    assert_eq!(lost.status.code(), Some(1), "{}", text(&lost.stderr));
    assert!(text(&lost.stdout).contains("bob@example.com"), "{}", text(&lost.stdout));
    let same = explain(&["--replay", "-", "--against", "identities.yaml"], &event);
    assert_eq!(same.status.code(), Some(0), "{}", text(&same.stdout));
    assert!(text(&same.stdout).contains("Nothing is lost."));
    let unexplained = explain(&["--policy", path, "--replay", "-", "--against", "identities.yaml"], &event);
    assert_eq!(unexplained.status.code(), Some(1), "by that policy bob never entered");
    let words = text(&unexplained.stdout);
    assert!(words.contains("1 event unexplained") && words.contains("bob@example.com: list pods"), "{words}");
    let cri = format!("{event}\n2027-01-15T08:00:00Z stdout F {event}\n");
    let unreadable = explain(&["--replay", "-", "--against", "identities.yaml"], &cri);
    assert_eq!(unreadable.status.code(), Some(1));
    let words = text(&unreadable.stdout);
    assert!(words.contains("line 2") && words.contains("Whether anything is lost cannot be told."), "{words}");
    let json = explain(&["--replay", "-", "--against", "identities.yaml", "-o", "json"], &cri);
    let found: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((&found["unreadable"], &found["firstUnreadable"]), (&1.into(), &2.into()));
    fs::write(&against, "identities: [{ email: alice@example.com, usr: alice }]\n").unwrap();
    let wrong = explain(&["--replay", "-", "--against", path], &event);
    assert!(wrong.status.code() == Some(1) && text(&wrong.stderr).contains("line 1"), "{}", text(&wrong.stderr));
    let empty = explain(&["--replay", "-", "--against", "identities.yaml"], "");
    assert!(empty.status.code() == Some(1) && text(&empty.stderr).contains("ENABLE_K8S_LOGGING"));
    let nobody = r#"{"requestURI":"/api","verb":"get","user":{"username":"system:node:a"}}"#;
    let nameless = explain(&["--replay", "-", "--against", "identities.yaml"], nobody);
    assert!(nameless.status.code() == Some(1) && text(&nameless.stderr).contains("ENABLE_K8S_LOGGING"));
}
