//! `identities.yaml` has two readers: the build, by YAML 1.2, and Terraform, by YAML 1.1. Whatever compiles must be read alike
//! by both, or the cluster lets the gateway impersonate others than those whom the Worker names.
//!
//! The maps go through one real `terraform console`, and whole policies through what the modules make of them: `cargo test --test
//! identities -- --ignored` (`npm test`, part terraform).

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fs};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::Value;

#[path = "../src/identity/name.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the library")]
mod name;
#[path = "../policy/source.rs"]
mod source;
#[path = "../src/guard/words.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the library")]
mod words;

/// Scalars that one reader or another takes for a number, a switch, a time, nothing, or something else again.
#[rustfmt::skip]
const SCALARS: &[&str] = &[
    "007", "7", "+1", "-1", "-0", "1_000", "1__0", "1_", "0777", "08", "0o7", "0O7", "0x1f", "0X1F", "-0x1f", "+0x1f",
    "0x_1", "0x", "0xg", "0b11", "0B11", "-0b1", "0b2", "1e3", "1E3", "+1e3", "1e+3", "1e-3", "1e", "1e3_0", "1e999",
    "12e03", "1.5", ".5", "5.", "1.e3", ".5e3", "+.5", "1_0.5", "1,000", "0x1.8p3", "99999999999999999999", "190:20:30",
    "-190:20:30", "1:20", "1.5:30", "60:60", "12:30:45.5", ".inf", "-.inf", "+.inf", ".Inf", ".INF", ".iNF", ".nan", ".NaN",
    ".NAN", "+.nan", "inf", "NaN", "Infinity", "true", "True", "TRUE", "tRUE", "false", "False", "FALSE", "yes", "Yes", "YES",
    "yEs", "no", "No", "NO", "nO", "on", "On", "ON", "off", "Off", "OFF", "y", "Y", "n", "N", "null", "Null", "NULL", "nULL",
    "~", "", "none", "None", "2024-01-02", "2024-1-2", "2024-01", "2024-13-45", "2024-01-02T03:04:05Z",
    "2024-01-02t03:04:05z", "2024-01-02T3:4:5+01:00", "2024-01-02 03:04:05", "2024-01-02 03:04:05.5 +1", "<<", "=", "-", "?",
    "?a", ":a", "-a", "a:b", "a: b", "a:", "a #b", "a#b", "a b", "a  b", "%a", "@a", "`a", "!a", "!!str 007", "!!str a",
    "!!int 7", "!!binary YQ==", "!!timestamp 2024-01-02", "! a", "!<tag:yaml.org,2002:str> a", "&a", "&a b", "*a", "&a.b c",
    "&é c", "'a'", "''", "'it''s'", "'007'", "'yes'", "\"007\"", "\"~\"", "\"a\\/b\"", "\"\\x41\\u0042\\U00000043\"",
    "\"a\\\n  b\"", "\"a\n\n  b\"", "\"a\\tb\"", "\"a\\_b\"", "\"a\\Nb\"", "\"a\\eb\"", "|\n    a", "|-\n    a",
    "|-\n    007", "|-\n    True", "|-\n    no", ">-\n    ~", ">-\n    a\n    b", "|2-\n    a", "|+\n    a\n", ">-\n\n    a", "a\n    b", "a\n\n    b", "a\t", "a\tb", "\ta",
    "a # comment", "a\u{85}b", "a\u{2028}b", "a\u{a0}", "\u{feff}a", "é", "\u{212a}ate", "a\u{0}b", "\"a\"b", "'a'b", "a'b",
    "a\"b", "a]b", "a}b", "a[b", "a{b", "[a]", "{a: b}", "{email}", "\"{email}\"", "\"${a}\"", "\"%{a}\"", "a\\b", "a|b", "a>b",
    "--- a", "---", "...", "a...", "\"...\"",
];

