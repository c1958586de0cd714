use serde_json::{Value, json};

use super::*;

const NOW: u64 = 1_800_000_000; // 2027-01-15T08:00:00Z

fn map() -> IdentityMap<'static> {
    IdentityMap { granted: "\ton-call,sre", ..IdentityMap::default() }
}

fn wish(body: &Value) -> Result<Wish, Error> {
    Wish::read(&body.to_string(), &map(), NOW)
}

fn line(to: &str, id: &str, groups: &[&str], expires: &str) -> String {
    let grant = json!({"id": id, "groups": groups, "expires": expires, "given": "2027-01-15T07:00:00Z", "reason": "r", "by": "b"});
    format!("{to}\t{}", json!({ "grants": [grant] }))
}

#[test]
fn a_wish_names_one_caller_listed_groups_an_end_and_a_reason() {
    let body = json!({"email": " Bob@Example.com ", "groups": ["on-call", "on-call"], "expires": "2027-01-15T12:00:00+02:00", "reason": " INC-7\n"});
    let wish = wish(&body).unwrap();
    assert_eq!((wish.to.as_str(), wish.groups.as_slice()), ("email:bob@example.com", &["on-call".to_owned()][..]));
    let (head, _) =
        Head::read("POST\nhttps://k/.kube-access/grants\n1800000000123\n0fa34567-89ab-4def-8123-456789abcdef");
    let grant = wish.granted("alice", &head);
    let expected = json!({"id": "g-0fa3456789ab4def", "groups": ["on-call"], "expires": "2027-01-15T10:00:00Z", "given": "2027-01-15T08:00:00Z", "reason": "INC-7", "by": "alice"});
    assert_eq!(serde_json::from_str::<Value>(&grant.json()).unwrap(), expected);
    let token =
        json!({"serviceToken": "0f.access", "groups": ["sre"], "expires": "2027-02-14T08:00:00Z", "reason": "r"});
    assert_eq!(self::wish(&token).unwrap().to, "service-token:0f.access");
}

#[test]
fn whatever_is_not_in_order_gives_nothing() {
    let good = json!({"email": "bob@example.com", "groups": ["sre"], "expires": "2027-01-15T09:00:00Z", "reason": "r"});
    assert!(wish(&good).is_ok());
    for (name, value) in [
        ("email", json!("bob")),
        ("email", json!("@example.com")),
        ("email", json!("bob@")),
        ("email", json!("bob,eve@example.com")),
        ("email", json!("b\u{f6}b@example.com")),
        ("email", json!(7)),
        ("email", Value::Null),
        ("serviceToken", json!("0f.access")),
        ("groups", json!([])),
        ("groups", json!("sre")),
        ("groups", json!(["sre", 7])),
        ("groups", json!(["system:masters"])),
        ("groups", json!(["SRE"])),
        ("groups", json!(["platform-admins"])),
        ("expires", json!("2027-01-15T08:00:30Z")),
        ("expires", json!("2027-02-14T08:00:01Z")),
        ("expires", json!("tomorrow")),
        ("expires", json!(1_800_003_600)),
        ("expires", Value::Null),
        ("reason", json!("  ")),
        ("reason", json!("x".repeat(201))),
        ("reason", Value::Null),
        ("by", json!("alice")),
    ] {
        let mut body = good.clone();
        body[name] = value;
        assert!(wish(&body).is_err(), "{body}");
    }
    for body in ["", "[]", "null", "\"x\"", "{", r#"{"email":"a@b.c","email":"d@e.f","groups":["sre"]}"#] {
        assert!(Wish::read(body, &map(), NOW).is_err(), "{body}");
    }
    let error = wish(&json!({"email": "b@c.d", "groups": ["a\u{1b}[2J"], "expires": "x", "reason": "r"})).unwrap_err();
    assert!(!error.to_string().contains('\u{1b}'), "{error}");
}

#[test]
fn case_180_what_is_given_holds_until_its_end_and_what_is_taken_back_does_not() {
    let kept = [
        line("email:bob@example.com", "g-1", &["sre"], "2027-01-15T09:00:00Z"),
        line("email:eve@example.com", "g-2", &["sre"], "2027-01-15T08:00:00Z"),
        line("service-token:0f.access", "g-3", &["on-call"], "2027-01-15T10:00:00Z"),
        "odd\tno JSON".to_owned(),
    ]
    .join("\n");
    let found = held(&kept, NOW);
    assert_eq!(found.iter().map(|grant| grant.id.as_str()).collect::<Vec<_>>(), ["g-1", "g-3"]);
    assert_eq!(ended(&kept, NOW), ["email:eve@example.com", "odd"]);
    let new = r#"{"id":"g-4","groups":["on-call"],"expires":"2027-01-16T08:00:00Z"}"#;
    let change = give(&found, "email:bob@example.com", new).unwrap();
    assert!(change.gives && change.text.contains("g-1") && change.text.contains("g-4") && !change.text.contains("g-3"));
    assert_eq!(change.until, NOW + 86_400);
    let gone = take(&found, "g-1").unwrap();
    assert_eq!((gone.to.as_str(), gone.text.as_str(), gone.gives), ("email:bob@example.com", "", false));
    assert_eq!(take(&found, "g-2"), Err(Error::NoSuch("g-2".into())));
    let after = format!("email:bob@example.com\t{}", change.text);
    let one = take(&held(&after, NOW), "g-4").unwrap();
    assert!(one.text.contains("g-1") && !one.text.contains("g-4"));
}

