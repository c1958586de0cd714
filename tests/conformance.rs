//! The conformance table of tokens, in the manner of Project Wycheproof: `conformance/tokens.json` says for each vector how
//! the token is made and what becomes of it. Signatures are real, and everything goes along the line itself.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::fmt::Write as _;

use kube_access::gateway::{Gateway, Journey};
use kube_access::guard::Guards;
use kube_access::identity::{Error, IdentityMap};
use kube_access::refusal::Refusal;
use kube_access::request::Request;
use kube_access::token::Untrusted;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512,
    RSA_PSS_SHA256,
};
use ring::{digest, hmac};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::team::{NOW, Signer, answer, config, encode, jwks, merge, person, walk};

#[path = "conformance/team.rs"]
#[allow(dead_code, reason = "shared with the other tables")]
mod team;

#[test]
fn case_3_4_5_only_rs256_by_a_published_rsa_key_is_an_algorithm() {
    run("algorithm");
}

#[test]
fn case_5_7_8_9_22_the_key_is_the_one_that_the_team_publishes_under_the_tokens_kid() {
    run("key");
}

#[test]
fn case_6_a_header_asks_for_nothing_and_promises_nothing() {
    run("header");
}

#[test]
fn a_signature_is_the_keys_over_these_bytes_or_none() {
    run("signature");
}

#[test]
fn case_15_16_17_a_token_has_one_spelling() {
    run("encoding");
}

#[test]
fn case_12_18_json_is_read_strictly() {
    run("json");
}

#[test]
fn case_10_11_12_13_14_24_25_26_27_29_claims_are_whole_and_meant_for_us() {
    run("claims");
}

#[test]
fn every_group_of_the_table_is_run_and_every_flag_is_explained() {
    let groups = ["algorithm", "key", "header", "signature", "encoding", "json", "claims"];
    let table = table();
    assert_eq!(table.groups.iter().map(|group| &*group.name).collect::<Vec<_>>(), groups);
    for vector in table.groups.iter().flat_map(|group| &group.vectors) {
        assert!(!vector.flags.is_empty(), "{}", vector.name);
        for flag in &vector.flags {
            assert!(table.flags.get(flag).is_some(), "{}: {flag} is not explained", vector.name);
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(rename = "about")]
    _about: String,
    flags: Value,
    groups: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    name: String,
    vectors: Vec<Vector>,
}

/// How a token is made. What a vector leaves out is as Access makes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    name: String,
    flags: Vec<String>,
    /// An object is laid over the usual header (`null` takes a member away), a text is taken as it is.
    #[serde(default = "no_change")]
    header: Value,
    /// The same for the claims of a person.
    #[serde(default = "no_change")]
    claims: Value,
    /// Text put behind the opening brace of the header: members that JSON objects cannot hold twice.
    #[serde(default)]
    header_start: String,
    /// The same for the claims.
    #[serde(default)]
    claims_start: String,
    /// Text put behind the header.
    #[serde(default)]
    header_end: String,
    /// The same for the claims.
    #[serde(default)]
    claims_end: String,
    /// What is signed.
    #[serde(default = "usual_input")]
    input: String,
    #[serde(default)]
    signature: Signature,
    /// What is sent.
    #[serde(default = "usual_token")]
    token: String,
    /// The team's JWKS, each an object laid over the team's own key.
    #[serde(default = "usual_jwks")]
    jwks: Vec<Value>,
    /// Whom the claims name, or why there are none.
    verdict: String,
}

#[derive(Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum Signature {
    #[default]
    Team,
    Stranger,
    /// The team's key, other algorithms.
    Rs384,
    Rs512,
    Ps256,
    /// A key that comes along in the header's `jwk`, where the text has `{ES256_X}` and `{ES256_Y}`.
    Es256,
    /// The secret is the team's public key: the base64url text of its modulus, the modulus, and its JWK.
    Hs256Text,
    Hs256Modulus,
    Hs256Jwk,
    Empty,
    Zeros,
    /// The SHA-256 of the input, unsigned.
    Digest,
    /// The team's signature of something else.
    OfAnother,
    /// The team's signature, changed.
    Flipped,
    Truncated,
    Halved,
    LeadingZeroAdded,
    LeadingZeroStripped,
    TrailingZeroAdded,
    Doubled,
    /// The signature plus the modulus: the same number to RSA.
    PlusModulus,
}

