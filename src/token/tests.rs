use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::config::{Var, Vars};

const NOW: u64 = 1_800_000_000;

fn config() -> Config {
    Config::parse(&Vars {
        access_team_domain: Some(Var::Text("https://team.cloudflareaccess.com".into())),
        access_aud: Some(Var::Text("aud-1,aud-2".into())),
        has_kube_api: true,
        ..Vars::default()
    })
    .unwrap()
}

fn encode(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

fn raw(header: &str, payload: &str) -> String {
    format!("{}.{}.{}", encode(header), encode(payload), encode("signature"))
}

const HEADER: &str = r#"{"alg":"RS256","kid":"k1","typ":"JWT"}"#;

fn user() -> Value {
    json!({"iss": "https://team.cloudflareaccess.com", "aud": ["aud-1"], "exp": NOW + 600, "nbf": NOW, "iat": NOW,
        "type": "app", "sub": "7335d417-61da-459d-899c-0a01c76a2f94", "email": "Alice@Example.com", "country": "DE"})
}

fn service() -> Value {
    json!({"iss": "https://team.cloudflareaccess.com", "aud": "aud-1", "exp": NOW + 600, "iat": NOW, "type": "app",
        "sub": "", "common_name": "0123456789abcdef.access"})
}

fn claims_of(payload: &str) -> Result<Claims, Reason> {
    let token = raw(HEADER, payload);
    Untrusted::parse(&token)?.confirm(true)?.claims(&config(), NOW)
}

/// The verdict on a good token with one member changed (`null` removes it).
fn with(mut payload: Value, member: &str, value: Value) -> Result<Claims, Reason> {
    let members = payload.as_object_mut().unwrap();
    if value.is_null() {
        members.remove(member);
    } else {
        members.insert(member.to_owned(), value);
    }
    claims_of(&payload.to_string())
}

#[test]
fn a_person_and_a_service_token_are_read() {
    let claims = claims_of(&user().to_string()).unwrap();
    assert_eq!(claims.expires(), NOW + 600);
    let id = "7335d417-61da-459d-899c-0a01c76a2f94".to_owned();
    assert_eq!(claims.subject(), &Subject::User { email: "alice@example.com".into(), id });
    let claims = claims_of(&service().to_string()).unwrap();
    assert_eq!(claims.subject(), &Subject::ServiceToken { client_id: "0123456789abcdef.access".into() });
}

#[test]
fn the_parts_of_a_token_are_its_own() {
    let token = raw(HEADER, "{}");
    let untrusted = Untrusted::parse(&token).unwrap();
    assert_eq!(untrusted.key_id(), "k1");
    assert_eq!(untrusted.signature(), b"signature");
    assert_eq!(untrusted.signing_input(), token.rsplit_once('.').unwrap().0);
    assert_eq!(untrusted.confirm(false).unwrap_err(), Reason::Signature);
}

#[test]
fn case_3_4_only_rs256_is_read() {
    for algorithm in ["none", "None", "HS256", "RS384", "RS512", "ES256", "PS256", "EdDSA", "rs256", "RS256 ", ""] {
        let token = raw(&format!(r#"{{"alg":"{algorithm}","kid":"k1"}}"#), "{}");
        assert_eq!(Untrusted::parse(&token).unwrap_err(), Reason::Algorithm, "{algorithm}");
    }
    for header in [r#"{"kid":"k1"}"#, r#"{"alg":null,"kid":"k1"}"#, r#"{"alg":["RS256"],"kid":"k1"}"#] {
        assert_eq!(Untrusted::parse(&raw(header, "{}")).unwrap_err(), Reason::Malformed, "{header}");
    }
}

#[test]
fn case_6_a_critical_extension_is_refused_whatever_it_holds() {
    for crit in [r#"["b64"]"#, "[]", "null", r#""exp""#] {
        let token = raw(&format!(r#"{{"alg":"RS256","kid":"k1","crit":{crit}}}"#), "{}");
        assert_eq!(Untrusted::parse(&token).unwrap_err(), Reason::Critical, "{crit}");
    }
}

#[test]
fn case_7_keys_that_a_token_brings_along_are_ignored() {
    let header =
        r#"{"alg":"RS256","kid":"k1","jku":"https://evil.test/certs","x5u":"https://evil.test/c","jwk":{"kty":"RSA"}}"#;
    let token = raw(header, "{}");
    assert_eq!(Untrusted::parse(&token).unwrap().key_id(), "k1");
}

#[test]
fn case_9_a_token_without_a_key_id_is_refused() {
    for header in [r#"{"alg":"RS256"}"#, r#"{"alg":"RS256","kid":""}"#] {
        assert_eq!(Untrusted::parse(&raw(header, "{}")).unwrap_err(), Reason::NoKeyId, "{header}");
    }
    assert_eq!(Untrusted::parse(&raw(r#"{"alg":"RS256","kid":7}"#, "{}")).unwrap_err(), Reason::Malformed);
}

#[test]
fn case_10_the_audience_must_name_this_application() {
    assert!(with(user(), "aud", json!("aud-1")).is_ok());
    assert!(with(user(), "aud", json!(["other", "aud-2"])).is_ok());
    for audience in [json!("aud"), json!("aud-1,aud-2"), json!([]), json!(["AUD-1"]), json!("")] {
        assert_eq!(with(user(), "aud", audience.clone()), Err(Reason::Audience), "{audience}");
    }
    for audience in [Value::Null, json!(1), json!([1]), json!({"a": "aud-1"})] {
        assert_eq!(with(user(), "aud", audience.clone()), Err(Reason::MalformedClaims), "{audience}");
    }
}

#[test]
fn case_29_a_token_for_another_application_of_the_team_is_refused() {
    assert_eq!(with(user(), "aud", json!(["aud-of-another-cluster"])), Err(Reason::Audience));
}

#[test]
fn case_11_the_issuer_must_be_the_team_exactly() {
    for issuer in [
        "https://team.cloudflareaccess.com/",
        "https://other.cloudflareaccess.com",
        "http://team.cloudflareaccess.com",
        "",
    ] {
        assert_eq!(with(user(), "iss", json!(issuer)), Err(Reason::Issuer), "{issuer}");
    }
    assert_eq!(with(user(), "iss", Value::Null), Err(Reason::MalformedClaims));
}

#[test]
fn case_12_the_expiry_must_be_a_whole_number_in_the_future() {
    assert!(with(user(), "exp", json!(NOW + 1)).is_ok());
    for past in [NOW, NOW - 1, 0] {
        assert_eq!(with(user(), "exp", json!(past)), Err(Reason::Expired), "{past}");
    }
    for other in [Value::Null, json!(1.9e9), json!(-1), json!("1900000000"), json!([NOW + 1]), json!(true)] {
        assert_eq!(with(user(), "exp", other.clone()), Err(Reason::MalformedClaims), "{other}");
    }
    for huge in ["1e400", "18446744073709551616", "1900000000.0"] {
        let payload = user().to_string().replace(&(NOW + 600).to_string(), huge);
        assert_eq!(claims_of(&payload), Err(Reason::MalformedClaims), "{huge}");
    }
}

#[test]
fn case_13_a_clock_may_be_off_by_a_minute_and_no_more() {
    for member in ["nbf", "iat"] {
        assert!(with(user(), member, json!(NOW + 60)).is_ok());
        assert_eq!(with(user(), member, json!(NOW + 61)), Err(Reason::NotYetValid), "{member}");
        assert_eq!(with(user(), member, json!(u64::MAX)), Err(Reason::NotYetValid), "{member}");
        assert_eq!(with(user(), member, json!(1.5)), Err(Reason::MalformedClaims), "{member}");
        assert!(with(service(), member, Value::Null).is_ok());
    }
}

#[test]
fn case_14_only_an_application_token_is_accepted() {
    for kind in ["org", "App", "", "app "] {
        assert_eq!(with(user(), "type", json!(kind)), Err(Reason::Type), "{kind}");
    }
    assert_eq!(with(user(), "type", Value::Null), Err(Reason::MalformedClaims));
}

#[test]
fn case_15_two_tokens_joined_by_the_runtime_are_no_token() {
    let token = raw(HEADER, "{}");
    assert_eq!(Untrusted::parse(&format!("{token}, {token}")).unwrap_err(), Reason::Malformed);
}

#[test]
fn case_16_an_oversized_token_is_not_parsed() {
    let token = raw(HEADER, &format!(r#"{{"pad":"{}"}}"#, "x".repeat(MAX_TOKEN_BYTES)));
    assert_eq!(Untrusted::parse(&token).unwrap_err(), Reason::TooLarge);
    assert_eq!(Untrusted::parse("").unwrap_err(), Reason::Absent);
}

#[test]
fn case_17_base64_and_segments_are_read_strictly() {
    let (head, body, signature) = (encode(HEADER), encode("{}"), encode("signature"));
    for text in [
        format!("{head}=.{body}.{signature}"),
        format!("{head}.{body}.{signature}=="),
        format!("{head} .{body}.{signature}"),
        format!("{head}.\n{body}.{signature}"),
        format!("{head}.{body}"),
        format!("{head}.{body}.{signature}.x"),
        format!("{head}.{body}.{signature}."),
        format!(".{body}.{signature}"),
        format!("{head}.{body}.c2lnbmF0dXJ"),
        format!("{head}.{body}.c2ln+mF0"),
        format!("{head}.{body}.c2lnbmF0dXJlZ"),
        format!("Bearer {head}.{body}.{signature}"),
    ] {
        assert_eq!(Untrusted::parse(&text).unwrap_err(), Reason::Malformed, "{text}");
    }
    // The last character of a two-byte group holds bits that must be zero: a second spelling of the same bytes.
    let (one, other) = (format!("{head}.{body}.AQI"), format!("{head}.{body}.AQJ"));
    assert!(Untrusted::parse(&one).is_ok());
    assert_eq!(Untrusted::parse(&other).unwrap_err(), Reason::Malformed);
}

#[test]
fn case_18_a_repeated_member_is_refused() {
    for (member, again) in [
        ("email", r#""root@example.com""#),
        ("aud", r#""aud-2""#),
        ("exp", "1900000000"),
        ("sub", r#""x""#),
        ("iss", r#""x""#),
    ] {
        let payload = user().to_string().replacen('{', &format!(r#"{{"{member}":{again},"#), 1);
        assert_eq!(claims_of(&payload), Err(Reason::MalformedClaims), "{member}");
    }
    for header in [r#"{"alg":"RS256","kid":"k1","kid":"k2"}"#, r#"{"alg":"none","alg":"RS256","kid":"k1"}"#] {
        assert_eq!(Untrusted::parse(&raw(header, "{}")).unwrap_err(), Reason::Malformed, "{header}");
    }
    assert_eq!(claims_of(&format!("{}x", user())), Err(Reason::MalformedClaims));
}

#[test]
fn case_24_25_a_token_is_a_person_or_a_service_and_never_both() {
    let claims = with(service(), "common_name", json!("admin@corp")).unwrap();
    assert_eq!(claims.subject(), &Subject::ServiceToken { client_id: "admin@corp".into() });
    for (payload, member, value) in [
        (service(), "email", json!("alice@example.com")),
        (service(), "sub", json!("someone")),
        (user(), "common_name", json!("x.access")),
        (user(), "sub", json!("")),
        (user(), "sub", json!("a\nb")),
    ] {
        assert_eq!(with(payload, member, value), Err(Reason::MalformedClaims), "{member}");
    }
}

#[test]
fn case_26_a_token_that_names_nobody_is_nobody() {
    assert_eq!(with(user(), "email", Value::Null).unwrap().subject(), &Subject::Nobody);
    assert_eq!(with(service(), "common_name", Value::Null).unwrap().subject(), &Subject::Nobody);
}

#[test]
fn a_token_nested_in_json_or_in_a_token_is_no_token() {
    let token = raw(HEADER, "{}");
    for text in
        [format!("\"{token}\""), format!("{{\"payload\":\"{token}\"}}"), "..".into(), ".".into(), "a.b.c".into()]
    {
        assert_eq!(Untrusted::parse(&text).unwrap_err(), Reason::Malformed, "{text}");
    }
    assert_eq!(claims_of(&format!("\"{token}\"")), Err(Reason::MalformedClaims));
    assert_eq!(claims_of(&"[".repeat(10_000)), Err(Reason::MalformedClaims));
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        if let Ok(untrusted) = Untrusted::parse(&text) {
            let _ = untrusted.confirm(true).unwrap().claims(&config(), NOW);
        }
    }

    #[test]
    fn no_header_or_payload_panics(header in "[ -~]{0,80}", payload in "[ -~]{0,120}", now: u64) {
        let token = raw(&header, &payload);
        if let Ok(untrusted) = Untrusted::parse(&token) {
            let _ = untrusted.confirm(true).unwrap().claims(&config(), now);
        }
        let _ = Untrusted::parse(&raw(HEADER, &payload)).unwrap().confirm(true).unwrap().claims(&config(), now);
    }
}
