use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const NOW: u64 = 1_800_000_000;

fn modulus(bytes: usize, first: u8) -> String {
    let mut modulus = vec![0xc5; bytes];
    modulus[0] = first;
    URL_SAFE_NO_PAD.encode(modulus)
}

fn jwk(id: &str) -> Value {
    json!({"kid": id, "kty": "RSA", "alg": "RS256", "use": "sig", "e": "AQAB", "n": modulus(256, 0xc5)})
}

fn with(member: &str, value: Value) -> Value {
    let mut jwk = jwk("k");
    jwk.as_object_mut().unwrap().insert(member.to_owned(), value);
    jwk
}

fn parse(keys: &[Value]) -> Result<Keys, KeysError> {
    Keys::parse(&json!({"keys": keys, "public_cert": {"kid": "k", "cert": "-----"}}).to_string())
}

fn ring(ids: &[&str], fetched: u64) -> KeyRing {
    let mut ring = KeyRing::default();
    ring.ask(fetched);
    ring.renew(parse(&ids.iter().map(|id| jwk(id)).collect::<Vec<_>>()), fetched);
    ring
}

#[test]
fn the_keys_of_access_are_read() {
    let keys = parse(&[jwk("a"), jwk("b")]).unwrap();
    assert_eq!(keys.find("b").unwrap().id(), "b");
    let imported: Value = serde_json::from_str(&keys.find("a").unwrap().to_jwk()).unwrap();
    assert_eq!(imported, json!({"kty": "RSA", "alg": "RS256", "e": "AQAB", "n": modulus(256, 0xc5)}));
}

#[test]
fn case_5_22_a_key_that_cannot_have_signed_is_ignored() {
    for (member, value) in [
        ("kty", json!("EC")),
        ("kty", json!("oct")),
        ("alg", json!("RS512")),
        ("alg", json!("PS256")),
        ("use", json!("enc")),
        ("key_ops", json!(["sign"])),
        ("n", json!(modulus(255, 0xc5))),
        ("n", json!(modulus(256, 0x7f))),
        ("n", json!(modulus(1025, 0xc5))),
        ("n", json!("")),
        ("n", json!("AA==")),
        ("n", json!(7)),
        ("n", json!(URL_SAFE_NO_PAD.encode([[0; 200].as_slice(), &[0xc5; 100]].concat()))),
        ("n", json!(URL_SAFE_NO_PAD.encode([0xc4; 256]))),
        ("e", json!("AAEAAQ")),
        ("e", json!("AQ")),
        ("e", json!("Ag")),
        ("e", json!("")),
        ("e", json!("AQABAQAB")),
        ("kid", json!("")),
        ("kid", json!(null)),
    ] {
        let text = with(member, value).to_string();
        assert_eq!(
            parse(&[with("kid", json!("good")), serde_json::from_str(&text).unwrap()]).unwrap().0.len(),
            1,
            "{text}"
        );
        assert_eq!(parse(&[serde_json::from_str(&text).unwrap()]), Err(KeysError::Empty), "{text}");
    }
}

#[test]
fn two_different_keys_of_one_id_are_none() {
    assert_eq!(parse(&[jwk("k"), with("n", json!(modulus(256, 0xd5)))]), Err(KeysError::Empty));
    assert!(parse(&[jwk("k"), jwk("other"), jwk("k")]).unwrap().find("k").is_some());
}

