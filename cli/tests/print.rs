//! Where what is printed goes nowhere: a reader that has gone, and a disk that is full.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{self, OpenOptions};
use std::process::{Command, Output, Stdio};

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

const EVENT: &str = r#"{"stage":"ResponseComplete","requestURI":"/api/v1/pods","verb":"list","user":{"username":"bob@example.com","groups":["developers"],"extra":{"kube-access.dev/email":["bob@example.com"]}}}"#;

/// Commands that ask nobody.
const COMMANDS: [&str; 8] = [
    "--help",
    "--version",
    "sessions play --help",
    "completion bash",
    "explain --as-caller bob@example.com get pods",
    "explain --as-caller bob@example.com -o json get pods",
    "explain --replay EVENTS --against identities.yaml",
    "explain --replay EVENTS --against identities.yaml -o json",
];

/// Runs each, and looks at what became of it.
fn each(stdout: impl Fn() -> Stdio, check: impl Fn(&str, &Output)) {
    let dir = tempfile::tempdir().unwrap();
    let events = dir.path().join("events");
    fs::write(&events, EVENT).unwrap();
    for command in COMMANDS {
        let line = command.replace("EVENTS", events.to_str().unwrap());
        let mut program = Command::new(env!("CARGO_BIN_EXE_kubectl-access"));
        program.args(line.split(' ')).current_dir(REPOSITORY).stdout(stdout()).stderr(Stdio::piped());
        let output = program.spawn().unwrap().wait_with_output().unwrap();
        check(command, &output);
    }
}

#[test]
fn a_reader_that_has_gone_ends_a_command_quietly_and_not_as_a_success() {
    let closed = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        Stdio::from(writer)
    };
    each(closed, |command, output| {
        assert_eq!(output.status.code(), Some(141), "{command}: {output:?}");
        assert!(output.stderr.is_empty(), "{command}: {output:?}");
    });
}

#[test]
fn a_disk_that_is_full_is_a_sentence() {
    let full = || Stdio::from(OpenOptions::new().write(true).open("/dev/full").unwrap());
    each(full, |command, output| {
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{command}: {said}");
        assert!(said.starts_with("stdout does not take what there is to print: No space left"), "{command}: {said}");
        assert_eq!(said.lines().count(), 1, "{command}: {said}");
    });
}

#[test]
fn a_complaint_that_nobody_reads_is_no_panic() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut program = Command::new(env!("CARGO_BIN_EXE_kubectl-access"));
    program.args(["explain", "--policy", "/nowhere", "--as-caller", "a@b.c", "get", "pods"]);
    let status = program.stdout(Stdio::null()).stderr(writer).status().unwrap();
    assert_eq!(status.code(), Some(1));
}