/// Whole maps that are out of the ordinary.
const MAPS: &[&str] = &[
    "",
    "identities: []",
    "identities:",
    "identities: ~",
    "- {email: a@b.c, user: a}",
    "---\nidentities:\n- {email: a@b.c, user: a}\n",
    "---\nidentities:\n- {email: a@b.c, user: a}\n...\n",
    "identities:\n- {email: a@b.c, user: a}\n---\nidentities:\n- {email: a@b.c, user: b}\n",
    "identities:\n- {email: a@b.c, user: a}\n...\nidentities:\n- {email: a@b.c, user: b}\n",
    "%YAML 1.2\n---\nidentities:\n- {email: a@b.c, user: a}\n",
    "%YAML 1.1\n---\nidentities:\n- {email: a@b.c, user: a}\n",
    "%TAG ! tag:yaml.org,2002:\n---\nidentities:\n- {email: a@b.c, user: !str a}\n",
    "\u{feff}identities:\n- {email: a@b.c, user: a}\n",
    "identities:\r\n- email: a@b.c\r\n  user: a\r\n  groups: [x,\r\n    z]\r\n",
    "identities:\r- email: a@b.c\r  user: a\r",
    "identities:\n- email: a@b.c\n  user: a # c\u{85}- {email: z@b.c, user: z}\n",
    "identities:\n- email: a@b.c\n  user: a # c\u{2028}  groups: [admins]\n",
    "identities:\n- email: a@b.c\n  user: a # c\r  groups: [admins]\n",
    "identities:\n- &a {email: a@b.c, user: a}\n- *a\n",
    "identities:\n- &a {email: a@b.c, user: a}\n- {<<: *a, email: b@b.c}\n",
    "identities:\n- &a\n  email: a@b.c\n  user: a\n- <<: *a\n  email: b@b.c\n",
    "identities:\n- {\"<<\": {user: a}, email: b@b.c}\n",
    "identities:\n- {email: a@b.c, user: &u a, groups: &g [x, z]}\n- {email: b@b.c, user: *u, groups: *g}\n",
    "identities:\n- {email: a@b.c, user: &u a}\n- {email: b@b.c, user: &u b}\n- {email: c@b.c, user: *u}\n",
    "identities:\n- {email: a@b.c, user: *u}\n",
    "identities:\n- {email: a@b.c, user: &u a, groups: [*u , *u]}\n",
    "identities:\n- {email: a@b.c, user: &u a, groups: [*u, b]}\n",
    "identities:\n- {email: a@b.c, user: &ü a, groups: [*ü]}\n",
    "identities:\n- {email: a@b.c, user: &a.b a, groups: [*a.b]}\n",
    "identities:\n- {email: a@b.c, user: &a:b a, groups: [*a:b]}\n",
    "identities:\n- {email: a@b.c, &k user: a}\n- {email: b@b.c, *k : b}\n",
    "x: &x a\nidentities:\n- {email: a@b.c, user: *x}\n",
    "identities:\n- {email: a@b.c, user: a, user: b}\n",
    "identities:\n- {email: a@b.c, user: a, \"user\": b}\n",
    "identities:\n- {email: a@b.c, user: a}\nidentities:\n- {email: a@b.c, user: b}\n",
    "identities:\n- {email: a@b.c, user: a, 1: b}\n",
    "identities:\n- {email: a@b.c, user: a, ? groups : [x]}\n",
    "identities:\n- ? email\n  : a@b.c\n  ? user\n  : a\n",
    "identities:\n- {email: a@b.c, user: a, [groups]: [x]}\n",
    "identities:\n- {email: a@b.c, user: a, groups}\n",
    "identities:\n- {email: a@b.c, user: a, groups: }\n",
    "identities:\n- {email: a@b.c, user: a, groups: ~}\n",
    "identities:\n- email: a@b.c\n  user: a\n  groups:\n",
    "identities:\n- email: a@b.c\n  user: a\n  groups:\n  - x\n  - z\n",
    "identities:\n- email: a@b.c\n  user: a\n  groups:\n    - x\n    -\n",
    "identities:\n- {email: a@b.c, user: a, groups: x}\n",
    "identities:\n- {email: a@b.c, user: a, groups: [x,]}\n",
    "identities:\n- {email: a@b.c, user: a, groups: [x,,z]}\n",
    "identities:\n- {email: a@b.c, user: a, groups: [[x]]}\n",
    "identities:\n- {email: a@b.c, user: a, groups: [x: z]}\n",
    "identities:\n- {email: a@b.c, user: a, groups: [x z, q]}\n",
    "identities:\n- {email: a@b.c, user: a, groups: [\n  x,\n  z\n]}\n",
    "identities:\n- email: a@b.c\n  user: a\n  groups: [\nx,\nz\n]\n",
    "identities:\n- {\"email\":a@b.c, 'user':a}\n",
    "identities:\n- {\"email\":\"a@b.c\", \"user\":\"a\",\"groups\":[\"x\",\"z\"]}\n",
    "{\"identities\": [{\"email\": \"a@b.c\", \"user\": \"a\", \"groups\": [\"007\"]}]}",
    "identities:\n- {email: a@b.c, user: ~, groups: [x]}\n",
    "identities:\n- {email: a@b.c, email_domain: ~, user: a}\n",
    "identities:\n- {email: a@b.c, email_domain: null, service_token: , user: a}\n",
    "identities:\n- {email: a@b.c, user: a, allow_system_masters: true, groups: ['system:masters']}\n",
    "identities:\n- {email: a@b.c, user: a, allow_system_masters: True, groups: ['system:masters']}\n",
    "identities:\n- {email: a@b.c, user: a, allow_system_masters: yes, groups: ['system:masters']}\n",
    "identities:\n- {email: a@b.c, user: a, allow_system_masters: yEs, groups: ['system:masters']}\n",
    "identities:\n- {email: a@b.c, user: a, allow_system_masters: tRUE, groups: ['system:masters']}\n",
    "identities:\n- {email: a@b.c, user: a, allow_system_masters: 'true', groups: ['system:masters']}\n",
    "identities:\n- {email: a@b.c, user: a, allow_system_masters: 1, groups: ['system:masters']}\n",
    "identities:\n- {email: a@b.c, user: a, allow_system_masters: ~, groups: [x]}\n",
    "identities:\n- {email: a@b.c, user: a, allow_system_masters: off, groups: [x]}\n",
    "identities:\n- {email: a@b.c, user: a, groups: [expires, 2024-01-02T03:04:05+00:00]}\n",
    "identities:\n- {email: a@b.c, user: a, groups: [expires, 2024-01-02T03:04:05-00:00]}\n",
    "identities:\n- {email: a@b.c, user: a, groups: [expires, 2024-01-02T03:04:05Z]}\n",
    "identities:\n- email: a@b.c\n  user: a\n  groups:\n  - expires\n  - 2024-01-02T03:04:05+00:00\n",
    "identities:\n- {email: a@b.c, groups: [expires], user: 2024-01-02T03:04:05+00:00}\n",
    "identities:\n- {email: a@b.c, user: a, expires: &x 2024-01-02T03:04:05+00:00}\n- {email: b@b.c, user: *x}\n",
    "identities:\n- {email: a@b.c, user: a, expires: &x 2024-01-02T03:04:05Z}\n- {email: b@b.c, user: b, groups: [*x ]}\n",
    "identities:\n- {email: a@b.c, user: a, expires: 2024-01-02T03:04:05+00:00}\n",
    "identities:\n- {email: a@b.c, user: a, expires: 2024-01-02T03:04:05Z, groups: [expires]}\n",
    "identities:\n- {\"expires\": 2024-01-02T03:04:05Z, \"email\": a@b.c, \"user\": a}\n",
    "identities:\n- {email_domain: b.c, user: x, allow_system_masters: true, groups: ['system:masters']}\n",
    "identities:\n- {email: a@b.c, user: a}\ngrants: {users: ['{email}'], groups: ['x-{email}']}\n",
    "identities:\n- email:\ta@b.c\n  user:\ta\n",
    "identities:\n-\temail: a@b.c\n\tuser: a\n",
    "identities:\n- email: a@b.c\t# c\n  user: a\n\t\n",
    "identities:\n- email: a@b.c\n  user: a\n\n\t# c\n",
    "identities:\n- email: a@b.c\n  user: a\n  groups: [x,\t z]\n",
    "identities:\n- email: a@b.c\n  user: a\n  groups: [x,\n\tz]\n",
    "identities: !!seq\n- !!map {email: a@b.c, user: a}\n",
    "identities: !!set {a}\n",
    "identities: !!omap\n- email: a@b.c\n",
    "identities:\n- email: a@b.c\n  user: a\n - email: z@b.c\n   user: z\n",
    "identities:\n  - email: a@b.c\n    user: a\n  - email: z@b.c\n    user: z\n",
    "identities:\n- email: a@b.c\n   user: a\n",
    "identities:\n- email: a@b.c\n  user: a\nother: 1\n",
    "identities:\n- email: A@B.C\n  user: '{email}'\n- email_domain: B.C\n  user: 'x-{email}'\n- service_token: 0f.access\n  user: ci\n",
    "# é ü 漢 \u{1f600}\nidentities: # c\n# c\n- email: a@b.c # c\n  # c\n  user: a\n# c",
];