fn run(name: &str) {
    let table = table();
    let group = table.groups.iter().find(|group| group.name == name).unwrap();
    let mut failures = String::new();
    for vector in &group.vectors {
        let verdict = vector.verdict();
        if verdict != vector.verdict {
            writeln!(failures, "{}: {verdict}, expected {}", vector.name, vector.verdict).unwrap();
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
}

fn table() -> Table {
    serde_json::from_str(include_str!("conformance/tokens.json")).unwrap()
}

impl Vector {
    fn verdict(&self) -> String {
        let team = Signer::team();
        let keys: Vec<Value> = self
            .jwks
            .iter()
            .map(|changes| {
                let mut jwk = team.jwk("team-1");
                merge(&mut jwk, &substituted(changes));
                jwk
            })
            .collect();
        let token = self.make(&team);
        if token.contains('\n') {
            // No header line can hold it; it would be refused all the same.
            return Untrusted::parse(&token).unwrap_err().to_string();
        }
        let jwks = jwks(&keys);
        let mut gateway = Gateway::new(Ok(config()), IdentityMap::default(), Guards::default(), false);
        let head =
            format!("GET\nhttps://kube.example.com/api\n{}\nid-1\ncf-access-jwt-assertion:{}", NOW * 1000, token);
        let request = Request::read(&head);
        let mut world = |gateway: &mut Gateway<'static>, question| answer(gateway, question, &jwks);
        // Nobody is in the map: whoever comes as far as that was recognised.
        match walk(&mut gateway, &request, &mut Journey::default(), &mut world) {
            Err(Refusal::Identity(Error::NotMapped(name) | Error::Unnameable(name))) => who(&name),
            Err(Refusal::Unauthenticated(reason)) => reason.to_string(),
            _ => "no keys".to_owned(),
        }
    }

    fn make(&self, team: &Signer) -> String {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let ec = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap();
        let (x, y) = ec.public_key().as_ref()[1..].split_at(32);
        let header = text(
            &json!({"alg": "RS256", "kid": "team-1", "typ": "JWT"}),
            &self.header,
            &self.header_start,
            &self.header_end,
        )
        .replace("{ES256_X}", &encode(x))
        .replace("{ES256_Y}", &encode(y));
        // Some vectors need a signature with a certain number in front: the nonce is counted up until one has it.
        for nonce in 0.. {
            let mut usual = person();
            merge(&mut usual, &json!({"identity_nonce": format!("nonce-{nonce}")}));
            let claims = text(&usual, &self.claims, &self.claims_start, &self.claims_end);
            let input = fill(&self.input, &header, &claims, "", "");
            if let Some(signature) = self.signature.of(team, &ec, &input) {
                return fill(&self.token, &header, &claims, &input, &encode(signature));
            }
        }
        unreachable!("some nonce fits");
    }
}

impl Signature {
    /// The signature's bytes, unless another nonce is needed.
    fn of(self, team: &Signer, ec: &EcdsaKeyPair, input: &str) -> Option<Vec<u8>> {
        let good = || team.sign(&RSA_PKCS1_SHA256, input);
        let jwk = team.jwk("team-1");
        let modulus = jwk["n"].as_str().unwrap();
        let hmac = |secret: &[u8]| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
            hmac::sign(&key, input.as_bytes()).as_ref().to_vec()
        };
        Some(match self {
            Self::Team => good(),
            Self::Stranger => Signer::stranger().sign(&RSA_PKCS1_SHA256, input),
            Self::Rs384 => team.sign(&RSA_PKCS1_SHA384, input),
            Self::Rs512 => team.sign(&RSA_PKCS1_SHA512, input),
            Self::Ps256 => team.sign(&RSA_PSS_SHA256, input),
            Self::Hs256Text => hmac(modulus.as_bytes()),
            Self::Hs256Modulus => hmac(&team::decode(modulus)),
            Self::Hs256Jwk => hmac(jwk.to_string().as_bytes()),
            Self::Es256 => ec.sign(&SystemRandom::new(), input.as_bytes()).unwrap().as_ref().to_vec(),
            Self::Empty => Vec::new(),
            Self::Zeros => vec![0; 256],
            Self::Digest => digest::digest(&digest::SHA256, input.as_bytes()).as_ref().to_vec(),
            Self::OfAnother => team.sign(&RSA_PKCS1_SHA256, &format!("{input}x")),
            Self::Flipped => {
                let mut signature = good();
                signature[128] ^= 1;
                signature
            }
            Self::Truncated => good()[..255].to_vec(),
            Self::Halved => good()[..128].to_vec(),
            Self::LeadingZeroAdded => [vec![0], good()].concat(),
            Self::LeadingZeroStripped => good().strip_prefix(&[0])?.to_vec(),
            Self::TrailingZeroAdded => [good(), vec![0]].concat(),
            Self::Doubled => good().repeat(2),
            Self::PlusModulus => plus(&good(), &team::decode(modulus))?,
        })
    }
}

/// The sum of two numbers of equal length, big-endian, if it has that length too.
fn plus(one: &[u8], other: &[u8]) -> Option<Vec<u8>> {
    let mut carry = 0;
    let mut sum: Vec<u8> = Vec::new();
    for (a, b) in one.iter().zip(other).rev() {
        let digit = u16::from(*a) + u16::from(*b) + carry;
        sum.push(digit.to_le_bytes()[0]);
        carry = digit >> 8;
    }
    sum.reverse();
    (carry == 0).then_some(sum)
}

/// The JSON text of a header or of claims.
fn text(usual: &Value, changes: &Value, start: &str, end: &str) -> String {
    let text = if let Some(text) = changes.as_str() {
        text.replace("{USUAL}", &usual.to_string())
    } else {
        let mut members = usual.clone();
        merge(&mut members, &substituted(changes));
        members.to_string()
    };
    text.replacen('{', &format!("{{{start}"), 1) + end
}

/// A template with its parts filled in.
fn fill(template: &str, header: &str, claims: &str, input: &str, signature: &str) -> String {
    template
        .replace("{input}", input)
        .replace("{header}", &encode(header))
        .replace("{claims}", &encode(claims))
        .replace("{signature}", signature)
        .replace("{signature_in_standard_alphabet}", &signature.replace('-', "+").replace('_', "/"))
        .replace("{signature_respelt}", &respelt(signature))
}

/// Another text for the same bytes: the last character of 256 bytes holds four bits that mean nothing.
fn respelt(signature: &str) -> String {
    let last = signature.chars().last().map_or(' ', |last| match last {
        'A' => 'B',
        'Q' => 'R',
        'g' => 'h',
        _ => 'x',
    });
    let rest = signature.get(..signature.len().saturating_sub(1));
    format!("{}{last}", rest.unwrap_or_default())
}

/// Replaces what is too long for a table, and what is known only when the test runs.
fn substituted(changes: &Value) -> Value {
    let stranger = Signer::stranger().jwk("team-1");
    let text = changes
        .to_string()
        .replace("{STRANGERS_N}", stranger["n"].as_str().unwrap())
        .replace("{16_KIB}", &"x".repeat(16 * 1024));
    serde_json::from_str(&text).unwrap()
}

fn who(name: &str) -> String {
    match name {
        "a token that names nobody" => "nobody".to_owned(),
        _ if name.starts_with("service token ") => name.to_owned(),
        _ => format!("person {name}"),
    }
}

fn no_change() -> Value {
    json!({})
}

fn usual_input() -> String {
    "{header}.{claims}".to_owned()
}

fn usual_token() -> String {
    "{input}.{signature}".to_owned()
}

fn usual_jwks() -> Vec<Value> {
    vec![no_change()]
}
