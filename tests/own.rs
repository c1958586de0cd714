//! The gateway's own paths, natively: whom they serve, what the API server is asked for them, and what is answered.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "tables, and a test fails by panicking"
)]

use kube_access::config::{Config, Features};
use kube_access::gateway::{Answer, Gateway, Journey, Question, Step};
use kube_access::grant::Whose;
use kube_access::guard::Guards;
use kube_access::identity::IdentityMap;
use kube_access::own::Reply;
use kube_access::refusal::Refusal;
use kube_access::request::Request;
use serde_json::{Value, json};

use crate::team::{NOW, Signer, config, jwks, token};

#[path = "conformance/team.rs"]
#[allow(dead_code, reason = "shared with the conformance table")]
mod team;

const MAP: IdentityMap<'static> = IdentityMap {
    emails: "alice@example.com\talice\tadmins\t\tbreakglass\nbob@example.com\tbob\tdevelopers\n",
    email_domains: "",
    service_tokens: "",
    idp_groups: "",
    granted: "\ton-call,sre",
};

struct World {
    gateway: Gateway<'static>,
    body: Option<&'static str>,
    kept: Option<String>,
    /// What the API server answers to a request of the gateway's own.
    told: fn(&str) -> Option<String>,
    asked: Vec<String>,
}

impl World {
    fn new() -> Self {
        Self::of(Features { sessions: true, recordings: true, grants: true }, Guards::default())
    }

    fn of(features: Features, guards: Guards<'static>) -> Self {
        let config = Config { features, contact: "the platform team".into(), ..config() };
        let gateway = Gateway::new(Ok(config), MAP, guards, true);
        Self { gateway, body: None, kept: Some(String::new()), told: |_| None, asked: Vec::new() }
    }

    fn ask(&mut self, email: &str, request: &str, headers: &str) -> Result<Reply, Refusal> {
        let (method, target) = request.split_once(' ').unwrap();
        let token = token(&json!({ "email": email }));
        let text = format!(
            "{method}\nhttps://kube.example.com{target}\n{}\nid-1\ncf-access-jwt-assertion:{token}{headers}",
            NOW * 1000
        );
        let request = Request::read(&text);
        let mut journey = Journey::default();
        loop {
            let question = match self.gateway.step(&request, &mut journey) {
                Step::Own(reply) => return Ok(*reply),
                Step::Refuse(refusal) => return Err(refusal),
                Step::Send(plan) => unreachable!("sent {plan:?}"),
                Step::Ask(question) => question,
            };
            journey.learn(match question {
                Question::Reviews(reviews) => {
                    let mut answers = Vec::new();
                    for review in &reviews {
                        assert!(review.lines.contains("Impersonate-User:"), "asked as the caller");
                        let asked = format!("{} {} {}", review.method, review.target, review.body);
                        answers.push((self.told)(&asked));
                        self.asked.push(asked);
                    }
                    Answer::Reviews(answers)
                }
                Question::Body(most) => {
                    let body = self.body.filter(|body| body.len() <= most).map(str::to_owned);
                    Answer::Body(body.ok_or(kube_access::gateway::Unanswered))
                }
                Question::Grants => Answer::Grants(self.kept.clone().ok_or(kube_access::gateway::Unanswered)),
                question => team::answer(&mut self.gateway, question, &jwks(&[Signer::team().jwk("team-1")])),
            });
        }
    }

    fn alice(&mut self, request: &str, headers: &str) -> Result<Reply, Refusal> {
        self.ask("alice@example.com", request, headers)
    }
}

const JSON: &str = "\ncontent-type:application/json";
const GIVE: &str = "POST /.kube-access/grants";

fn wish(groups: &[&str]) -> &'static str {
    let body =
        json!({"email": "bob@example.com", "groups": groups, "expires": "2027-01-15T10:00:00Z", "reason": "INC-7"});
    Box::leak(body.to_string().into_boxed_str())
}