/// What a map is changed by.
#[rustfmt::skip]
const PIECES: &[&str] = &[
    " ", "  ", "\n", "\n  ", "\r\n", "\r", "\t", "- ", ": ", ":", ",", ", ", "[", "]", "{", "}", "'", "\"", "#", " # ", "&a ",
    "*a", "!", "!!str ", "|", ">", "|-\n", "%", "@", "?", "? ", "-", "---\n", "...\n", "<<: ", "\\", "\\n", "\u{85}",
    "\u{2028}", "\u{a0}", "é", "\u{feff}", "007", "1e3", "yes", "no", "~", "null", "2024-01-02", "1:20", "true", "\u{7f}",
];

/// An entry as the cluster sees it: key, user, groups.
type Entries = BTreeSet<Vec<String>>;

#[test]
#[ignore = "needs terraform"]
fn case_172_terraform_reads_every_map_that_compiles_as_the_build_does() {
    let maps = maps();
    let compiled: Vec<_> = maps.iter().map(|map| by_the_build(map)).collect();
    let decoded = by_terraform(&maps);
    let mut compiling = 0;
    for ((map, ours), theirs) in maps.iter().zip(compiled).zip(decoded) {
        if ours.is_some() {
            assert_eq!(ours, theirs, "{map:?}");
            compiling += 1;
        }
    }
    assert!(compiling > 400, "only {compiling} of {} compile", maps.len());
}

