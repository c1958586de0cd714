//! The policy as the whole line rules it: groups of the identity provider, grants, guards and `--as`, from a request's head to what is
//! sent, with every question answered from a table.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "tables, and a test fails by panicking"
)]

use kube_access::audit::Entry;
use kube_access::config::Config;
use kube_access::gateway::{Answer, Gateway, Journey, Plan, Question, Step};
use kube_access::guard::Guards;
use kube_access::identity::IdentityMap;
use kube_access::refusal::Refusal;
use kube_access::request::Request;
use kube_access::signature::Key;
use serde_json::{Value, json};

use crate::team::{NOW, Signer, config, jwks, token, walk};

#[path = "conformance/team.rs"]
#[allow(dead_code, reason = "shared with the conformance table")]
mod team;

const MAP: IdentityMap<'static> = IdentityMap {
    emails: "alice@example.com\talice\tadmins,devs\t\tbreakglass\tsre\nbob@example.com\tbob\tdevs\n",
    email_domains: "",
    service_tokens: "0f.access\tci\tagents\n",
    idp_groups: "g-1\t\t\ton-call\ng-2\tidp-1\tguest\tguests\n",
    granted: "",
};

const GUARDS: &str = "agents-read-only\t\tagents\tread-only\nno-prod\t\ton-call\t\n\t255 * * prod *\n\
    no-secrets-as\tbreakglass\t\t\n\t255 * secrets * *\n";

/// What the API server answers a review.
type Reviewer = dyn Fn(&str) -> Option<String>;

/// The world around one gateway: what it answers, and what it was asked.
struct World {
    gateway: Gateway<'static>,
    stored: Option<Value>,
    identity: Option<String>,
    reviews: Box<Reviewer>,
    asked: Vec<String>,
    /// Whether it is asked for somebody who stays, as if nobody were known.
    is_afresh: bool,
}

