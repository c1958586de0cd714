//! The Access team of the native tests: its configuration, its keys, and what it signs. `ring` stands where the Worker has `WebCrypto`.
//!
//! The private keys are those that RFC 7515 (appendix A.2) and RFC 7520 (section 3.4) print: everybody knows them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kube_access::config::{Config, Var, Vars};
use kube_access::gateway::{Answer, Gateway, Journey, Plan, Question, Step, Unanswered};
use kube_access::refusal::Refusal;
use kube_access::request::Request;
use ring::rand::SystemRandom;
use ring::rsa::{KeyPair, KeyPairComponents, PublicKeyComponents};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaEncoding};
use serde_json::{Value, json};

/// The time of every test, in seconds since the Unix epoch.
pub(crate) const NOW: u64 = 1_800_000_000;

/// Somebody who can sign.
#[derive(Debug)]
pub(crate) struct Signer {
    pair: KeyPair,
    jwk: Value,
}

impl Signer {
    /// The team, whose key is published.
    pub(crate) fn team() -> Self {
        Self::named("team")
    }

    /// Somebody else, with as good a key.
    pub(crate) fn stranger() -> Self {
        Self::named("stranger")
    }

    fn named(name: &str) -> Self {
        let keys: Value = serde_json::from_str(include_str!("keys.json")).unwrap();
        let jwk = &keys[name];
        let part = |member: &str| decode(jwk[member].as_str().unwrap());
        let components = KeyPairComponents {
            public_key: PublicKeyComponents { n: part("n"), e: part("e") },
            d: part("d"),
            p: part("p"),
            q: part("q"),
            dP: part("dp"),
            dQ: part("dq"),
            qInv: part("qi"),
        };
        Self {
            pair: KeyPair::from_components(&components).unwrap(),
            jwk: json!({"kty": "RSA", "n": jwk["n"], "e": jwk["e"]}),
        }
    }

    /// The public key as Access publishes it, under this `kid`.
    pub(crate) fn jwk(&self, kid: &str) -> Value {
        let mut jwk = self.jwk.clone();
        merge(&mut jwk, &json!({"kid": kid, "alg": "RS256", "use": "sig"}));
        jwk
    }

    pub(crate) fn sign(&self, encoding: &'static dyn RsaEncoding, input: &str) -> Vec<u8> {
        let mut signature = vec![0; self.pair.public().modulus_len()];
        self.pair.sign(encoding, &SystemRandom::new(), input.as_bytes(), &mut signature).unwrap();
        signature
    }
}

/// A gateway for two applications of one team.
pub(crate) fn config() -> Config {
    Config::parse(&Vars {
        access_team_domain: Some(Var::Text("https://team.cloudflareaccess.com".into())),
        access_aud: Some(Var::Text("aud-1,aud-2".into())),
        has_kube_api: true,
        ..Vars::default()
    })
    .unwrap()
}

/// What Access says of a person who logged in a moment ago.
pub(crate) fn person() -> Value {
    json!({
        "iss": "https://team.cloudflareaccess.com", "aud": ["aud-1"], "type": "app", "country": "DE",
        "iat": NOW, "nbf": NOW, "exp": NOW + 600, "identity_nonce": "6ei69kawdKzMIAPF",
        "sub": "7335d417-61da-459d-899c-0a01c76a2f94", "email": "alice@example.com",
    })
}

/// What the team publishes.
pub(crate) fn jwks(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

/// Whether the signature is the key's: what `WebCrypto` says in the Worker.
fn is_signed_by(jwk: &str, input: &str, signature: &[u8]) -> bool {
    let jwk: Value = serde_json::from_str(jwk).unwrap();
    let part = |member: &str| decode(jwk[member].as_str().unwrap());
    let key = PublicKeyComponents { n: part("n"), e: part("e") };
    key.verify(&RSA_PKCS1_2048_8192_SHA256, input.as_bytes(), signature).is_ok()
}

/// Drives the line to its end.
pub(crate) fn walk<'r, 'a>(
    gateway: &mut Gateway<'static>,
    request: &'r Request<'a>,
    journey: &mut Journey<'a>,
    answer: &mut dyn FnMut(&mut Gateway<'static>, Question) -> Answer,
) -> Result<Plan<'r>, Refusal> {
    for _ in 0..8 {
        match gateway.step(request, journey) {
            Step::Send(plan) => return Ok(plan),
            Step::Refuse(refusal) => return Err(refusal),
            Step::Ask(question) => {
                let answer = answer(gateway, question);
                journey.learn(answer);
            }
            Step::Own(_) => unreachable!("asked for the gateway itself"),
        }
    }
    unreachable!("the line asks for ever")
}

/// What the world answers when the team publishes this, and the store is empty.
pub(crate) fn answer(gateway: &mut Gateway<'static>, question: Question, jwks: &str) -> Answer {
    match question {
        Question::Certs => {
            if gateway.begin_renewal(NOW).is_some() {
                gateway.renew(Some(jwks), NOW);
            }
            Answer::Certs
        }
        Question::Signature { jwk, input, signature } => Answer::Signature(is_signed_by(&jwk, &input, &signature)),
        Question::Entries(_) => Answer::Entries(Ok(Vec::new())),
        Question::Membership(..) => Answer::Membership,
        Question::Reviews(_) => Answer::Reviews(Vec::new()),
        Question::Body(_) => Answer::Body(Err(Unanswered)),
        Question::Grants => Answer::Grants(Err(Unanswered)),
    }
}

/// A token that the team signed: that of [`person`], with other claims.
pub(crate) fn token(changes: &Value) -> String {
    let mut claims = person();
    merge(&mut claims, changes);
    signed(&Signer::team(), &claims)
}

/// A token with these claims, as the team's would be, whoever signed it.
pub(crate) fn signed(signer: &Signer, claims: &Value) -> String {
    let header = r#"{"alg":"RS256","kid":"team-1","typ":"JWT"}"#;
    let input = format!("{}.{}", encode(header), encode(claims.to_string()));
    format!("{input}.{}", encode(signer.sign(&RSA_PKCS1_SHA256, &input)))
}

/// Lays members over an object; `null` takes one away.
pub(crate) fn merge(object: &mut Value, changes: &Value) {
    let object = object.as_object_mut().unwrap();
    for (member, value) in changes.as_object().unwrap() {
        if value.is_null() {
            object.remove(member);
        } else {
            object.insert(member.clone(), value.clone());
        }
    }
}

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}
