//! What the program says of itself: help, man pages, completions.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::process::Command;

fn access(args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_kubectl-access")).args(args).output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn help_teaches_by_examples() {
    let (status, help) = access(&["--help"]);
    assert_eq!(status, Some(0));
    assert!(help.contains("kubectl access setup https://kube.example.com"), "{help}");
    let (status, help) = access(&["sessions", "play", "--help"]);
    assert_eq!(status, Some(0));
    assert!(help.contains("Examples:") && help.contains("Usage: kubectl access sessions play "), "{help}");
}

#[test]
fn there_is_a_man_page_for_each_command_and_a_completion_for_each_shell() {
    let dir = tempfile::tempdir().unwrap();
    let (man, other) = (dir.path().join("man"), dir.path().join("other"));
    let (status, _) = access(&["man", man.to_str().unwrap()]);
    assert_eq!(status, Some(0));
    fs::create_dir(&other).unwrap();
    let permissions = |folder| fs::metadata(folder).unwrap().permissions();
    assert_eq!(permissions(&man), permissions(&other), "as any folder is made here: others read it too");
    let mut names: Vec<String> =
        fs::read_dir(&man).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    for name in ["kubectl-access.1", "kubectl-access-run.1", "kubectl-access-sessions-play.1"] {
        assert!(names.contains(&name.to_owned()), "{names:?}");
    }
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let (status, script) = access(&["completion", shell]);
        assert!(status == Some(0) && script.contains("kubectl-access") && script.contains("explain"), "{shell}");
    }
}