/// Hand-picked ones, and 2,000 more by a fixed seed.
fn maps() -> Vec<String> {
    let mut maps: Vec<String> = MAPS.iter().map(|&map| map.to_owned()).collect();
    for scalar in SCALARS {
        maps.push(format!("identities:\n- email: a@b.c\n  user: {scalar}\n"));
        maps.push(format!("identities:\n- email: a@b.c\n  user: a\n  groups:\n  - {scalar}\n  - z1\n"));
        maps.push(format!("identities:\n- {{email: a@b.c, user: a, groups: [{scalar}, z1]}}\n"));
        maps.push(format!("identities:\n- {{user: {scalar}, email: a@b.c}}\n"));
        maps.push(format!("identities:\r\n- service_token: {scalar}\r\n  user: a\r\n"));
    }
    let mut runner = TestRunner::deterministic();
    let random = prop_oneof![1 => written(), 1 => changed(maps.clone())];
    maps.extend((0..2000).map(|_| random.new_tree(&mut runner).unwrap().current()));
    maps
}

/// Maps of one to three entries in whatever notation.
fn written() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        3 => "[a-zA-Z][a-zA-Z0-9:._@/+-]{0,6}",
        1 => "[0-9][0-9a-f._:+-]{0,6}",
        1 => "[!-~]{1,4}",
        1 => "'[ -&(-~]{1,6}'",
        1 => "\"[ !#-Z^-~]{1,6}\"",
        1 => select(SCALARS).prop_map(str::to_owned),
    ];
    let entry = (scalar.clone(), prop::collection::vec(scalar, 0..4), 0..5_usize);
    let end = select(&["\n", "\n", "\r\n"][..]);
    (prop::collection::vec(entry, 1..4), end).prop_map(|(entries, end)| {
        let mut yaml = "identities:\n".to_owned();
        for (index, (user, groups, form)) in entries.into_iter().enumerate() {
            let groups = |between| groups.join(between);
            let (email, comma) = (format!("p{index}@b.c"), groups(", "));
            let entry = match form {
                0 => format!("- {{email: {email}, user: {user}, groups: [{comma}]}}\n"),
                1 => format!("- {{email: {email},user: {user},groups: [{}]}}\n", groups(",")),
                2 => format!("- email: {email} # who\n  user: {user}\n  groups: &g{index} [{comma}]\n"),
                3 => format!("-   email: {email}\n    user: {user}\n    groups: *g0\n\n"),
                _ => format!("- user: {user}\n  groups:\n  - {}\n  email: {email}\n", groups("\n  - ")),
            };
            yaml += &entry;
        }
        yaml.replace('\n', end)
    })
}