#[test]
fn case_23_an_oversized_or_malformed_jwks_is_a_failure() {
    assert_eq!(Keys::parse(&" ".repeat(MAX_JWKS_BYTES + 1)), Err(KeysError::TooLarge));
    for text in ["", "<html>", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":null}"#, "null", r#"{"keys":[]"#] {
        assert_eq!(Keys::parse(text), Err(KeysError::Malformed), "{text}");
    }
    assert_eq!(Keys::parse(r#"{"keys":[]}"#), Err(KeysError::Empty));
}

#[test]
fn case_8_an_unknown_key_id_asks_access_once_per_cool_down() {
    let mut ring = ring(&["a"], NOW);
    let later = NOW + COOL_DOWN_SECONDS;
    assert_eq!(ring.plan("made-up", NOW + 1), Plan::Unknown);
    assert_eq!(ring.plan("made-up", later), Plan::Fetch);
    assert!(ring.ask(later));
    assert_eq!(ring.plan("made-up", later), Plan::Fetch, "the same one");
    assert!(!ring.ask(later + 1));
    ring.renew(Err(KeysError::Unreachable), later);
    for second in 0..COOL_DOWN_SECONDS {
        assert_eq!(ring.plan("made-up", later + second), Plan::Unknown);
    }
}

#[test]
fn case_19_without_keys_the_first_request_fetches_and_the_next_wait() {
    let mut ring = KeyRing::default();
    assert_eq!(ring.plan("a", NOW), Plan::Fetch);
    assert!(ring.ask(NOW));
    assert_eq!(ring.key("a", NOW), Plan::Unavailable);
    assert_eq!(ring.plan("a", NOW + 1), Plan::Fetch, "the same one");
    assert!(!ring.ask(NOW + u64::from(FETCH_SECONDS)));
    assert!(ring.ask(NOW + u64::from(FETCH_SECONDS) + 1), "nothing came of it");
    ring.renew(Err(KeysError::Empty), NOW);
    assert_eq!(ring.failure(), KeysError::Empty);
    let asked = NOW + u64::from(FETCH_SECONDS) + 1;
    assert_eq!(ring.plan("a", asked + 1), Plan::Unavailable);
    assert_eq!(ring.plan("a", asked + EMPTY_COOL_DOWN_SECONDS), Plan::Fetch);
}

#[test]
fn case_20_stale_keys_serve_while_access_is_down_and_not_for_ever() {
    let mut ring = ring(&["a"], NOW);
    assert!(matches!(ring.plan("a", NOW + FRESH_SECONDS - 1), Plan::Use(_)));
    let stale = NOW + FRESH_SECONDS;
    assert_eq!(ring.plan("a", stale), Plan::Fetch);
    assert!(!ring.is_reliable(stale));
    ring.ask(stale);
    assert!(ring.is_reliable(stale + 1) && !ring.is_reliable(stale + COOL_DOWN_SECONDS));
    assert!(matches!(ring.key("a", stale), Plan::Use(_)));
    assert!(matches!(ring.plan("a", stale + 1), Plan::Use(_)));
    assert!(matches!(ring.key("a", NOW + STALE_SECONDS - 1), Plan::Use(_)));
    assert_eq!(ring.key("a", NOW + STALE_SECONDS), Plan::Unavailable);
}

#[test]
fn case_21_a_withdrawn_key_is_gone_with_the_next_fetch_and_a_new_one_is_there() {
    let mut ring = ring(&["old"], NOW);
    let Plan::Use(old) = ring.key("old", NOW) else { panic!("no key") };
    ring.renew(parse(&[jwk("new")]), NOW + FRESH_SECONDS);
    assert!(!ring.keys().contains(&old));
    assert_eq!(ring.key("old", NOW + FRESH_SECONDS), Plan::Unknown);
    assert!(matches!(ring.plan("new", NOW + FRESH_SECONDS), Plan::Use(_)));
}

#[test]
fn a_key_that_changed_under_its_id_is_another_key() {
    let keys = parse(&[jwk("k")]).unwrap();
    let changed = parse(&[with("n", json!(modulus(256, 0xd5)))]).unwrap();
    assert!(!changed.contains(keys.find("k").unwrap()));
}

proptest! {
    #[test]
    fn no_jwks_panics(text in "\\PC{0,200}") {
        let _ = Keys::parse(&text);
    }

    #[test]
    fn no_key_panics(n in "[A-Za-z0-9_=-]{0,12}", e in "[A-Za-z0-9_=-]{0,12}", kid in "\\PC{0,8}") {
        let _ = parse(&[json!({"kty": "RSA", "kid": kid, "n": n, "e": e})]);
    }

    #[test]
    fn no_moment_panics(id in "[a-c]", now: u64, fetched: u64) {
        let ring = ring(&["a"], fetched);
        let _ = (ring.plan(&id, now), ring.key(&id, now), ring.is_reliable(now));
    }
}
