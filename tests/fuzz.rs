//! Hostile input without end: each target takes texts from its corpus (`corpus/<target>/`), changes them, and holds what the
//! gateway makes of them to what must always be true. A text that once broke something belongs into the corpus.
//!
//! The usual run takes the same 1,000 texts for each target every time (.cargo/config.toml). `npm run fuzz` takes others for as
//! long as it is told, and keeps in the corpus what breaks something (`FUZZ_KEEP`).

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::{env, fs};

use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config as RunnerConfig, TestCaseError, TestError, TestRunner};

#[path = "fuzz/cluster.rs"]
mod cluster;
#[path = "fuzz/entrance.rs"]
mod entrance;
#[path = "fuzz/map.rs"]
mod map;
#[path = "../src/identity/name.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the library")]
mod name;
#[path = "fuzz/policy.rs"]
mod policy;
#[path = "fuzz/request_info.rs"]
mod request_info;
#[path = "../policy/source.rs"]
mod source;
#[path = "conformance/team.rs"]
#[allow(dead_code, reason = "shared with the conformance table")]
mod team;
#[path = "../src/guard/words.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the library")]
mod words;

#[test]
fn token() {
    fuzz("token", entrance::token);
}

#[test]
fn claims() {
    fuzz("claims", entrance::claims);
}

#[test]
fn jwks() {
    fuzz("jwks", entrance::jwks);
}

#[test]
fn head() {
    fuzz("head", cluster::head);
}

#[test]
fn target() {
    fuzz("target", cluster::target);
}

#[test]
fn prepare() {
    fuzz("head", cluster::prepare);
}

#[test]
fn identity_map() {
    fuzz("map", map::compile);
}

#[test]
fn guards() {
    fuzz("guards", policy::guards);
}

#[test]
fn entry() {
    fuzz("entry", policy::entry);
}

#[test]
fn identity() {
    fuzz("identity", policy::identity);
}

/// The whole corpus as it is, then changed.
fn fuzz(target: &str, check: fn(&str) -> Result<(), TestCaseError>) {
    let corpus = corpus(target);
    for text in &corpus {
        check(text).unwrap_or_else(|error| panic!("{text}\n{error}"));
    }
    let cases = env::var("FUZZ_CASES").map_or(1000, |cases| cases.parse().unwrap());
    let mut runner = TestRunner::new(RunnerConfig { cases, failure_persistence: None, ..RunnerConfig::default() });
    let outcome = runner.run(&changed(corpus), |text| check(&text));
    if let Err(TestError::Fail(_, text)) = &outcome {
        keep(target, text);
    }
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

/// Writes a text that broke something into the corpus, if the run is to do so.
fn keep(target: &str, text: &str) {
    if env::var_os("FUZZ_KEEP").is_some() {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let path = folder(target).join(format!("found-{:016x}.txt", hasher.finish()));
        fs::write(&path, format!("{text}\n")).unwrap();
        eprintln!("kept in {}", path.display());
    }
}

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(target)
}

fn corpus(target: &str) -> Vec<String> {
    let mut paths: Vec<_> = fs::read_dir(folder(target)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
        .iter()
        .map(|path| {
            let text = fs::read_to_string(path).unwrap();
            text.strip_suffix('\n').unwrap_or(&text).to_owned()
        })
        .collect()
}

/// Texts of the corpus with up to eight changes, and now and then any text at all.
fn changed(corpus: Vec<String>) -> impl Strategy<Value = String> {
    let change =
        (any::<Index>(), 0..12_usize, prop_oneof![9 => select(PIECES).prop_map(str::to_owned), 1 => "\\PC{0,8}"]);
    let texts = (select(corpus), prop::collection::vec(change, 0..8)).prop_map(|(text, changes)| {
        let mut text: Vec<char> = text.chars().collect();
        for (place, deleted, inserted) in changes {
            let start = place.index(text.len() + 1);
            let end = (start + deleted.saturating_sub(6)).min(text.len());
            text.splice(start..end, inserted.chars());
        }
        text.into_iter().collect()
    });
    prop_oneof![19 => texts, 1 => "\\PC{0,200}"]
}

/// What has confused one parser or another.
const PIECES: &[&str] = &[
    "",
    "",
    "",
    "",
    ".",
    "..",
    "/",
    "//",
    "/../",
    "/./",
    "%2e",
    "%2F",
    "%5c",
    "%25",
    "%00",
    "%0d%0a",
    "%",
    "%zz",
    "%c3%a9",
    "\\",
    ";",
    ":",
    "@",
    "#",
    "?",
    "&",
    "=",
    "+",
    ",",
    "*",
    "'",
    "\"",
    "`",
    " ",
    "\t",
    "\n",
    "\r",
    "\0",
    "\u{7f}",
    "\u{85}",
    "\u{a0}",
    "\u{200b}",
    "\u{2028}",
    "\u{feff}",
    "é",
    "K",
    "ı",
    "api",
    "apis",
    "v1",
    "namespaces",
    "pods",
    "exec",
    "proxy",
    "watch",
    "watch=1",
    "watch=false",
    "status",
    "finalize",
    "-",
    "_",
    "~",
    "0",
    "-1",
    "1e9",
    "18446744073709551615",
    "18446744073709551616",
    "1800000000",
    "null",
    "true",
    "[]",
    "{}",
    "[",
    "]",
    "{",
    "}",
    "\"\"",
    "\"aud-1\"",
    "\"exp\":1900000000,",
    "\"email\":\"root@example.com\",",
    "\"crit\":[],",
    "\"alg\":\"none\",",
    "\"kid\":\"team-1\",",
    "\\u0061",
    "\nimpersonate-user:root",
    "\nImpersonate-Group:system:masters",
    "\nconnection:impersonate-user",
    "\nauthorization:Bearer x",
    "\ncookie:a=b",
    "\nx-remote-user:root",
    "\nupgrade:websocket",
    "\nupgrade:SPDY/3.1",
    "\naudit-id:x",
    "\ncf-ray:x",
    "\nx-forwarded-for:1.1.1.1",
    "\norigin:null",
    "impersonate",
    "Impersonate_User",
    "base64url.bearer.authorization.k8s.io.x",
    "v5.channel.k8s.io",
    "system:",
    "system:masters",
    "{email}",
    "allow_system_masters: true",
    "\n- {email: a@b.c, user: a}",
    "groups: ",
    "alice@example.com",
    "@example.com",
    "&a ",
    "*a",
    "!!str ",
    "<<: ",
    "|\n",
    "---\n",
];