const YES: fn(&str) -> Option<String> = |_| Some(r#"{"status":{"allowed":true}}"#.into());

#[test]
fn a_caller_is_told_of_themselves_by_three_requests_at_most() {
    let mut world = World::new();
    let Reply::Json(text) = world.alice("GET /.kube-access/me?namespace=team-a", "").unwrap() else {
        panic!("no JSON")
    };
    let me: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&me["user"], &me["rights"]["namespace"]), (&json!("alice"), &json!("team-a")));
    assert_eq!((&me["contact"], &me["features"]["grants"]), (&json!("the platform team"), &json!(true)));
    assert_eq!(me["cluster"]["host"], "kube.example.com");
    let started: Vec<&str> = world.asked.iter().map(|asked| asked.split(' ').nth(1).unwrap()).collect();
    assert_eq!(
        started,
        [
            "/version",
            "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
            "/api/v1/namespaces?limit=500&includeObject=None"
        ]
    );
    assert!(world.asked[1].contains(r#""namespace":"team-a""#));
}

#[test]
fn what_a_guard_takes_away_is_not_asked_for_on_the_callers_behalf_either() {
    let guards = Guards::parse("no-namespaces\t\t\t\n\t2 . namespaces * *\n");
    let mut world = World::of(Features::default(), guards);
    let Reply::Json(text) = world.alice("GET /.kube-access/me", "").unwrap() else { panic!("no JSON") };
    let me: Value = serde_json::from_str(&text).unwrap();
    assert!(me["namespaces"]["problem"].as_str().unwrap().contains("no-namespaces"), "{me}");
    assert_eq!(world.asked.len(), 2);
}

#[test]
fn strangers_are_told_whom_to_ask_and_see_no_file_of_the_page_but_how_that_looks() {
    let mut world = World::new();
    for path in [
        "/.kube-access/",
        "/.kube-access/assets/page.js",
        "/.kube-access/me",
        "/.kube-access/grants",
        "/.kube-access/kubeconfig",
    ] {
        let refusal = world.ask("mallory@elsewhere.test", &format!("GET {path}"), "").unwrap_err();
        assert_eq!(refusal.status(), 403, "{path}");
    }
    let style = world.ask("mallory@elsewhere.test", "GET /.kube-access/assets/refused.css", "").unwrap();
    assert_eq!(style, Reply::File("refused.css".into()));
    let refusal = world.ask("mallory@elsewhere.test", "GET /.kube-access/", "").unwrap_err();
    for (path, is_page) in [("/", true), ("/.kube-access/", true), ("/.kube-access/me", false), ("/api/v1/pods", false)]
    {
        let text = format!("GET\nhttps://kube.example.com{path}\n1\nid-1\naccept:text/html\ncf-ray:8f-FRA");
        let page = refusal.page(&Request::read(&text), "Zoe & <team>");
        assert_eq!(page.is_some(), is_page, "{path}");
        let Some(page) = page else { continue };
        assert_eq!((page.status, page.content_type), (403, "text/html; charset=utf-8"));
        for part in
            ["mallory@elsewhere.test", "Zoe &amp; &lt;team&gt;", "kube.example.com", "id-1", "8f-FRA", "refused.css"]
        {
            assert!(page.body.contains(part), "{part}");
        }
        assert!(!page.body.contains("<script") && !page.body.contains("style=") && !page.body.contains('{'));
        assert_eq!(page.body.matches("mallory@elsewhere.test").count(), 2, "a sentence, and what to send");
    }
    let text = "GET\nhttps://kube.example.com/.kube-access/\n1\nid-1\naccept:text/html";
    for (refusal, heading) in [
        (Refusal::Unauthenticated(kube_access::token::Reason::Absent), "<h1>Log in again</h1>"),
        (kube_access::own::Error::NoPage.into(), "<h1>There is no page here</h1>\n<p>This gateway has no page"),
        (kube_access::grant::Error::Unanswered.into(), "<h1>Not right now</h1>\n<p>Whether you may"),
        (kube_access::browser::Error::OtherPage.into(), "<h1>Not for you</h1>\n<p>The gateway's own paths"),
    ] {
        let page = refusal.page(&Request::read(text), "").unwrap();
        assert!(page.body.contains(heading) && page.body.contains("this gateway's administrator"), "{}", page.body);
    }
}

#[test]
fn nobody_is_served_as_somebody_else_and_no_other_page_is() {
    let mut world = World::new();
    for (path, headers, status) in [
        ("/.kube-access/me", "\nimpersonate-user:breakglass", 400),
        ("/.kube-access/grants", "\nimpersonate-group:admins", 400),
        ("/.kube-access/me", "\nsec-fetch-site:cross-site", 403),
        ("/.kube-access/me", "\nsec-fetch-site:same-site\nsec-fetch-mode:navigate\nsec-fetch-dest:document", 403),
        (
            "/.kube-access/assets/page.js",
            "\nsec-fetch-site:same-site\nsec-fetch-mode:no-cors\nsec-fetch-dest:script",
            403,
        ),
        ("/.kube-access/", "\nsec-fetch-site:cross-site\nsec-fetch-mode:navigate\nsec-fetch-dest:iframe", 403),
        ("/.kube-access/kubeconfig", "\norigin:https://evil.test", 403),
    ] {
        assert_eq!(world.alice(&format!("GET {path}"), headers).unwrap_err().status(), status, "{path} {headers}");
    }
    let opened = "\nsec-fetch-site:cross-site\nsec-fetch-mode:navigate\nsec-fetch-dest:document\naccept:text/html";
    assert_eq!(world.alice("GET /", opened).unwrap(), Reply::Moved);
    assert_eq!(world.alice("GET /.kube-access/", opened).unwrap(), Reply::File("index.html".into()));
    assert_eq!(world.asked, [""; 0], "nothing of it reaches the API server");
}

#[test]
fn a_kubeconfig_is_for_the_address_by_which_the_caller_came() {
    let Reply::Download(name, text) =
        World::new().alice("GET /.kube-access/kubeconfig", "\nx-forwarded-proto:https").unwrap()
    else {
        panic!("no file")
    };
    assert_eq!(name, "kube.example.com.kubeconfig");
    assert!(text.contains("server: \"https://kube.example.com\""));
}

#[test]
fn a_grant_is_given_by_whom_the_api_server_lets_give_each_of_its_groups() {
    let mut world = World::new();
    world.body = Some(wish(&["on-call", "sre"]));
    world.told = YES;
    let Reply::Give(to, grant, true) = world.alice(GIVE, JSON).unwrap() else { panic!("nothing is given") };
    assert_eq!((to.as_str(), grant.by.as_str(), grant.groups.len()), ("email:bob@example.com", "alice", 2));
    assert_eq!(world.asked.len(), 2);
    for (asked, group) in world.asked.iter().zip(["on-call", "sre"]) {
        let expected = format!(
            r#""verb":"create","group":"kube-access.dev","resource":"grants","subresource":"","name":"{group}""#
        );
        assert!(asked.contains(&expected), "{asked}");
    }
    world.told = |asked| Some(format!(r#"{{"status":{{"allowed":{}}}}}"#, !asked.contains(r#""name":"sre""#)));
    let refusal = world.alice(GIVE, JSON).unwrap_err();
    assert!(refusal.status() == 403 && refusal.to_string().contains("the group sre"), "{refusal}");
    world.told = |_| None;
    assert_eq!(world.alice(GIVE, JSON).unwrap_err().status(), 503);
    world.asked.clear();
    world.body = Some(wish(&["admins"]));
    assert_eq!(world.alice(GIVE, JSON).unwrap_err().status(), 400, "not for granting");
    world.body = Some("{}");
    assert_eq!(world.alice(GIVE, JSON).unwrap_err().status(), 400);
    world.body = Some(Box::leak(format!("{}{}", wish(&["sre"]), " ".repeat(16 * 1024)).into_boxed_str()));
    assert_eq!(world.alice(GIVE, JSON).unwrap_err().status(), 400, "too long");
    world.body = Some(wish(&["sre"]));
    for kind in [
        "\norigin:https://kube.example.com",
        "\ncookie:CF_Authorization=x",
        "\ncontent-type:",
        "\ncontent-type:text/plain",
        "\ncontent-type:application/x-www-form-urlencoded",
        "\ncontent-type:application/jsonx",
    ] {
        assert_eq!(world.alice(GIVE, kind).unwrap_err().status(), 400, "{kind}");
    }
    assert_eq!(world.asked, [""; 0], "nobody is asked about what cannot be given");
    world.told = YES;
    assert!(matches!(world.alice(GIVE, "").unwrap(), Reply::Give(..)), "kubectl says nothing of its body");
}

const KEPT: &str =
    "email:bob@example.com\t{\"grants\":[{\"id\":\"g-1\",\"groups\":[\"sre\"],\"expires\":\"2027-01-15T10:00:00Z\"}]}";

fn taken() -> Reply {
    let json = r#"{"email":"bob@example.com","id":"g-1","groups":["sre"],"expires":"2027-01-15T10:00:00Z"}"#;
    Reply::Take("g-1".into(), json.into())
}

#[test]
fn a_grant_is_taken_back_by_whom_the_api_server_lets_or_by_whom_it_is_for() {
    let mut world = World::new();
    world.kept = Some(KEPT.to_owned());
    for request in ["DELETE /.kube-access/grants/g-1", "POST /.kube-access/grants/g-1/end"] {
        world.body = Some("{}");
        world.asked.clear();
        assert_eq!(world.ask("bob@example.com", request, JSON).unwrap(), taken());
        assert_eq!(world.asked, [""; 0], "fewer rights are free");
        world.told = YES;
        assert_eq!(world.alice(request, JSON).unwrap(), taken());
        assert!(world.asked[0].contains(
            r#""verb":"delete","group":"kube-access.dev","resource":"grants","subresource":"","name":"sre""#
        ));
        world.told = |_| Some(r#"{"status":{"allowed":false}}"#.into());
        assert_eq!(world.alice(request, JSON).unwrap_err().status(), 403);
    }
    let form = "\ncontent-type:text/plain";
    assert_eq!(world.alice("POST /.kube-access/grants/g-1/end", form).unwrap_err().status(), 400, "no JSON");
    assert_eq!(world.alice("DELETE /.kube-access/grants/g-2", "").unwrap_err().status(), 404);
    world.kept = None;
    assert_eq!(world.alice("DELETE /.kube-access/grants/g-1", "").unwrap_err().status(), 503);
}

#[test]
fn ones_own_grants_are_shown_and_those_of_others_to_whom_the_api_server_lets() {
    let mut world = World::new();
    world.told = |asked| asked.contains("selfsubjectaccessreviews").then(|| r#"{"status":{"allowed":false}}"#.into());
    let Reply::Grants(whose, opening) = world.alice("GET /.kube-access/grants", "").unwrap() else { panic!("no list") };
    assert_eq!(whose, Whose::Caller(Some("email:alice@example.com".into())));
    assert!(opening.contains(r#""scope":"own""#) && opening.contains(r#"{"name":"on-call","mayGive":true"#));
    world.told = YES;
    let Reply::Grants(whose, opening) = world.alice("GET /.kube-access/grants", "").unwrap() else { panic!("no list") };
    assert!(whose == Whose::Everybody && opening.contains(r#""scope":"all""#));
    world.told = |_| None;
    assert_eq!(world.alice("GET /.kube-access/grants", "").unwrap_err().status(), 503);
}

#[test]
fn whoever_gives_to_somebody_in_no_entry_is_told_so() {
    let mut world = World::new();
    world.told = YES;
    for (to, is_for_somebody) in [
        (json!({"email": "bob@example.com"}), true),
        (json!({"email": "Alice@Example.com"}), true),
        (json!({"email": "nobody@nowhere.test"}), false),
        (json!({"email": "bob@example.com."}), false),
        (json!({"serviceToken": "0f.access"}), false),
    ] {
        let mut wish: Value = serde_json::from_str(wish(&["sre"])).unwrap();
        wish.as_object_mut().unwrap().remove("email");
        wish.as_object_mut().unwrap().extend(to.as_object().unwrap().clone());
        world.body = Some(Box::leak(wish.to_string().into_boxed_str()));
        let Reply::Give(_, _, told) = world.alice(GIVE, JSON).unwrap() else { panic!("nothing is given") };
        assert_eq!(told, is_for_somebody, "{to}");
    }
}

#[test]
fn what_a_guard_takes_away_of_grants_and_sessions_is_refused_and_nobody_is_asked() {
    let id = kube_access::session::id::make("bob", 1_800_000_000_000, "0123456789abcdef0123456789abcdef");
    let read_only = "agents\talice\t\tread-only\n";
    let no_changes = "no-grants\t\t\t\n\t255 kube-access.dev grants,sessions * *\n";
    for (policy, name) in [(read_only, "agents"), (no_changes, "no-grants")] {
        let mut world = World::of(Features { sessions: true, recordings: true, grants: true }, Guards::parse(policy));
        world.told = YES;
        world.kept = Some(KEPT.to_owned());
        world.body = Some(wish(&["sre"]));
        for request in [
            GIVE,
            "DELETE /.kube-access/grants/g-1",
            "POST /.kube-access/grants/g-1/end",
            &format!("DELETE /.kube-access/sessions/{id}"),
            &format!("POST /.kube-access/sessions/{id}/end"),
        ] {
            let refusal = world.alice(request, JSON).unwrap_err();
            assert!(refusal.status() == 403 && refusal.to_string().contains(name), "{request}: {refusal}");
        }
        assert_eq!(world.asked, [""; 0], "nobody is asked about it");
        let bobs = world.ask("bob@example.com", "DELETE /.kube-access/grants/g-1", "");
        assert_eq!(bobs.unwrap(), taken(), "fewer rights are free");
    }
    // Lists are of one's own then.
    let mut world = World::of(
        Features { sessions: true, recordings: true, grants: true },
        Guards::parse("no-lists\t\t\t\n\t2 kube-access.dev grants,sessions * *\n"),
    );
    world.told = YES;
    let Reply::Grants(whose, opening) = world.alice("GET /.kube-access/grants", "").unwrap() else { panic!("no list") };
    assert_eq!(whose, Whose::Caller(Some("email:alice@example.com".into())));
    assert!(opening.contains(r#""scope":"own""#), "{opening}");
    let Reply::Sessions(list) = world.alice("GET /.kube-access/sessions", "").unwrap() else { panic!("no list") };
    assert!(format!("{list:?}").contains("is_narrowed: true"), "{list:?}");
}

#[test]
fn without_their_object_or_without_groups_for_granting_there_are_no_grants() {
    let mut world = World::of(Features { grants: false, ..Features::default() }, Guards::default());
    for request in ["GET /.kube-access/grants", GIVE, "DELETE /.kube-access/grants/g-1"] {
        let refusal = world.alice(request, JSON).unwrap_err();
        assert!(refusal.status() == 404 && refusal.to_string().contains("identities_kv = true"), "{refusal}");
    }
}

#[test]
fn what_was_granted_through_the_gateway_is_asked_for_beside_the_callers_own_entry() {
    let mut world = World::new();
    let request =
        format!("GET\nhttps://k/api/v1/pods\n{}\nid-1\ncf-access-jwt-assertion:{}", NOW * 1000, token(&json!({})));
    let request = Request::read(&request);
    let mut journey = Journey::default();
    let plan = loop {
        match world.gateway.step(&request, &mut journey) {
            Step::Ask(Question::Entries(keys)) => {
                assert_eq!(keys, ["email:alice@example.com", "grants:email:alice@example.com"]);
                let granted =
                    r#"{"grants":[{"id":"g-1","groups":["sre","admins2"],"expires":"2027-01-15T10:00:00Z"}]}"#;
                journey.learn(Answer::Entries(Ok(vec![None, Some(granted.into())])));
            }
            Step::Ask(question) => {
                let answer = team::answer(&mut world.gateway, question, &jwks(&[Signer::team().jwk("team-1")]));
                journey.learn(answer);
            }
            Step::Send(plan) => break plan,
            step => panic!("{step:?}"),
        }
    };
    let lines = plan.caller.lines();
    assert!(lines.contains("Impersonate-Group:sre\n") && !lines.contains("admins2"), "{lines}");
    assert!(lines.contains("Impersonate-Extra-kube-access.dev%2Fgrant:g-1\n"));
}
