//! A walk along the line while a new isolate starts: V8 compiles a Wasm function when it is called for the first time, and does that
//! here while nobody waits.

use crate::config::{Config, Features, Level};
use crate::gateway::{Answer, Gateway, Journey, Question, Step, Unanswered};
use crate::guard::Guards;
use crate::identity::IdentityMap;
use crate::request::Request;

/// Walks it once, with everything made up, in a gateway that is thrown away. Whether it came to the end.
#[must_use]
pub fn run() -> bool {
    let config = Config {
        issuer: "https://rehearsal.invalid".into(),
        audiences: vec!["a".into()],
        log_level: Level::Debug,
        audit: true,
        last_hop_key: None,
        max_streams: 1,
        features: Features::default(),
        contact: String::new(),
    };
    let map = IdentityMap { email_domains: "rehearsal.invalid\t{email}\tg\n", ..IdentityMap::default() };
    let guards = Guards::parse("g\t\tg\t\n\t1 * secrets * *\n");
    let mut gateway = Gateway::new(Ok(config), map, guards, true);
    let request = Request::read(REHEARSAL);
    let mut journey = Journey::default();
    loop {
        let question = match gateway.step(&request, &mut journey) {
            Step::Ask(question) => question,
            Step::Send(_) => return true,
            Step::Own(_) | Step::Refuse(_) => return false,
        };
        journey.learn(match question {
            Question::Certs => {
                let modulus = "_".repeat(341);
                let jwks =
                    format!(r#"{{"keys":[{{"kid":"k","kty":"RSA","alg":"RS256","n":"{modulus}w","e":"AQAB"}}]}}"#);
                gateway.begin_renewal(1);
                gateway.renew(Some(&jwks), 1);
                Answer::Certs
            }
            Question::Signature { .. } => Answer::Signature(true),
            Question::Entries(_) => Answer::Entries(Ok(Vec::new())),
            Question::Membership(..) => Answer::Membership,
            Question::Reviews(_) => Answer::Reviews(Vec::new()),
            Question::Body(_) => Answer::Body(Err(Unanswered)),
            Question::Grants => Answer::Grants(Ok(String::new())),
        });
    }
}

/// `e@rehearsal.invalid` asks for pods.
const REHEARSAL: &str = "GET\nhttps://rehearsal.invalid/api/v1/namespaces/n/pods?limit=1\n1000\nid\naccept:a\ncf-ray:r\n\
    cf-connecting-ip:192.0.2.1\ncf-access-jwt-assertion:eyJhbGciOiJSUzI1NiIsImtpZCI6ImsifQ.\
    eyJpc3MiOiJodHRwczovL3JlaGVhcnNhbC5pbnZhbGlkIiwiYXVkIjpbImEiXSwiZXhwIjo5LCJpYXQiOjEsInR5cGUiOiJhcHAiLCJzdWIiOiJzIiwiZW1haWwiOiJlQHJlaGVhcnNhbC5pbnZhbGlkIn0.AA";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rehearsal_goes_to_the_end_of_the_line() {
        assert!(run());
    }
}