impl World {
    fn new(has_store: bool) -> Self {
        Self {
            gateway: Gateway::new(Ok(config()), MAP, Guards::parse(GUARDS), has_store),
            stored: None,
            identity: Some(identity(&json!([]))),
            reviews: Box::new(|_| Some(r#"{"status":{"allowed":true}}"#.into())),
            asked: Vec::new(),
            is_afresh: false,
        }
    }

    /// What a request of this caller is sent as, at so many seconds after [`NOW`]: the lines that say who it is.
    fn ask(
        &mut self,
        claims: &Value,
        request: &str,
        headers: &[(&str, &str)],
        after: u64,
    ) -> Result<Vec<String>, Refusal> {
        let (method, target) = request.split_once(' ').unwrap();
        let headers = headers.iter().map(|(name, value)| format!("\n{name}:{value}")).collect::<Vec<_>>().concat();
        let token = token(claims);
        let text = format!(
            "{method}\nhttps://kube.example.com{target}\n{}\nid-1\ncf-access-jwt-assertion:{token}{headers}",
            (NOW + after) * 1000
        );
        let request = Request::read(&text);
        let mut journey = if self.is_afresh { Journey::afresh() } else { Journey::default() };
        let Self { gateway, stored, identity, reviews, asked, .. } = self;
        let mut answer = |gateway: &mut Gateway<'static>, question: Question| {
            asked.push(format!("{question:?}").split([' ', '(']).next().unwrap().to_owned());
            match question {
                Question::Entries(_) => Answer::Entries(Ok(vec![stored.as_ref().map(Value::to_string)])),
                Question::Membership(person, url) => {
                    assert_eq!(url, "https://team.cloudflareaccess.com/cdn-cgi/access/get-identity");
                    let failure = gateway.enrol(person, identity.as_deref(), NOW + after);
                    assert_eq!(failure.is_some(), identity.as_deref().is_none_or(|text| !text.contains("alice")));
                    Answer::Membership
                }
                Question::Reviews(list) => {
                    asked.extend(list.iter().map(|review| review.body.clone()));
                    assert!(list.iter().all(|review| review.lines.ends_with(&own_lines())), "asked as the caller");
                    Answer::Reviews(list.iter().map(|review| reviews(&review.body)).collect())
                }
                question => team::answer(gateway, question, &jwks(&[Signer::team().jwk("team-1")])),
            }
        };
        let plan = walk(gateway, &request, &mut journey, &mut answer)?;
        assert_events_agree(&request, &plan);
        Ok(plan.caller.lines().lines().map(str::to_owned).collect())
    }

    fn of_alice(&mut self, request: &str, headers: &[(&str, &str)]) -> Result<Vec<String>, Refusal> {
        self.ask(&json!({}), request, headers, 0)
    }
}

/// The audit event of a request that is sent names the caller, and whom the caller acts as.
fn assert_events_agree(request: &Request<'_>, plan: &Plan<'_>) {
    let event = Entry { request, caller: Some(&plan.caller), refusal: None }.event();
    let other = plan
        .caller
        .acts_as()
        .map_or(String::new(), |other| format!(r#""impersonatedUser":{{"username":"{}""#, other.user));
    let line = Entry { request, caller: Some(&plan.caller), refusal: None }.line();
    let acts = plan.caller.acts_as().map_or(String::new(), |other| format!(r#","as":"{}""#, other.user));
    assert!(line.contains(&format!(r#""user":"{}"{acts}"#, plan.caller.identity().user())), "{line}");
    assert!(
        event.contains(&format!(r#""username":"{}""#, plan.caller.identity().user())) && event.contains(&other),
        "{event}"
    );
}

/// The lines by which alice is asked about.
fn own_lines() -> String {
    "Impersonate-User:alice\nImpersonate-Group:admins\nImpersonate-Group:devs\n\
        Impersonate-Extra-kube-access.dev%2Femail:alice@example.com\n\
        Impersonate-Extra-kube-access.dev%2Fsubject:7335d417-61da-459d-899c-0a01c76a2f94\n"
        .to_owned()
}

fn identity(groups: &Value) -> String {
    json!({"email": "alice@example.com", "idp": {"id": "idp-1"}, "groups": groups}).to_string()
}

fn groups(lines: &[String]) -> Vec<&str> {
    lines.iter().filter_map(|line| line.strip_prefix("Impersonate-Group:")).collect()
}

const PODS: &str = "GET /api/v1/namespaces/n/pods";
const ASKED_FIRST: [&str; 3] = ["Certs", "Signature", "Membership"];

#[test]
fn case_179_groups_that_the_token_tells_are_not_asked_for() {
    let mut world = World::new(false);
    let claims = json!({"custom": {"groups": ["g-1", "system:masters"]}});
    let lines = world.ask(&claims, PODS, &[], 0).unwrap();
    assert_eq!(
        (groups(&lines), &*world.asked),
        (vec!["admins", "devs", "on-call"], &ASKED_FIRST.map(str::to_owned)[..2])
    );
    world.ask(&json!({"custom": {"groups": "g-1"}}), PODS, &[], 0).unwrap();
    assert_eq!(world.asked.last().unwrap(), "Membership", "another kind of the claim tells nothing");
}

#[test]
fn case_179_groups_are_asked_for_once_in_five_minutes_whatever_token_comes() {
    let mut world = World::new(false);
    world.identity = Some(identity(&json!([{"id": "g-1", "name": "On call"}])));
    for (after, times) in [(0, 1), (1, 1), (299, 1), (300, 2), (301, 2), (599, 2)] {
        // A token of its own each time, in one session.
        let lines = world.ask(&json!({"iat": NOW + after, "exp": NOW + 9_000}), PODS, &[], after).unwrap();
        assert!(groups(&lines).contains(&"on-call"));
        assert_eq!(world.asked.iter().filter(|question| *question == "Membership").count(), times, "after {after} s");
    }
    world.identity = Some(identity(&json!([])));
    assert!(groups(&world.ask(&json!({"iat": NOW, "exp": NOW + 9_000}), PODS, &[], 599).unwrap()).contains(&"on-call"));
    assert!(
        !groups(&world.ask(&json!({"iat": NOW, "exp": NOW + 9_000}), PODS, &[], 600).unwrap()).contains(&"on-call")
    );
    let asked = world.asked.len();
    world.ask(&json!({"identity_nonce": "another login", "exp": NOW + 9_000}), PODS, &[], 600).unwrap();
    assert_eq!(world.asked[asked..].last().unwrap(), "Membership");
}

#[test]
fn case_179_groups_that_the_token_tells_are_asked_for_when_it_is_five_minutes_old() {
    let mut world = World::new(false);
    let claims = json!({"custom": {"groups": ["g-1"]}, "iat": NOW - 100, "exp": NOW + 9_000});
    for (after, is_on_call, times) in [(0, true, 0), (199, true, 0), (200, false, 1), (499, false, 1), (500, false, 2)]
    {
        let lines = world.ask(&claims, PODS, &[], after).unwrap();
        assert_eq!(groups(&lines).contains(&"on-call"), is_on_call, "after {after} s");
        assert_eq!(world.asked.iter().filter(|question| *question == "Membership").count(), times, "after {after} s");
    }
    world.identity = Some(identity(&json!(["g-1"])));
    let prod = world.ask(&claims, "GET /api/v1/namespaces/prod/pods", &[], 800).unwrap_err();
    assert!(prod.to_string().contains("no-prod"), "whoever came into a group meanwhile is under its guards: {prod}");
    world.identity = None;
    assert_eq!(world.ask(&claims, PODS, &[], 1100).unwrap_err().status(), 503, "what was told is no longer known");
    let ageless = json!({"custom": {"groups": ["g-1"]}, "iat": null, "exp": NOW + 9_000});
    assert_eq!(world.ask(&ageless, PODS, &[], 1100).unwrap_err().status(), 503, "nobody knows how old it is");
}

#[test]
fn case_123_179_whoever_stays_is_asked_about_every_few_seconds_whatever_their_token_tells() {
    let mut world = World::new(false);
    let claims = json!({"custom": {"groups": ["g-1"]}, "exp": NOW + 9_000});
    let mut is_on_call = |is_afresh, after| {
        world.is_afresh = is_afresh;
        groups(&world.ask(&claims, PODS, &[], after).unwrap()).contains(&"on-call")
    };
    assert!(is_on_call(false, 0) && is_on_call(true, 15), "the token is young enough");
    assert!(!is_on_call(true, 16), "the provider has put them out of the group");
    assert!(!is_on_call(false, 17), "what was learnt last counts, also for what comes new");
    assert!(!is_on_call(true, 31));
    assert_eq!(world.asked.iter().filter(|question| *question == "Membership").count(), 1);
}

#[test]
fn case_179_groups_that_cannot_be_learnt_are_unknown_and_never_none() {
    for answer in [None, Some("<html>"), Some("{}"), Some(r#"{"email":"eve@example.com","groups":[]}"#)] {
        let mut world = World::new(false);
        world.identity = answer.map(str::to_owned);
        let refusal = world.of_alice(PODS, &[]).unwrap_err();
        assert_eq!(refusal.status(), 503);
        assert!(refusal.to_string().contains("which groups you are in cannot be told"), "{refusal}");
        world.identity = Some(identity(&json!(["g-1"])));
        assert!(world.of_alice(PODS, &[]).is_ok(), "a failure is not remembered");
    }
    let mut world = World::new(false);
    world.identity = Some(r#"{"email":"alice@example.com","groups":{}}"#.into());
    let text = format!("GET\nhttps://k/api\n{}\nid-1\ncf-access-jwt-assertion:{}", NOW * 1000, token(&json!({})));
    let mut journey = Journey::default();
    assert!(matches!(world.gateway.step(&Request::read(&text), &mut journey), Step::Ask(Question::Certs)));
}

#[test]
fn a_service_token_is_never_asked_about_nor_anybody_where_the_policy_names_no_group() {
    let ci = json!({"email": null, "sub": "", "common_name": "0f.access", "custom": {"groups": ["g-1"]}});
    let mut world = World::new(false);
    assert_eq!(groups(&world.ask(&ci, PODS, &[], 0).unwrap()), ["agents"]);
    let without = IdentityMap { idp_groups: "", ..MAP };
    world.gateway = Gateway::new(Ok(config()), without, Guards::default(), false);
    world.of_alice(PODS, &[]).unwrap();
    assert!(!world.asked.iter().any(|question| question == "Membership"));
}

#[test]
fn membership_alone_lets_in_by_the_login_method_that_the_entry_names() {
    let mut world = World::new(false);
    let carol = json!({"email": "carol@alice.test", "custom": {"groups": ["g-2"]}});
    world.identity = Some(json!({"email": "carol@alice.test", "idp": {"id": "idp-1"}, "groups": ["g-2"]}).to_string());
    let lines = world.ask(&carol, PODS, &[], 0).unwrap();
    assert_eq!(lines[..2], ["Impersonate-User:guest", "Impersonate-Group:guests"]);
    let mut world = World::new(false);
    world.identity = Some(json!({"email": "carol@alice.test", "idp": {"id": "idp-2"}, "groups": ["g-2"]}).to_string());
    assert_eq!(world.ask(&carol, PODS, &[], 0).unwrap_err().status(), 403);
}

#[test]
fn case_45_180_what_the_store_says_is_seen_within_half_a_minute_and_ends_on_time() {
    let mut world = World::new(true);
    let ask = |world: &mut World, after| world.ask(&json!({"exp": NOW + 9_000}), PODS, &[], after);
    assert_eq!(groups(&ask(&mut world, 0).unwrap()), ["admins", "devs"]);
    let grant =
        |seconds: u64| json!({"groups": ["sre"], "id": "g-7", "expires": format!("2027-01-15T08:00:{seconds:02}Z")});
    world.stored = Some(json!({"grants": [grant(40)]}));
    assert_eq!(groups(&ask(&mut world, 29).unwrap()), ["admins", "devs"], "remembered");
    let lines = ask(&mut world, 30).unwrap();
    assert_eq!(groups(&lines), ["admins", "devs", "sre"]);
    assert!(lines.contains(&"Impersonate-Extra-kube-access.dev%2Fgrant:g-7".to_owned()));
    assert_eq!(groups(&ask(&mut world, 39).unwrap()).len(), 3);
    assert_eq!(groups(&ask(&mut world, 40).unwrap()).len(), 2, "a grant ends on time");
    world.stored = Some(json!({"deny": true}));
    assert_eq!(ask(&mut world, 70).unwrap_err().status(), 403);
    world.stored = Some(json!({"grants": {}}));
    let refusal = ask(&mut world, 70).unwrap_err();
    assert_eq!(
        (refusal.status(), refusal.detail().contains("email:alice@example.com cannot be read: grants")),
        (503, true)
    );
}

#[test]
fn case_100_guards_hold_for_what_the_policy_makes_of_the_caller() {
    let mut world = World::new(false);
    let ci = json!({"email": null, "sub": "", "common_name": "0f.access"});
    assert!(world.ask(&ci, PODS, &[], 0).is_ok());
    for request in
        ["DELETE /api/v1/namespaces/n/pods/p", "GET /api/v1/secrets", "GET /api/v1/namespaces/n/pods/p/exec?command=sh"]
    {
        let refusal =
            world.ask(&ci, request, &[("impersonate-group", "admins"), ("x-remote-group", "admins")], 0).unwrap_err();
        assert_eq!(refusal.status(), 403);
        assert!(refusal.to_string().starts_with("the guard \"agents-read-only\""), "{refusal}");
    }
    assert!(world.of_alice("GET /api/v1/namespaces/prod/pods", &[]).is_ok());
    let mut world = World::new(false);
    let on_call = json!({"custom": {"groups": ["g-1"]}});
    assert_eq!(world.ask(&on_call, "GET /api/v1/namespaces/prod/pods", &[], 0).unwrap_err().status(), 403);
}

#[test]
fn no_guard_is_left_behind_by_acting_as_somebody_or_in_fewer_groups() {
    let mut world = World::new(false);
    let on_call = json!({"custom": {"groups": ["g-1"]}});
    for headers in [
        [("impersonate-user", "alice"), ("impersonate-group", "devs")],
        [("impersonate-user", "breakglass"), ("impersonate-group", "sre")],
    ] {
        let prod = world.ask(&on_call, "GET /api/v1/namespaces/prod/pods", &headers, 0).unwrap_err();
        assert!(prod.to_string().contains("no-prod"), "a guard of the caller's: {prod}");
    }
    let secrets = world.of_alice("GET /api/v1/secrets", &[("impersonate-user", "breakglass")]).unwrap_err();
    assert!(secrets.to_string().contains("no-secrets-as"), "a guard for whom they act as: {secrets}");
    assert!(!world.asked.iter().any(|question| question == "Reviews"), "nobody is asked about what may not pass");
}

#[test]
fn case_76_81_fewer_groups_need_nobodys_word() {
    let mut world = World::new(false);
    assert_eq!(world.of_alice(PODS, &[("impersonate-user", "alice")]).unwrap().join("\n") + "\n", own_lines());
    let lines = world.of_alice(PODS, &[("impersonate-user", "alice"), ("impersonate-group", "devs")]).unwrap();
    assert_eq!(
        lines,
        [
            "Impersonate-User:alice",
            "Impersonate-Group:devs",
            "Impersonate-Extra-kube-access.dev%2Femail:alice@example.com",
            "Impersonate-Extra-kube-access.dev%2Foriginal-groups:admins",
            "Impersonate-Extra-kube-access.dev%2Foriginal-groups:devs",
            "Impersonate-Extra-kube-access.dev%2Foriginal-user:alice",
            "Impersonate-Extra-kube-access.dev%2Fsubject:7335d417-61da-459d-899c-0a01c76a2f94",
        ]
    );
    let bob = json!({"email": "bob@example.com", "sub": "id-of-bob", "custom": {"groups": []}});
    assert!(world.ask(&bob, PODS, &[("impersonate-user", "bob"), ("impersonate-group", "devs")], 0).is_ok());
    let refusal = world.ask(&bob, PODS, &[("impersonate-user", "breakglass")], 0).unwrap_err();
    assert_eq!(refusal.status(), 403);
    assert!(!world.asked.iter().any(|question| question == "Reviews"));
}

#[test]
fn case_82_149_each_name_is_asked_about_once_in_ten_seconds() {
    let mut world = World::new(false);
    let headers = [("impersonate-user", "breakglass"), ("impersonate-group", "sre")];
    let lines = world.of_alice(PODS, &headers).unwrap();
    assert_eq!(lines[..2], ["Impersonate-User:breakglass", "Impersonate-Group:sre"]);
    assert!(lines.contains(&"Impersonate-Extra-kube-access.dev%2Foriginal-user:alice".to_owned()));
    let reviews = |world: &World| world.asked.iter().filter(|question| question.starts_with('{')).count();
    assert_eq!(reviews(&world), 2);
    for (after, asked) in [(9, 2), (10, 4), (19, 4), (20, 6)] {
        world.ask(&json!({}), PODS, &headers, after).unwrap();
        assert_eq!(reviews(&world), asked, "after {after} s");
    }
    world.ask(&json!({}), PODS, &headers[..1], 20).unwrap();
    assert_eq!(reviews(&world), 7, "another wish is another question");
}

#[test]
fn case_82_83_one_no_refuses_and_names_it_and_silence_is_no_yes() {
    let headers = [("impersonate-user", "breakglass"), ("impersonate-group", "sre")];
    let mut world = World::new(false);
    world.reviews = Box::new(|body| Some(format!(r#"{{"status":{{"allowed":{}}}}}"#, body.contains("breakglass"))));
    let refusal = world.of_alice(PODS, &headers).unwrap_err();
    assert_eq!(refusal.status(), 403);
    assert!(refusal.to_string().contains("does not let alice act as group \"sre\""), "{refusal}");
    world.reviews = Box::new(|body| body.contains("breakglass").then(|| r#"{"status":{"allowed":true}}"#.into()));
    assert_eq!(world.of_alice(PODS, &headers).unwrap_err().status(), 503);
    world.reviews = Box::new(|_| Some(r#"{"status":{"allowed":true}}"#.into()));
    assert!(world.of_alice(PODS, &headers).is_ok(), "neither is remembered");
}

#[test]
fn what_the_gateway_asks_the_cluster_is_signed_like_everything_else() {
    let config = Config { last_hop_key: Key::parse("a key that nobody else knows, of enough characters"), ..config() };
    let mut world = World::new(false);
    world.gateway = Gateway::new(Ok(config), MAP, Guards::default(), false);
    let text = format!(
        "GET\nhttps://k/api/v1/pods\n{}\nid-1\nimpersonate-user:breakglass\nimpersonate-group:sre\ncf-access-jwt-assertion:{}",
        NOW * 1000,
        token(&json!({"custom": {"groups": []}}))
    );
    let request = Request::read(&text);
    let mut signatures = Vec::new();
    let mut answer = |gateway: &mut Gateway<'static>, question: Question| match question {
        Question::Reviews(reviews) => {
            for review in &reviews {
                let line =
                    |name: &str| review.lines.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
                signatures.extend([line("Audit-ID:"), line("Kube-Access-Signature:")]);
            }
            Answer::Reviews(vec![Some(r#"{"status":{"allowed":true}}"#.into()); reviews.len()])
        }
        question => team::answer(gateway, question, &jwks(&[Signer::team().jwk("team-1")])),
    };
    let plan = walk(&mut world.gateway, &request, &mut Journey::default(), &mut answer).unwrap();
    signatures.extend(
        plan.head.lines.lines().filter_map(|line| line.strip_prefix("Kube-Access-Signature:")).map(str::to_owned),
    );
    assert_eq!((&*signatures[0], &*signatures[2], signatures.len()), ("id-1-0", "id-1-1", 5));
    assert!(
        signatures.iter().all(|text| signatures.iter().filter(|other| *other == text).count() == 1),
        "no signature twice"
    );
}