#[test]
fn what_somebody_may_hold_is_bounded() {
    let grant = |place: usize| format!(r#"{{"id":"g-{place}","groups":["sre"],"expires":"2027-01-16T08:00:00Z"}}"#);
    let many = |count: usize| (0..count).map(grant).collect::<Vec<_>>().join(",");
    let new = grant(9999);
    let own = format!("email:b\t{{\"grants\":[{}]}}", many(MAX_GRANTS));
    assert!(matches!(give(&held(&own, NOW), "email:b", &new), Err(Error::TooMany(_))));
    assert!(give(&held(&own, NOW), "email:c", &new).is_ok());
    let long = format!(r#"{{"id":"g-x","groups":["{}"],"expires":"2027-01-16T08:00:00Z"}}"#, "x".repeat(70_000));
    let one = format!("email:b\t{{\"grants\":[{long}]}}");
    assert!(matches!(give(&held(&one, NOW), "email:b", &long), Err(Error::TooMany(_))), "nobody could read both");
    let all = format!("email:b\t{{\"grants\":[{}]}}", many(MAX_IN_ALL));
    assert!(matches!(give(&held(&all, NOW), "email:c", &new), Err(Error::TooMany(_))));
}

#[test]
fn a_list_has_those_that_hold_or_ones_own_and_says_what_the_caller_may_give() {
    let kept = [
        line("email:bob@example.com", "g-1", &["sre"], "2027-01-15T09:00:00Z"),
        line("service-token:0f.access", "g-3", &["on-call"], "2027-01-15T10:00:00Z"),
    ]
    .join("\n");
    let found = held(&kept, NOW);
    let rules = json!({"status": {"incomplete": false, "resourceRules": [
        {"verbs": ["create"], "apiGroups": ["kube-access.dev"], "resources": ["grants"], "resourceNames": ["sre"]},
        {"verbs": ["delete"], "apiGroups": ["*"], "resources": ["*"]},
        {"verbs": ["*"], "apiGroups": [""], "resources": ["grants"]},
    ]}})
    .to_string();
    let groups = ["on-call".to_owned(), "sre".to_owned()];
    let whose = Whose::Everybody;
    let passes = |asked: Attributes<'_>| (asked.verb, asked.name) != ("delete", "sre");
    let opening = super::opening(&whose, &groups, Some(&rules), passes);
    let all: Value = serde_json::from_str(&page(&opening, &found, &whose)).unwrap();
    assert_eq!(all["scope"], "all");
    assert_eq!(
        all["groups"],
        json!([{"name": "on-call", "mayGive": false, "mayTake": true}, {"name": "sre", "mayGive": true, "mayTake": false}])
    );
    assert_eq!(
        (&all["grants"][0]["email"], &all["grants"][1]["serviceToken"]),
        (&json!("bob@example.com"), &json!("0f.access"))
    );
    let whose = Whose::Caller(Some("email:bob@example.com".into()));
    let opening = super::opening(&whose, &groups, None, |_| true);
    let own: Value = serde_json::from_str(&page(&opening, &found, &whose)).unwrap();
    assert_eq!((&own["scope"], own["grants"].as_array().unwrap().len()), (&json!("own"), 1));
    assert_eq!(own["groups"][0]["mayGive"], true, "what nobody could say is ruled when it is done");
    let nobodys: Value = serde_json::from_str(&page(&opening, &found, &Whose::Caller(None))).unwrap();
    assert_eq!(nobodys["grants"], json!([]));
    let given = r#"{"id":"g-1","reason":"}{"}"#.to_owned();
    assert_eq!(noted(given.clone(), true), given);
    let noted: Value = serde_json::from_str(&noted(given, false)).unwrap();
    assert!(noted["reason"] == "}{" && noted["note"].as_str().unwrap().contains("no entry"), "{noted}");
}

#[test]
fn one_no_is_a_no_and_no_answer_is_no_yes() {
    let groups = ["on-call".to_owned(), "sre".to_owned()];
    let answer = |is: bool| Some(format!(r#"{{"status":{{"allowed":{is}}}}}"#));
    assert_eq!(check("give", "alice", &groups, &[answer(true), answer(true)]), Ok(()));
    let denied = check("give", "alice", &groups, &[answer(true), answer(false)]).unwrap_err();
    assert!(denied.to_string().contains("the group sre"));
    for answers in [vec![answer(true)], vec![answer(true), None], vec![], vec![Some("{}".into()), answer(true)]] {
        assert_eq!(check("give", "alice", &groups, &answers), Err(Error::Unanswered));
    }
}
