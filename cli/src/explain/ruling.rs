//! The production line, driven offline: [`Gateway::step`] decides, and its questions are answered from what is known here.
//!
//! The caller is whoever is asked about: a token is made that says so, and where the gateway asks whether its signature is genuine,
//! the answer is yes. Nothing else is put in its place.

use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kube_access::config::{Config, Var, Vars};
use kube_access::gateway::{Answer, Gateway, Journey, Plan, Question, Step};
use kube_access::refusal::Refusal;
use kube_access::request::Request;
use kube_access::target::Target;
use ring::digest;
use serde_json::json;

use crate::failure::{Because, Failure};
use crate::policy::Policy;

/// The team and the application of every ruling: the only ones, so their names decide nothing.
const ISSUER: &str = "https://explained.cloudflareaccess.com";
const AUDIENCE: &str = "explained";
const KEY_ID: &str = "explained";

/// The end of every token: the last second of the year 9999.
const NEVER: u64 = 253_402_300_799;

/// More questions than the line can have.
const MAX_QUESTIONS: usize = 16;

/// Who asks, as Access would say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asker {
    /// An email address, or a service token's client ID.
    pub(crate) name: String,
    /// `sub` of a person.
    pub(crate) subject: String,
    /// Groups at the identity provider, by ID.
    pub(crate) groups: Vec<String>,
    /// The login method in Access.
    pub(crate) idp: String,
    /// What Workers KV has under the caller's key.
    pub(crate) entry: Option<String>,
    /// What it has of grants that were given through the gateway.
    pub(crate) granted: Option<String>,
}

/// A gateway of some policy.
#[derive(Debug)]
pub(crate) struct Bench<'p> {
    /// Without Workers KV: what is known of a caller is remembered for longer.
    plain: Gateway<'p>,
    with_store: Gateway<'p>,
    certs: String,
}

/// What became of a request.
#[derive(Debug)]
pub(crate) enum Ruling<'r> {
    /// It goes up.
    Sent(Plan<'r>),
    /// It does not.
    Refused(Refusal),
    /// It is the gateway's own, and goes nowhere.
    Own,
}

impl Asker {
    /// Somebody of whom no more is known than the name.
    pub(crate) fn named(name: &str) -> Self {
        let (subject, idp) = ("explained".to_owned(), String::new());
        Self { name: name.to_owned(), subject, groups: Vec::new(), idp, entry: None, granted: None }
    }

    /// Whether it is a person, and no service token.
    pub(crate) fn is_person(&self) -> bool {
        self.name.contains('@')
    }

    /// A token that says it is them. What is not in the token tells askers of one name apart by the token's nonce.
    pub(crate) fn token(&self) -> String {
        let rest = json!([self.groups, self.idp, self.entry, self.granted]).to_string();
        let nonce = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, rest.as_bytes()));
        let mut claims = json!({
            "iss": ISSUER, "aud": [AUDIENCE], "type": "app", "exp": NEVER, "identity_nonce": nonce, "sub": "",
        });
        if let Some(claims) = claims.as_object_mut() {
            if self.is_person() {
                claims.insert("email".into(), self.name.as_str().into());
                claims.insert("sub".into(), self.subject.as_str().into());
            } else {
                claims.insert("common_name".into(), self.name.as_str().into());
            }
        }
        let header = URL_SAFE_NO_PAD.encode(json!({"alg": "RS256", "kid": KEY_ID}).to_string());
        let input = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = digest::digest(&digest::SHA256, input.as_bytes());
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// What Access's `get-identity` would answer.
    fn identity(&self) -> String {
        let idp = if self.idp.is_empty() { "another" } else { &self.idp };
        json!({"email": self.name, "groups": self.groups, "idp": {"id": idp}}).to_string()
    }
}

impl<'p> Bench<'p> {
    /// A gateway of this policy, with everything bound that a policy may need.
    pub(crate) fn new(policy: &'p Policy) -> Result<Self, Failure> {
        let config = Config::parse(&Vars {
            access_team_domain: Some(Var::Text(ISSUER.into())),
            access_aud: Some(Var::Text(AUDIENCE.into())),
            log_level: Some(Var::Text("error".into())),
            has_kube_api: true,
            has_identities: true,
            has_ledger: true,
            has_sessions: true,
            has_recordings: true,
            ..Vars::default()
        });
        let config = config.because("the gateway's configuration")?;
        let modulus = URL_SAFE_NO_PAD.encode([0xff; 256]);
        let key = json!({"kty": "RSA", "alg": "RS256", "use": "sig", "kid": KEY_ID, "n": modulus, "e": "AQAB"});
        let certs = json!({ "keys": [key] }).to_string();
        let gateway = |has_store| Gateway::new(Ok(config.clone()), policy.map(), policy.guards(), has_store);
        Ok(Self { plain: gateway(false), with_store: gateway(true), certs })
    }

