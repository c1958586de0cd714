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
    for command in ["setup", "run", "connect", "grant", "explain", "completion"] {
        let (status, help) = access(&[command, "--help"]);
        assert_eq!(status, Some(0));
        assert!(help.contains("Examples:") && help.contains("Usage: kubectl access "), "{command}: {help}");
    }
}

#[test]
fn there_is_a_man_page_for_each_command_and_a_completion_for_each_shell() {
    let dir = tempfile::tempdir().unwrap();
    let (status, _) = access(&["man", dir.path().to_str().unwrap()]);
    assert_eq!(status, Some(0));
    let mut names: Vec<String> =
        fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    for name in ["kubectl-access.1", "kubectl-access-run.1", "kubectl-access-sessions-play.1"] {
        assert!(names.contains(&name.to_owned()), "{names:?}");
    }
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let (status, script) = access(&["completion", shell]);
        assert!(status == Some(0) && script.contains("kubectl-access") && script.contains("explain"), "{shell}");
    }
}