/// Maps of the list, with one to four changes.
fn changed(maps: Vec<String>) -> impl Strategy<Value = String> {
    let change = (any::<Index>(), 0..3_usize, select(PIECES));
    (select(maps), prop::collection::vec(change, 1..5)).prop_map(|(map, changes)| {
        let mut text: Vec<char> = map.chars().collect();
        for (place, deleted, inserted) in changes {
            let start = place.index(text.len() + 1);
            let end = (start + deleted.saturating_sub(1)).min(text.len());
            text.splice(start..end, inserted.chars());
        }
        text.into_iter().collect()
    })
}

fn by_the_build(yaml: &str) -> Option<Entries> {
    let tables = source::compile(yaml).ok()?;
    let lines = [tables.emails, tables.email_domains, tables.service_tokens].concat();
    let entry = |line: &str| {
        let mut cells = line.split('\t').map(str::to_owned);
        let named: Vec<String> = cells.by_ref().take(2).collect();
        named.into_iter().chain(names(&cells.next().unwrap_or_default())).collect()
    };
    Some(lines.lines().map(entry).collect())
}

/// The names of a cell.
fn names(cell: &str) -> Vec<String> {
    cell.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// What `terraform/main.tf` and the types of its variables make of each map; nothing where Terraform refuses it.
fn by_terraform(maps: &[String]) -> Vec<Option<Entries>> {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("identities");
    fs::create_dir_all(&dir).unwrap();
    for (index, map) in maps.iter().enumerate() {
        fs::write(dir.join(format!("{index}.yaml")), map).unwrap();
    }
    let entry = "concat([tostring(try(lower(i.email), lower(i.email_domain), i.service_token)), tostring(i.user)], \
                 tobool(try(i.allow_system_masters, false)) == null ? [] : [], \
                 [for group in try(i.groups, []) : tostring(group)])";
    let expression = format!(
        "base64encode(jsonencode({{ for map in fileset(\".\", \"*.yaml\") : \
         map => try([for i in yamldecode(file(map)).identities : {entry}], null) }}))\n"
    );
    let mut console = Command::new("terraform")
        .arg("console")
        .current_dir(&dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    console.stdin.take().unwrap().write_all(expression.as_bytes()).unwrap();
    let output = console.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let json = STANDARD.decode(text.trim().trim_matches('"')).unwrap_or_else(|error| panic!("{error}: {text}"));
    let decoded: BTreeMap<String, Option<Vec<Vec<Value>>>> = serde_json::from_slice(&json).unwrap();
    (0..maps.len())
        .map(|index| {
            let entries = decoded.get(&format!("{index}.yaml"))?.as_ref()?;
            Some(entries.iter().map(|cells| once(cells)).collect())
        })
        .collect()
}

/// An entry whose groups come once each.
fn once(cells: &[Value]) -> Vec<String> {
    let texts = cells.iter().map(|cell| cell.as_str().unwrap_or("(null)").to_owned());
    let mut entry: Vec<String> = texts.clone().take(2).collect();
    for group in texts.skip(2) {
        if !entry.iter().skip(2).any(|seen| *seen == group) {
            entry.push(group);
        }
    }
    entry
}

/// Policies with everything in them, in whatever notation. `NAME` is a name.
const POLICIES: &[&str] = &[
    "identities:\n- {email: A@b.c, user: \"{email}\", groups: [NAME, z]}\n- {idp_group: NAME, groups: [on-call, NAME]}\n",
    "identities:\n- email: a@b.c\n  user: a\n  act_as: {users: [NAME], groups: [NAME, sre], uids: ['42'], extras: [example.com/ticket]}\n",
    "identities:\n- {idp_group: 'CN=x,OU=y', idp: idp-1, user: NAME, groups: &g [x, z], expires: 2027-01-31T18:00:00Z}\n\
     - {service_token: 0f.access, user: ci, groups: *g}\n- {email_domain: B.c, user: NAME}\n",
    "identities: [{email: a@b.c, user: a, expires: '2027-01-31T18:00:00+01:00'}]\ngrants: {users: [NAME], groups: [NAME, y]}\n",
    "identities:\n- {email: a@b.c, user: a, groups: [NAME]}\nguards:\n- {name: g, for: {groups: [NAME]}, allow: read-only}\n\
     - name: h # é\n  deny:\n  - {resources: [secrets, 'pods/*', \"*/scale\"], verbs: [get, list], api_groups: ['', apps*]}\n",
    "identities: [{email: a@b.c, user: a}]\nguards:\n- name: '007'\n  deny:\n  - resources: [\"*\"]\n    verbs: [\"*\"]\n\
     \x20 - {non_resource_urls: [/metrics, /debug/*], verbs: [get, post]}\n- {name: r, allow: read-only}\n",
    "identities: [{email: a@b.c, user: a}]\nguards: [{name: n, deny: [{resources: [pods], namespaces: [team-*], names: [NAME]}]}]\n",
    "{\"identities\": [{\"email\": \"a@b.c\", \"user\": \"NAME\", \"act_as\": {\"users\": [\"x\"]}}], \"guards\": [{\"name\": \"g\", \
     \"for\": {\"users\": [\"NAME\"]}, \"deny\": [{\"resources\": [\"pods\"]}]}]}\n",
    "identities: [{email: a@b.c, user: a, groups: [NAME]}]\nguards:\n- {name: g, for: {groups: [NAME]}, record: true, max_session: 4h}\n\
     - {name: h, record: input, max_bytes: 96MiB, streams: {namespaces: [prod-*, b], names: [NAME]}}\n- {name: i, allow: read-only}\n",
    "identities: [{email: a@b.c, user: a, groups: [NAME]}]\nguards:\n- {name: g, deny: [{resources: [pods/exec], namespaces: [prod-*]}]}\n\
     - {name: h, deny: [{resources: ['*/log', secrets], verbs: [get], names: [web]}]}\n- {name: i, deny: [{resources: [pods], verbs: [delete]}]}\n\
     - {name: j, record: true, deny: [{resources: [pods*], verbs: [list]}]}\n- {name: k, deny: [{api_groups: [apps], resources: ['*']}]}\n\
     - {name: l, for: {groups: [NAME]}, deny: [{resources: ['*']}]}\n- {name: m, deny: [{api_groups: ['*'], resources: ['po*'], verbs: ['*']}]}\n",
    "identities: [{email: a@b.c, user: NAME}]\nguards:\n- name: g\n  record: True\n  max_bytes: '64KiB'\n  streams:\n    names: [\"*\", x]\n\
     - {name: h, max_session: \"08h5m010s\", deny: [{resources: [pods]}]}\n- {name: i, max_session: 90m, streams: {namespaces: [a]}}\n",
];

/// What a guard cannot deny, or ask of sessions.
#[rustfmt::skip]
const NO_GUARDS: &[&str] = &[
    "deny: [{resources: [deployments.apps]}]", "deny: [{resources: [pods], namespaces: [-a-]}]",
    "deny: [{non_resource_urls: [/a/../metrics]}]", "deny: [{non_resource_urls: [/metrics/]}]",
    "record: false", "record: output", "record: tRUE", "record: [true]", "max_session: 9s", "max_session: 168h1s", "max_session: 4 h",
    "max_session: 1m1h", "max_session: 1d", "max_session: ''", "max_session: [4h]", "record: true, max_bytes: 63KiB",
    "record: true, max_bytes: 97MiB", "record: true, max_bytes: 64MB", "record: true, max_bytes: '67108864'",
    "allow: read-only, max_bytes: 1MiB", "allow: read-only, streams: {names: [web]}", "record: true, streams: {}",
    "record: true, streams: {names: []}", "record: true, streams: {namespaces: [Prod]}", "record: true, streams: {names: [a/b]}",
    "record: true, streams: {names: ['']}", "for: {users: [a]}",
];

/// Names that nobody may have.
const NO_POLICIES: &[&str] = &[
    "identities: [{email_domain: b.c, user: x, groups: ['system:masters'], allow_system_masters: true}]",
    "identities: [{email: a@b.c, user: a, groups: ['x-{email}']}]",
    "identities: [{email: a@b.c, user: a}]\ngrants: {users: ['{email}']}",
];

/// Names that may stand for `NAME`.
const NAMES: &[&str] =
    &["alice", "a.b", "a:b", "2024-team", "'a b'", "\"007\"", "'no'", "a#b", "\"{email}\"", "x1e3", "007", "yes", "é"];

/// What both made of a policy: users, groups, UIDs, extras; then the guards for everybody, as rules, and what guards ask of sessions.
type Made = BTreeMap<String, Vec<String>>;

#[test]
#[ignore = "needs terraform"]
fn case_172_terraform_makes_of_a_hundred_policies_what_the_build_makes_of_them() {
    let mut policies = Vec::new();
    for policy in POLICIES {
        for name in NAMES {
            let policy = policy.replace("\"NAME\"", "NAME").replace("NAME", name);
            policies.extend([policy.clone(), format!("# é 漢\n{}", policy.replace('\n', " # c\r\n"))]);
        }
    }
    policies.retain(|policy| source::compile(policy).is_ok());
    assert!(policies.len() >= 100, "only {} compile", policies.len());
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("policies");
    let theirs = made_by_terraform(&dir, &policies);
    for (index, policy) in policies.iter().enumerate() {
        assert_eq!(Some(&made_by_the_build(policy)), theirs.get(&format!("{index}.yaml")), "{policy}");
    }
    for file in (0..policies.len()).map(|index| dir.join(format!("{index}.yaml"))) {
        fs::remove_file(file).unwrap();
    }
    let mut refused: Vec<String> = NO_POLICIES.iter().map(|&policy| policy.to_owned()).collect();
    for fields in NO_GUARDS {
        refused.push(format!("identities: [{{email: a@b.c, user: a}}]\nguards: [{{name: g, {fields}}}]\n"));
    }
    for policy in refused {
        assert!(source::compile(&policy).is_err(), "{policy}");
        fs::write(dir.join("0.yaml"), &policy).unwrap();
        let plan = Command::new("terraform").args(["plan", "-input=false"]).current_dir(&dir).output().unwrap();
        let said = String::from_utf8_lossy(&plan.stderr).into_owned();
        assert!(said.contains("Invalid value for"), "{policy}: {said}");
    }
}

fn made_by_the_build(yaml: &str) -> Made {
    let tables = source::compile(yaml).unwrap();
    let mut made: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut add = |kind: &str, cell: &str| made.entry(kind.into()).or_default().extend(names(cell));
    let tables_and_keys = [
        (&tables.emails, 1, true),
        (&tables.email_domains, 1, false),
        (&tables.service_tokens, 1, false),
        (&tables.idp_groups, 2, false),
    ];
    for (table, keys, is_of_addresses) in tables_and_keys {
        for line in table.lines() {
            let cells: Vec<&str> = line.split('\t').collect();
            let cell = |index: usize| cells.get(keys + index).copied().unwrap_or_default();
            let email = cells.first().filter(|_| is_of_addresses);
            // Of a domain and of a group nobody knows the users.
            let user = email.map_or_else(|| cell(0).to_owned(), |email| cell(0).replace("{email}", email));
            add("users", if user.contains("{email}") { "" } else { &user });
            for (kind, index) in [("groups", 1), ("users", 3), ("groups", 4), ("uids", 5), ("extras", 6)] {
                add(kind, cell(index));
            }
        }
    }
    for (kind, cell) in ["users", "groups"].into_iter().zip(tables.granted.split('\t')) {
        add(kind, cell);
    }
    let mut made: Made = made.into_iter().map(|(kind, names)| (kind, names.into_iter().collect())).collect();
    let (mut rules, mut sessions) = (Vec::new(), Vec::new());
    let mut is_everybodys = false;
    for line in tables.guards.lines() {
        if let Some(rule) = line.strip_prefix('\t') {
            rules.extend(is_everybodys.then(|| rule.to_owned()));
        } else {
            let cells: Vec<&str> = line.split('\t').collect();
            is_everybodys = cells.get(1..3).is_some_and(|whom| whom.concat().is_empty());
            let cell = |index: usize| cells.get(index).copied().unwrap_or_default();
            rules.extend(is_everybodys.then(|| cell(3).to_owned()));
            sessions.push([cell(0), cell(4)].join(" ").trim_end().to_owned());
        }
    }
    made.insert("guards".into(), rules);
    made.insert("sessions".into(), sessions);
    made
}

/// Each policy through `terraform/policy.tf` and the locals of `modules/k8s`, which need no provider.
fn made_by_terraform(dir: &Path, policies: &[String]) -> BTreeMap<String, Made> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("terraform");
    let _ = fs::remove_dir_all(dir);
    fs::create_dir_all(dir.join("policy/k8s")).unwrap();
    for name in ["variables.tf", "names.tf", "actions.tf", "api-resources.json"] {
        fs::copy(root.join("modules/k8s").join(name), dir.join("policy/k8s").join(name)).unwrap();
    }
    fs::copy(root.join("policy.tf"), dir.join("policy/policy.tf")).unwrap();
    for (index, policy) in policies.iter().enumerate() {
        fs::write(dir.join(format!("{index}.yaml")), policy).unwrap();
    }
    let whole = "module \"policy\" {\n  source = \"./policy\"\n  for_each = fileset(path.root, \"*.yaml\")\n  identities_file = each.key\n}\n\
        output \"made\" {\n  value = { for map, policy in module.policy : map => policy.made }\n}\n";
    fs::write(dir.join("main.tf"), whole).unwrap();
    fs::write(dir.join("policy/main.tf"), POLICY_MODULE).unwrap();
    fs::write(dir.join("policy/k8s/outputs.tf"), K8S_OUTPUT).unwrap();
    terraform(dir, &["init", "-input=false"]);
    terraform(dir, &["apply", "-auto-approve", "-input=false"]);
    let outputs: Value = serde_json::from_str(&terraform(dir, &["output", "-json"])).unwrap();
    serde_json::from_value(outputs.pointer("/made/value").unwrap().clone()).unwrap()
}

fn terraform(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("terraform").args(args).current_dir(dir).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "terraform {args:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// As `terraform/main.tf` hands the policy on.
const POLICY_MODULE: &str = r#"
variable "identities_file" {
  type = string
}
module "k8s" {
  source               = "./k8s"
  identities           = local.identities
  guards               = local.guards
  grants               = local.grants
  impersonate_any_user = anytrue([for entry in local.identities : strcontains(try(entry.user, ""), "{email}")])
  account_id           = "0123456789abcdef0123456789abcdef"
  tunnel_name          = "kube-access"
  replicas             = 1
  cloudflared_image    = "docker.io/cloudflare/cloudflared@sha256:${join("", [for digit in range(64) : "0"])}"
  kubectl_image        = "registry.k8s.io/kubectl@sha256:${join("", [for digit in range(64) : "0"])}"
  node_image           = "docker.io/library/node@sha256:${join("", [for digit in range(64) : "0"])}"
}
output "made" {
  value = module.k8s.made
}
"#;

/// The names, the guards for everybody and what guards ask of sessions, as `policy/guards.rs` writes them.
const K8S_OUTPUT: &str = r#"
locals {
  bits      = { for index, verb in ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "head", "post", "put"] : verb => pow(2, index) }
  everybody = { resources = 255, urls = 1889 }
}
output "made" {
  value = {
    for kind, names in {
      users  = sort(local.users)
      groups = sort(local.groups)
      uids   = sort(local.uids)
      extras = sort(setsubtract(local.extras, local.own_extras))
      guards = flatten([
        for guard in local.everybodys : concat([guard.allow == null ? "" : guard.allow], [
          for rule in guard.deny : join(" ", concat(
            [tostring(contains(rule.verbs, "*") ? local.everybody[rule.resources == null ? "urls" : "resources"] : sum([for verb in distinct(rule.verbs) : local.bits[verb]]))],
            [for list in rule.resources == null ? [rule.non_resource_urls] : [rule.api_groups, rule.resources, rule.namespaces, rule.names] :
              list == null ? "*" : contains(list, "*") ? "*" : join(",", [for text in list : text == "" ? "." : text])],
          ))
          # Where a guard records, nodes/proxy is the Worker's alone to take away.
        ], guard.record != null || contains(local.against_nodes, guard.name) ? ["255 . nodes/proxy * *"] : [])
      ])
      sessions = [
        for guard in var.guards : guard.record == null && guard.max_session == null ? guard.name : join(" ", [
          guard.name,
          guard.record == null ? "-" : guard.record == "true" ? "output" : guard.record,
          guard.max_session == null ? "-" : tostring(sum([
            for unit, seconds in { h = 3600, m = 60, s = 1 } : seconds * try(regex("([0-9]+)${unit}", guard.max_session)[0], 0)
          ])),
          tostring(guard.max_bytes == null ? 64 * pow(2, 20) : trimsuffix(trimsuffix(guard.max_bytes, "KiB"), "MiB") * pow(2, endswith(guard.max_bytes, "KiB") ? 10 : 20)),
          try(contains(guard.streams.namespaces, "*") ? "*" : join(",", guard.streams.namespaces), "*"),
          try(contains(guard.streams.names, "*") ? "*" : join(",", guard.streams.names), "*"),
        ])
      ]
    } : kind => names
  }
}
"#;