    /// The line, to its end. `now` is in seconds since the Unix epoch.
    pub(crate) fn rule<'r, 'a>(
        &mut self,
        request: &'r Request<'a>,
        journey: &mut Journey<'a>,
        asker: &Asker,
        now: u64,
        questions: &mut dyn FnMut(&Question),
    ) -> Ruling<'r> {
        for _ in 0..MAX_QUESTIONS {
            match self.gateway(asker).step(request, journey) {
                Step::Send(plan) => return Ruling::Sent(plan),
                Step::Refuse(refusal) => return Ruling::Refused(refusal),
                Step::Ask(question) => {
                    questions(&question);
                    match self.answer(question, asker, now) {
                        Some(answer) => journey.learn(answer),
                        None => return Ruling::Own,
                    }
                }
                Step::Own(_) => return Ruling::Own,
            }
        }
        Ruling::Own
    }

    /// The gateway for somebody: Workers KV is bound where it has something of them.
    fn gateway(&mut self, asker: &Asker) -> &mut Gateway<'p> {
        let has_entries = asker.entry.is_some() || asker.granted.is_some();
        if has_entries { &mut self.with_store } else { &mut self.plain }
    }

    /// Nothing, where the question belongs to the gateway's own paths.
    #[allow(unreachable_patterns, clippy::wildcard_enum_match_arm, reason = "the gateway's own paths may have more")]
    fn answer(&mut self, question: Question, asker: &Asker, now: u64) -> Option<Answer> {
        Some(match question {
            Question::Certs => {
                let certs = self.certs.clone();
                let gateway = self.gateway(asker);
                if gateway.begin_renewal(now).is_some() {
                    gateway.renew(Some(&certs), now);
                }
                Answer::Certs
            }
            Question::Signature { .. } => Answer::Signature(true),
            // The caller's own, as somebody wrote it, and then what was granted through the gateway.
            Question::Entries(keys) => {
                Answer::Entries(Ok([&asker.entry, &asker.granted].into_iter().take(keys.len()).cloned().collect()))
            }
            Question::Membership(person, _) => {
                self.gateway(asker).enrol(person, Some(&asker.identity()), now);
                Answer::Membership
            }
            // RBAC's yes is assumed; which questions it was asked is told.
            Question::Reviews(reviews) => {
                Answer::Reviews(reviews.iter().map(|_| Some(r#"{"status":{"allowed":true}}"#.to_owned())).collect())
            }
            _ => return None,
        })
    }
}

/// The text of a request's head, as the Worker would read it. A stream is asked for as kubectl asks for it: as a WebSocket.
pub(crate) fn head(method: &str, target: &str, token: &str, now: u64, headers: &[(&str, &str)]) -> String {
    let mut text = format!(
        "{method}\nhttps://gateway.invalid{target}\n{}\nexplained\ncf-access-jwt-assertion:{token}",
        now * 1000
    );
    for (name, value) in headers.iter().chain(&handshake(method, target)) {
        let written = write!(text, "\n{name}:{value}");
        debug_assert!(written.is_ok(), "a String takes everything");
    }
    text
}

/// The lines by which a stream becomes a WebSocket, which only a GET can; none for anything else.
fn handshake(method: &str, target: &str) -> Vec<(&'static str, &'static str)> {
    let stream = Target::parse(method, target).ok().filter(|target| method == "GET" && target.is_stream());
    let Some(stream) = stream else { return Vec::new() };
    let is_forward = stream.subresource == "portforward";
    let protocol = if is_forward { "SPDY/3.1+portforward.k8s.io" } else { "v5.channel.k8s.io" };
    vec![
        ("connection", "Upgrade"),
        ("sec-websocket-key", "yPc6qyEdVivBFTmdg5VfRA=="),
        ("sec-websocket-protocol", protocol),
        ("sec-websocket-version", "13"),
        ("upgrade", "websocket"),
    ]
}
