use super::*;

const POLICY: &str = "\
identities:
  - { email: alice@example.com, user: alice, groups: [admins], act_as: { users: [breakglass], groups: [sre] } }
  - { email_domain: example.com, user: '{email}', groups: [developers], expires: 2030-01-01T00:00:00Z }
  - { service_token: 0f.access, user: ci, groups: [ci] }
  - { idp_group: g-1, groups: [on-call] }
  - { idp_group: g-2, idp: method-1, user: guest, groups: [guests] }
guards:
  - { name: no-secrets, for: { groups: [developers] }, deny: [{ resources: [secrets], verbs: [get, list, watch] }] }
  - { name: recorded, for: { groups: [on-call] }, record: true, max_session: 1h }
";
const NOW: u64 = 1_800_000_000;

fn explain(asker: &Asker, line: &str) -> Explanation {
    let policy = Policy::compile(POLICY).unwrap();
    let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    explain_one(&policy, asker, &words::read_words(&words).unwrap(), NOW).unwrap()
}

fn detail(explanation: &Explanation, step: Stage) -> &str {
    &explanation.steps.iter().find(|told| told.stage == step).unwrap().detail
}

#[test]
fn what_goes_up_is_told_with_its_head_and_the_question_that_remains() {
    let told = explain(&Asker::named("bob@example.com"), "exec pod/web -n team-a -- ls");
    assert_eq!(told.verdict, "goes up");
    assert!(
        detail(&told, Stage::Identity)
            .starts_with("bob@example.com in developers, by the entry email_domain; until 2030")
    );
    assert_eq!(detail(&told, Stage::Guards), "no-secrets hold and let it pass");
    assert_eq!(told.head[0], "GET /api/v1/namespaces/team-a/pods/web/exec?command=ls&stdout=true");
    assert!(told.head.contains(&"Impersonate-User:bob@example.com".to_owned()), "{:?}", told.head);
    assert!(told.head.contains(&"Impersonate-Group:developers".to_owned()));
    assert_eq!(
        told.rbac,
        [
            "kubectl auth can-i create pods/web --subresource=exec -n team-a --as bob@example.com --as-group developers",
            "kubectl auth can-i get pods/web --subresource=exec -n team-a --as bob@example.com --as-group developers",
        ]
    );
}

#[test]
fn what_is_refused_is_told_with_the_step_that_refuses_and_none_after_it() {
    for (asker, line, step, words) in [
        ("bob@example.com", "get secrets", Stage::Guards, "the guard \"no-secrets\""),
        ("mallory@elsewhere.test", "get pods", Stage::Identity, "in no entry"),
        ("bob@example.com", "get pods --as alice", Stage::As, "leave out --as"),
        ("other.access", "get pods", Stage::Identity, "service token other.access is in no entry"),
    ] {
        let told = explain(&Asker::named(asker), line);
        assert_eq!(told.verdict, "refused");
        let refusing = told.steps.iter().position(|told| told.outcome == "refuses").unwrap();
        assert_eq!(told.steps[refusing].stage, step, "{line}");
        assert!(told.steps[refusing + 1..].iter().all(|told| told.outcome == "not reached"));
        assert!(told.refusal.as_ref().unwrap().message.contains(words), "{told:?}");
        assert!(told.head.is_empty() && told.rbac.is_empty());
    }
}

#[test]
fn groups_of_the_identity_provider_and_what_workers_kv_has_count() {
    let on_call = Asker { groups: vec!["g-1".into()], ..Asker::named("bob@example.com") };
    let told = explain(&on_call, "exec web -- ls");
    assert!(detail(&told, Stage::Identity).starts_with("bob@example.com in developers, on-call"));
    assert!(
        told.stream
            .as_ref()
            .unwrap()
            .starts_with("recorded: what is shown, by recorded; it ends at 2027-01-15T09:00:00Z")
    );

    let guest = Asker { groups: vec!["g-2".into()], ..Asker::named("g@elsewhere.test") };
    assert_eq!(explain(&guest, "get pods").verdict, "refused", "by another login method");
    let guest = Asker { idp: "method-1".into(), ..guest };
    assert_eq!(explain(&guest, "get pods").verdict, "goes up");

    let entry = r#"{"grants":[{"groups":["sre"],"expires":"2030-01-01T00:00:00Z"}]}"#;
    let granted = Asker { entry: Some(entry.into()), ..Asker::named("bob@example.com") };
    assert!(detail(&explain(&granted, "get pods"), Stage::Identity).starts_with("bob@example.com in developers, sre"));
    let denied = Asker { entry: Some(r#"{"deny":true}"#.into()), ..Asker::named("bob@example.com") };
    assert!(explain(&denied, "get pods").refusal.unwrap().message.contains("withdrawn"));
}

#[test]
fn acting_as_somebody_else_is_a_question_for_rbac_too() {
    let told = explain(&Asker::named("alice@example.com"), "get secrets -A --as breakglass --as-group sre");
    assert_eq!(detail(&told, Stage::As), "acts as breakglass in sre");
    assert_eq!(
        told.rbac,
        [
            "kubectl auth can-i impersonate users/breakglass -A --as alice --as-group admins",
            "kubectl auth can-i impersonate groups/sre -A --as alice --as-group admins",
            "kubectl auth can-i list secrets -A --as breakglass --as-group sre",
        ]
    );
}

#[test]
fn a_request_is_a_stream_if_the_gateway_takes_it_for_one_and_a_websocket_by_get_alone() {
    let policy = Policy::compile(POLICY).unwrap();
    let on_call = Asker { groups: vec!["g-1".into()], ..Asker::named("bob@example.com") };
    let pods = "/api/v1/namespaces/n/pods";
    for (request, is_stream) in [
        (format!("GET {pods}/p/exec"), true),
        (format!("GET {pods}/p/%65xec?command=ls"), true),
        (format!("GET {pods}/p/portforward"), true),
        (format!("POST {pods}/p/exec"), false),
        (format!("GET {pods}/exec"), false),
        (format!("GET {pods}/p?x=/exec"), false),
    ] {
        let told = explain_one(&policy, &on_call, &words::read_request(&request).unwrap(), NOW).unwrap();
        assert_eq!((told.verdict, told.stream.is_some()), ("goes up", is_stream), "{request}: {told:?}");
        assert_eq!(told.head.iter().any(|line| line.starts_with("Upgrade:")), is_stream, "{request}: {:?}", told.head);
    }
}

#[test]
fn the_gateways_own_paths_are_its_own() {
    let policy = Policy::compile(POLICY).unwrap();
    let asked = words::read_request("GET /.kube-access/sessions").unwrap();
    let told = explain_one(&policy, &Asker::named("bob@example.com"), &asked, NOW).unwrap();
    assert_eq!(told.verdict, "answered by the gateway itself");
}

#[test]
fn case_140_nothing_that_a_policy_or_a_request_holds_acts_on_a_terminal() {
    let policy = Policy::compile(POLICY).unwrap();
    let asked = words::read_request("GET /api/\u{1b}[31m").unwrap();
    let told = explain_one(&policy, &Asker::named("bob@example.com"), &asked, NOW).unwrap();
    assert!(!in_words(&told).contains('\u{1b}'));
}
