//! Messages in, messages out, and what is written of them.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::end::MAX_CLOSE_BYTES;
use super::*;
use crate::caller::Caller;
use crate::deadline::Why;
use crate::guard::{Held, Record};
use crate::identity::tests_support::{identity, with_row};
use crate::request::Request;

const NOW: u64 = 1_800_000_000_000;
const TERMINAL: &str = "exec?command=sh&command=-c&command=id&stdin=true&stdout=true&tty=true&container=c";
const PIPE: &str = "exec?command=tar&stdout=true&stderr=true&stdin=1";
const PORT: &str = "portforward";

fn facts(what: &str, relay: &Relay) -> Facts {
    let text = format!(
        "GET\nhttps://k/api/v1/namespaces/n/pods/p/{what}\n{NOW}\n0fa34567-89ab-4def-8123-456789abcdef\ncf-ray:8f-FRA"
    );
    let request = Request::read(&text);
    let caller = Caller::new(identity(), Held::default());
    Facts::of(&request, request.target.as_ref().unwrap(), &caller, relay)
}

fn relay(record: Record, bytes: u64, seconds: u64) -> Relay {
    let stay = Stay { record, seconds: Some(seconds), bytes, guards: vec!["recorded".into()] };
    Relay { stay, deadline: Deadline { at: NOW / 1000 + seconds, why: Why::Guard(seconds) }, most: 50 }
}

fn session(what: &str, record: Record) -> Session {
    let relay = relay(record, 1 << 20, 3600);
    Session::new(facts(what, &relay), &relay, NOW)
}

impl Session {
    /// Hears a message that goes on at once, in pieces as the edge has them.
    fn hear(&mut self, from: Side, message: &[u8], now: u64) -> Heard {
        let heard = self.admit(from, message.len(), now);
        if heard == Heard::Pass {
            self.write_all(from, message, 64 * 1024, now);
        }
        heard
    }

    fn write_all(&mut self, from: Side, message: &[u8], bytes: usize, now: u64) {
        for (place, piece) in message.chunks(bytes).enumerate() {
            self.write(from, piece, place == 0, now);
        }
    }
}

fn manifest(session: &Session) -> Value {
    serde_json::from_str(&manifest::close(&session.manifest(), session.end(), session.exit_code())).unwrap()
}

fn summary(session: &Session) -> Value {
    let text = manifest::summary(&session.facts().summary(), session.end(), session.exit_code());
    assert!(text.is_ascii() && text.len() < 8192 - "summary".len(), "an object of the bucket can carry it: {text}");
    serde_json::from_str(&text).unwrap()
}

/// All that was recorded and not yet taken.
fn events(session: &mut Session) -> Vec<Value> {
    let (_, bytes) = session.take(true, NOW).unwrap();
    String::from_utf8(bytes).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

const FAILED: &[u8] = br#"_{"metadata":{},"status":"Failure","message":"m","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]},"code":500}"#;

fn failed() -> Vec<u8> {
    [b"\x03", &FAILED[1..]].concat()
}

#[test]
fn a_session_with_a_terminal_is_written_down_and_passes() {
    let mut session = session(TERMINAL, Record::Output);
    session.open("v5.channel.k8s.io");
    for (from, message) in [
        (Side::Client, &b"\x04{\"Width\":120,\"Height\":40}"[..]),
        (Side::Client, b"\x00id\r"),
        (Side::Cluster, b"\x01uid=0\r\n"),
        (Side::Cluster, b"\x02odd"),
        (Side::Cluster, b"\x01"),
        (Side::Client, b"\xff\x00"),
        (Side::Client, b"\x07unknown"),
        (Side::Client, b"\x01spoken by the wrong side"),
        (Side::Client, b""),
    ] {
        assert_eq!(session.hear(from, message, NOW + 1000), Heard::Pass);
    }
    assert_eq!(session.hear(Side::Cluster, &failed(), NOW + 2000), Heard::Pass);
    session.part(Side::Cluster, 1000, NOW + 2001);
    assert_eq!(
        events(&mut session)[1..],
        [
            json!([1.0, "r", "120x40"]),
            json!([1.0, "o", "uid=0\r\n"]),
            json!([1.0, "e", "3"]),
            json!([1.0, "o", "odd"]),
            json!([2.001, "m", "the command ended with exit code 3"]),
        ]
    );
    session.stored(0, "ab".into());
    let manifest = manifest(&session);
    assert_eq!(manifest["bytes"], json!({ "stdin": 3, "stdout": 7, "stderr": 3 }));
    // What a terminal showed is in the chunks whole, and they have digests.
    assert_eq!(manifest["sha256"], json!({ "stdin": id::hex(&Hash::hash(b"id\r")) }));
    assert_eq!(manifest["target"]["command"], json!(["sh", "-c", "id"]));
    assert_eq!(
        (&manifest["state"], &manifest["by"], &manifest["exit_code"]),
        (&json!("ended"), &json!("command"), &json!(3))
    );
    assert_eq!((&manifest["record"], &manifest["protocol"]), (&json!("output"), &json!("v5.channel.k8s.io")));
    assert_eq!(manifest["caller"]["email"], "alice@example.com");
    assert_eq!((&manifest["ray"], &manifest["guards"]), (&json!("8f-FRA"), &json!(["recorded"])));
    assert_eq!(manifest["ended"], "2027-01-15T08:00:02.001Z");
    let summary = summary(&session);
    assert_eq!(
        (&summary["pod"], &summary["container"], &summary["recorded"]),
        (&json!("p"), &json!("c"), &json!(true))
    );
    assert_eq!(session.farewell(), Farewell { message: None, code: 1000, reason: String::new(), is_cut: false });
}

#[test]
fn what_is_typed_is_kept_where_a_guard_says_input() {
    for (record, has_input) in [(Record::Output, false), (Record::Input, true)] {
        let mut session = session(TERMINAL, record);
        session.hear(Side::Client, b"\x00secret", NOW);
        let events = events(&mut session);
        assert_eq!(events.iter().any(|event| event[1] == "i"), has_input);
    }
}

#[test]
fn case_125_any_value_but_false_and_0_is_a_terminal_as_kubernetes_reads_it() {
    for (query, has_terminal) in [
        ("tty=true", true),
        ("tty=yes", true),
        ("tty=", true),
        ("tty", true),
        ("tty=0", false),
        ("tty=FALSE", false),
        ("", false),
    ] {
        let session = session(&format!("exec?command=sh&{query}"), Record::Output);
        assert_eq!(session.facts().has_terminal(), has_terminal, "{query}");
    }
}

#[test]
fn what_a_guard_only_bounds_is_counted_and_not_kept() {
    let mut session = session(PIPE, Record::Nothing);
    assert_eq!(session.hear(Side::Cluster, b"\x01abc", NOW), Heard::Pass);
    assert_eq!(session.take(true, NOW), None);
    assert_eq!(manifest(&session)["bytes"]["stdout"], 3);
    assert_eq!(summary(&session)["recorded"], json!(false));
}

#[test]
fn case_115_a_stream_carries_so_much_each_way_and_ends_with_a_sentence() {
    for side in [Side::Client, Side::Cluster] {
        let mut session = session(PIPE, Record::Output);
        let message = [&[u8::from(side == Side::Cluster)], [7; 1023].as_slice()].concat();
        for _ in 0..1024 {
            assert_eq!(session.hear(side, &message, NOW), Heard::Pass);
        }
        assert_eq!(session.hear(side, &message, NOW), Heard::Stop);
        assert_eq!(session.hear(side, &message, NOW), Heard::Drop);
        let farewell = session.farewell();
        let message = String::from_utf8(farewell.message.unwrap()).unwrap();
        assert!(message.contains("at most 1 MiB each way"), "{message}");
        assert_eq!(manifest(&session)["by"], "gateway");
    }
}

#[test]
fn both_ways_together_carry_what_one_may_and_a_little_more() {
    let relay = relay(Record::Nothing, 64 << 20, 3600);
    let mut session = Session::new(facts(PIPE, &relay), &relay, NOW);
    let message = vec![0; 1 << 20];
    let mut carried = 0;
    while session.hear(if carried % 2 == 0 { Side::Client } else { Side::Cluster }, &message, NOW) == Heard::Pass {
        carried += 1;
    }
    assert_eq!(carried, 64 + 16);
}

#[test]
fn case_30_123_it_ends_when_its_time_is_over_and_says_so_before() {
    for (what, start) in
        [(TERMINAL, "\u{1}\r\nkube-access: this session ends in 5 minutes"), (PIPE, "\u{2}\nkube-access:")]
    {
        let mut session = session(what, Record::Output);
        let at = |seconds: u64| NOW + seconds * 1000;
        assert_eq!(session.tick(at(3299)), None);
        let warning = String::from_utf8(session.tick(at(3300)).unwrap()).unwrap();
        assert!(warning.starts_with(start) && warning.contains("a session here lasts at most 1 h"), "{warning}");
        assert_eq!(session.tick(at(3301)), None);
        assert!(session.end().is_none());
        assert_eq!(session.tick(at(3600)), None);
        assert_eq!(session.end().map(|end| end.by), Some(By::Policy));
        let farewell = session.farewell();
        assert!(farewell.is_cut, "the command ends too");
        let (channel, payload) = Channel::split(farewell.message.as_deref().unwrap());
        assert_eq!(channel, Channel::Status);
        let status: Value = serde_json::from_slice(payload).unwrap();
        assert_eq!(status["message"], "this session ended: a session here lasts at most 1 h");
        assert_eq!(
            (farewell.code, farewell.reason.as_str()),
            (1000, "this session ended: a session here lasts at most 1 h")
        );
        assert!(
            events(&mut session).iter().any(|event| event[2].as_str().is_some_and(|text| text.contains("5 minutes")))
        );
    }
}

#[test]
fn a_short_session_is_not_warned_and_an_earlier_end_counts() {
    let relay = relay(Record::Nothing, 1 << 20, 60);
    let mut session = Session::new(facts(PIPE, &relay), &relay, NOW);
    assert_eq!(session.tick(NOW + 1000), None);
    session.bound(Deadline { at: NOW / 1000 + 90, why: Why::Policy }, None);
    session.bound(Deadline { at: NOW / 1000 + 30, why: Why::Token }, None);
    session.tick(NOW + 30_000);
    assert_eq!(session.end().unwrap().reason, "your login at Cloudflare Access ends");
}

#[test]
fn an_end_that_comes_nearer_is_said_anew_and_as_near_as_it_is() {
    let mut session = session(PIPE, Record::Output);
    let warning = |session: &mut Session, seconds: u64| {
        session.tick(NOW + seconds * 1000).map(|message| String::from_utf8(message).unwrap())
    };
    assert!(warning(&mut session, 3301).unwrap().contains("ends in 5 minutes: a session here"));
    assert_eq!(warning(&mut session, 3302), None);
    session.bound(Deadline { at: NOW / 1000 + 3400, why: Why::Policy }, None);
    assert!(warning(&mut session, 3302).unwrap().contains("ends in 98 seconds: the entry or the grant"));
    session.bound(Deadline { at: NOW / 1000 + 3400, why: Why::Policy }, None);
    assert_eq!(warning(&mut session, 3303), None, "nothing has changed");
}

#[test]
fn what_a_guard_asks_that_has_come_to_be_the_callers_counts_from_the_beginning() {
    let mut session = session(PIPE, Record::Output);
    let ends = || Deadline { at: NOW / 1000 + 86_400, why: Why::Token };
    session.bound(ends(), Some(&relay(Record::Output, 64 << 20, 7200).stay));
    session.tick(NOW + 1_801_000);
    assert!(session.end().is_none());
    assert_eq!(session.hear(Side::Client, &[0; 1024], NOW), Heard::Pass);
    session.bound(ends(), Some(&relay(Record::Output, 1024, 1800).stay));
    session.tick(NOW + 1_799_000);
    assert!(session.end().is_none());
    session.tick(NOW + 1_801_000);
    assert_eq!(session.end().unwrap().reason, "a session here lasts at most 30 m");
}

#[test]
fn a_message_that_is_too_large_is_told_so_and_not_counted() {
    let relay = relay(Record::Output, 64 << 20, 3600);
    let mut fresh = Session::new(facts(PIPE, &relay), &relay, NOW);
    assert_eq!(fresh.admit(Side::Cluster, 24 << 20, NOW), Heard::Stop);
    let mut full = Session::new(facts(PIPE, &relay), &relay, NOW);
    for (side, megabytes) in [(Side::Client, 60), (Side::Cluster, 16)] {
        for _ in 0..megabytes {
            assert_eq!(full.admit(side, 1 << 20, NOW), Heard::Pass);
        }
    }
    assert_eq!(full.admit(Side::Client, 4 << 20, NOW), Heard::Pass, "whatever has gone on");
    let mut session = Session::new(facts(PIPE, &relay), &relay, NOW);
    for side in [Side::Client, Side::Cluster] {
        assert_eq!(session.admit(side, 16 << 20, NOW), Heard::Pass);
    }
    assert_eq!(session.admit(Side::Client, 16 << 20, NOW), Heard::Stop);
    let message = String::from_utf8(session.farewell().message.unwrap()).unwrap();
    assert!(
        message.contains(
            "a message is too large for a stream that is recorded or bounded: send it in pieces of at most 4 MiB"
        ),
        "{message}"
    );
    assert_eq!(manifest(&session)["bytes"]["stdin"], 0, "what has not gone on has not reached the command");
}

#[test]
fn whatever_comes_is_written_down_in_chunks_that_one_value_holds() {
    for what in [&b"\x01"[..], b"\xff", "\u{2028}".as_bytes()] {
        let mut session = session(TERMINAL, Record::Output);
        let message = [b"\x01", what.repeat((1 << 20) / what.len()).as_slice()].concat();
        let mut chunks = Vec::new();
        for (place, piece) in message.chunks(64 * 1024).enumerate() {
            session.write(Side::Cluster, piece, place == 0, NOW);
            if session.is_full() {
                chunks.extend(session.take(false, NOW));
            }
        }
        chunks.extend(session.take(true, NOW));
        assert!(chunks.iter().all(|(_, bytes)| bytes.len() < 1_500_000), "{what:?}");
        let text = String::from_utf8(chunks.into_iter().flat_map(|(_, bytes)| bytes).collect()).unwrap();
        let events = text.lines().skip(1).map(|line| serde_json::from_str::<Value>(line).unwrap());
        let shown: String = events.map(|event| event[2].as_str().unwrap().to_owned()).collect();
        assert_eq!(shown, String::from_utf8_lossy(&message[1..]).into_owned());
    }
}

#[test]
fn a_status_that_comes_in_pieces_is_one() {
    for bytes in [1, 7, 100, 1000] {
        let mut session = session(PIPE, Record::Output);
        for piece in FAILED[1..].chunks(bytes) {
            assert_eq!(session.hear(Side::Cluster, &[b"\x03", piece].concat(), NOW), Heard::Pass);
        }
        session.part(Side::Cluster, 1000, NOW);
        assert_eq!((session.exit_code(), session.end().map(|end| end.by)), (Some(3), Some(By::Command)), "{bytes}");
    }
    let mut session = session(PIPE, Record::Output);
    session.write_all(Side::Cluster, &failed(), 10, NOW);
    assert_eq!(session.exit_code(), Some(3), "of one message");
}

#[test]
fn nothing_is_added_to_a_status_that_has_begun() {
    for status in [FAILED[1..60].to_vec(), vec![b'['; STATUS_BYTES + 1]] {
        for by in [By::Cluster, By::Policy] {
            let mut session = session(PIPE, Record::Output);
            session.hear(Side::Cluster, &[b"\x03", status.as_slice()].concat(), NOW);
            if by == By::Cluster {
                session.part(Side::Cluster, 1000, NOW);
            } else {
                session.stop(by, "too late", NOW);
            }
            assert_eq!(session.end().map(|end| end.by), Some(by));
            let farewell = session.farewell();
            assert_eq!((farewell.message, farewell.code), (None, 1000));
            assert!(farewell.reason.starts_with("this session ended: "));
        }
    }
}

#[test]
fn case_164_a_command_that_has_ended_gets_no_more_stdin_and_all_its_words_pass() {
    let mut session = session(PIPE, Record::Output);
    assert_eq!(session.hear(Side::Client, b"\x00more", NOW), Heard::Pass);
    assert_eq!(session.hear(Side::Cluster, &failed(), NOW), Heard::Pass);
    assert_eq!(session.hear(Side::Client, b"\x00more", NOW), Heard::Drop);
    assert_eq!(session.hear(Side::Cluster, b"\x02last words", NOW), Heard::Pass);
    assert!(session.end().is_none(), "it is over when a side closes its end");
    session.part(Side::Client, 1000, NOW);
    assert_eq!((session.exit_code(), session.end().map(|end| end.by)), (Some(3), Some(By::Command)));
    assert_eq!(manifest(&session)["bytes"], json!({ "stdin": 4, "stdout": 0, "stderr": 10 }));
}

#[test]
fn who_ends_a_stream_is_told_from_how_it_ends() {
    for (what, from, code, by, close) in [
        (PIPE, Side::Client, 1006, By::Client, 1000),
        (PIPE, Side::Client, 1000, By::Client, 1000),
        (PIPE, Side::Client, 1005, By::Client, 1000),
        (PIPE, Side::Cluster, 1006, By::Cluster, 1000),
        (PIPE, Side::Cluster, 1000, By::Cluster, 1000),
        (PORT, Side::Cluster, 1000, By::Cluster, 1000),
        (PORT, Side::Cluster, 1005, By::Cluster, 1011),
        (PORT, Side::Client, 1001, By::Client, 1001),
    ] {
        let mut session = session(what, Record::Output);
        session.part(from, code, NOW);
        session.part(Side::Client, 1000, NOW + 1);
        session.stop(By::Policy, "too late", NOW + 2);
        assert_eq!(session.end().map(|end| end.by), Some(by));
        let farewell = session.farewell();
        assert_eq!(farewell.code, close, "{what} {code}");
        assert_eq!(farewell.message.is_some(), what == PIPE && by == By::Cluster);
        assert_eq!(farewell.is_cut, from == Side::Client && code == 1006, "{what} {code}");
    }
}

#[test]
fn a_forwarded_port_has_no_channels_and_is_told_by_its_close() {
    let mut session = session(PORT, Record::Output);
    assert_eq!(session.hear(Side::Client, b"\x03not a status", NOW), Heard::Pass);
    assert_eq!(session.hear(Side::Cluster, b"\x01not stdout", NOW), Heard::Pass);
    assert_eq!(manifest(&session)["bytes"], json!({ "stdin": 13, "stdout": 11, "stderr": 0 }));
    assert_eq!(session.tick(NOW + 3_400_000), None, "there is nobody to be warned");
    session.stop(By::Policy, "x".repeat(200), NOW);
    let farewell = session.farewell();
    assert_eq!((farewell.message, farewell.code, farewell.reason.len()), (None, 1008, MAX_CLOSE_BYTES));
}

#[test]
fn chunks_are_taken_when_they_are_large_or_old() {
    let mut session = session(TERMINAL, Record::Output);
    assert_eq!(session.take(false, NOW + 9_999), None);
    assert_eq!(session.take(false, NOW + 10_000).map(|(place, _)| place), Some(0));
    assert_eq!(session.take(true, NOW + 10_000), None, "there is nothing");
    session.hear(Side::Cluster, &vec![1; 700_000], NOW);
    assert!(session.is_full(), "as JSON these are six times as many");
    assert_eq!(session.take(false, NOW + 10_001).map(|(place, _)| place), Some(1));
    assert!(!session.is_full());
}

#[test]
fn each_chunk_is_chained_to_the_one_before() {
    let mut session = session(TERMINAL, Record::Output);
    let mut hashes = Vec::new();
    for round in 0..3 {
        session.hear(Side::Cluster, format!("\u{1}{round}").as_bytes(), NOW);
        let (place, bytes) = session.take(true, NOW).unwrap();
        hashes.push((bytes.len(), id::hex(&Hash::hash(&bytes))));
        session.stored(place, hashes[place].1.clone());
    }
    let manifest = manifest(&session);
    let mut previous = session.facts().id.clone();
    for (place, (size, sha256)) in hashes.iter().enumerate() {
        previous = id::hex(&Hash::hash(format!("{previous} 0000{place} {size} {sha256}").as_bytes()));
        let chunk = json!({ "name": format!("0000{place}"), "size": size, "sha256": sha256, "chain": previous });
        assert_eq!(manifest["chunks"][place], chunk);
    }
    session.stop(By::Order, "alice ended it", NOW);
    let record = session.record().template;
    let line: Value = serde_json::from_str(&record).unwrap();
    assert_eq!(
        (&line["chain"], &line["by"], &line["reason"]),
        (&json!(previous), &json!("order"), &json!("alice ended it"))
    );
}

#[test]
fn case_138_no_line_of_the_log_has_what_a_command_was_told_or_said() {
    let mut session = session("exec?command=SECRET&stdout=true", Record::Output);
    session.hear(Side::Cluster, b"\x01SECRET", NOW);
    session.hear(Side::Cluster, br#"_{"status":"Failure","message":"SECRET"}"#, NOW);
    session.hear(
        Side::Cluster,
        &[b"\x03", &br#"{"status":"Failure","message":"exec SECRET: not found"}"#[..]].concat(),
        NOW,
    );
    session.part(Side::Cluster, 1000, NOW);
    assert!(manifest(&session)["reason"].as_str().unwrap().contains("SECRET"));
    assert!(!session.record().template.contains("SECRET"));
}

#[test]
fn what_an_object_left_is_closed_by_the_next() {
    let session = session(TERMINAL, Record::Output);
    let end = manifest::lost(NOW);
    for open in [session.manifest(), session.facts().summary()] {
        let closed: Value = serde_json::from_str(&manifest::close(&open, Some(&end), None)).unwrap();
        assert_eq!((&closed["by"], &closed["state"]), (&json!("runtime"), &json!("ended")));
    }
}

#[test]
fn a_long_command_is_whole_in_the_manifest_and_cut_in_lists() {
    let what = format!("exec?command=sh&command={}&command=last", "%C3%A9".repeat(500));
    let session = session(&what, Record::Output);
    let of =
        |value: &Value| value.as_array().unwrap().iter().map(|word| word.as_str().unwrap().len()).collect::<Vec<_>>();
    assert_eq!(of(&manifest(&session)["target"]["command"]), [2, 1000, 4]);
    assert_eq!(of(&summary(&session)["command"]), [2, 198]);
    let mut session = session;
    session.stop(By::Command, "\u{1f600}".repeat(1000), NOW);
    assert_eq!(summary(&session)["reason"].as_str().map(str::len), Some(300));
}

#[test]
fn whatever_a_request_asks_for_a_list_says_no_more_of_it_than_lies_beside_an_object() {
    let user = "\"".repeat(256);
    let caller = Caller::new(with_row(&[&user, "\tdevs"].concat()), Held::default());
    let relay = relay(Record::Output, 1 << 20, 3600);
    for (pod, text) in [
        ("x", "x"),
        ("%C3%A9", "%C3%A9"),
        ("%F0%9F%98%80", "%F0%9F%98%80"),
        ("%22", "%22"),
        ("x", "%01"),
        ("x", "&command="),
        ("x", "&command=%01"),
    ] {
        // As much as fits into a URL.
        let many = 16_000 / (2 * (pod.len() + text.len()));
        let (pod, text) = (pod.repeat(many), text.repeat(many));
        let head = format!(
            "GET\nhttps://k/api/v1/namespaces/{pod}/pods/{pod}/exec?container={text}&command={text}\n{NOW}\nid"
        );
        let request = Request::read(&head);
        let facts = Facts::of(&request, request.target.as_ref().unwrap(), &caller, &relay);
        let mut session = Session::new(facts, &relay, NOW);
        session.stop(By::Cluster, "\u{1}".repeat(9000), NOW);
        assert_eq!(summary(&session)["user"], json!(user), "whole, since lists are narrowed by it");
        assert_eq!(
            manifest(&session)["target"]["pod"].as_str().unwrap().chars().count(),
            many,
            "the manifest has it whole"
        );
    }
}

proptest! {
    #[test]
    fn whatever_is_said_is_counted_and_nothing_panics(
        messages in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 0..40)), 0..40),
        what in prop_oneof![Just(TERMINAL), Just(PIPE), Just(PORT)],
    ) {
        let mut session = session(what, Record::Input);
        let mut outputs = 0;
        for (is_client, message) in &messages {
            let from = if *is_client { Side::Client } else { Side::Cluster };
            let heard = session.hear(from, message, NOW);
            let is_output = what != PORT && !is_client && message.first() == Some(&1);
            outputs += if is_output && heard == Heard::Pass { message.len() - 1 } else { 0 };
        }
        session.part(Side::Cluster, 1000, NOW);
        let manifest = manifest(&session);
        if what != PORT {
            prop_assert_eq!(manifest["bytes"]["stdout"].as_u64(), Some(outputs as u64));
        }
        prop_assert_eq!(manifest["state"].as_str(), Some("ended"));
        events(&mut session);
        let _ = session.farewell();
    }
}
