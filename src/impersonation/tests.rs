use proptest::prelude::*;

use super::tests_support::HEADERS;
use super::*;
use crate::identity::tests_support::with_row;

/// Whom the entry of alice, in groups admins and devs, may act as.
const ACTS: &str = "alice\tadmins,devs\t\tbreakglass,ci\tsre,dba\t42\texample.com/ticket";

fn rule(row: &str, headers: &[(&str, &str)]) -> Result<Ruling, Error> {
    let lines: Vec<String> = headers.iter().map(|(name, value)| format!("\n{}:{value}", name.to_lowercase())).collect();
    let text = format!("GET\nhttps://k/api/v1/pods\n0\nid{}", lines.concat());
    let (head, _) = Head::read(&text);
    assert_eq!(Wish::is_there(&head), headers.iter().any(|(name, _)| name.to_lowercase().starts_with("impersonate")));
    Wish::rule(&head, &with_row(row))
}

fn names(ruling: Result<Ruling, Error>) -> Vec<String> {
    let Ok(Ruling::Review(_, names)) = ruling else { panic!("{ruling:?}") };
    names.iter().map(|name| [name.kind, &name.key, &name.value].join(" ")).collect()
}

#[test]
fn case_47_48_49_50_51_52_54_75_without_act_as_nobody_acts_as_somebody_else() {
    for name in HEADERS {
        for value in ["root", "", "a, b", "system:masters", "ü", "alice, root"] {
            assert_eq!(
                rule("alice\tadmins,devs", &[(name, value)]),
                Err(Error::Off("alice".into())),
                "{name}: {value}"
            );
        }
    }
    let error = rule("alice\tadmins", &[("impersonate-user", "root")]).unwrap_err().to_string();
    assert!(error.contains("leave out --as") && error.contains("act_as in your entry"), "{error}");
}

#[test]
fn case_76_77_81_fewer_of_ones_own_groups_are_free() {
    for row in ["alice\tadmins,devs", ACTS] {
        assert_eq!(rule(row, &[("impersonate-user", "alice")]), Ok(Ruling::Nothing));
        for (groups, left) in
            [("devs", vec!["devs"]), ("devs, admins", vec!["devs", "admins"]), ("devs, devs", vec!["devs"])]
        {
            let ruling = rule(row, &[("impersonate-user", "alice"), ("impersonate-group", groups)]);
            let Ok(Ruling::Fewer(impersonated)) = ruling else { panic!("{ruling:?}") };
            assert_eq!(
                (&*impersonated.user, impersonated.groups),
                ("alice", left.into_iter().map(str::to_owned).collect())
            );
            assert_eq!(
                impersonated.extras,
                [(ORIGINAL_USER, "alice"), (ORIGINAL_GROUPS, "admins"), (ORIGINAL_GROUPS, "devs")]
                    .map(|(key, value)| (key.to_owned(), value.to_owned()))
            );
        }
        for more in [
            ("impersonate-group", "devs, root"),
            ("impersonate-uid", "1"),
            ("impersonate-extra-a.b%2fc", "x"),
            ("impersonate-extra-reason", "x"),
        ] {
            assert!(rule(row, &[("impersonate-user", "alice"), more]).is_err(), "{more:?}");
        }
    }
}

#[test]
fn case_77_82_86_every_name_has_to_stand_in_act_as() {
    let user = ("Impersonate-User", "breakglass");
    let all = [
        user,
        ("Impersonate-Group", "sre, dba"),
        ("Impersonate-Uid", "42"),
        ("Impersonate-Extra-Example.com%2FTicket", "INC 1, x"),
        ("Impersonate-Extra-Reason", "on call"),
    ];
    let expected = ["user  breakglass", "group  sre", "group  dba", "UID  42", "extra example.com/ticket INC 1, x"];
    assert_eq!(names(rule(ACTS, &all)), expected);
    for (kind, name, headers) in [
        ("user", "root", vec![("impersonate-user", "root")]),
        ("user", "alice", vec![("impersonate-user", "alice"), ("impersonate-group", "sre")]),
        ("user", "system:admin", vec![("impersonate-user", "system:admin")]),
        ("user", "system:serviceaccount:a:b", vec![("impersonate-user", "system:serviceaccount:a:b")]),
        ("user", "system:node:n", vec![("impersonate-user", "system:node:n")]),
        ("group", "system:masters", vec![user, ("impersonate-group", "system:masters")]),
        ("group", "system:masters", vec![user, ("impersonate-group", "sre,system:masters")]),
        ("group", "admins", vec![user, ("impersonate-group", "sre, admins")]),
        ("UID", "43", vec![user, ("impersonate-uid", "43")]),
        ("extra", "example.com/other", vec![user, ("impersonate-extra-example.com%2fother", "x")]),
    ] {
        assert_eq!(rule(ACTS, &headers), Err(Error::NotNamed(kind, name.into())), "{headers:?}");
    }
}

#[test]
fn case_78_79_80_84_85_what_cannot_be_read_is_malformed() {
    let user = ("impersonate-user", "breakglass");
    for headers in [
        vec![("impersonate-user", "breakglass, ci")],
        vec![("impersonate-user", "")],
        vec![("impersonate-group", "sre")],
        vec![("impersonate-uid", "42")],
        vec![("impersonate-extra-example.com%2fticket", "x")],
        vec![user, ("impersonate-group", "")],
        vec![user, ("impersonate-group", "sre,,dba")],
        vec![user, ("impersonate-uid", "42, 43")],
        vec![user, ("impersonate-extra-", "x")],
        vec![user, ("impersonate-extra-scopes", "x")],
        vec![user, ("impersonate-extra-a%2", "x")],
        vec![user, ("impersonate-extra-%ff.b%2fc", "x")],
        vec![user, ("impersonate-extra-example.com%2fticket", "")],
        vec![user, ("impersonate-extra-example.com%2fticket", "ü")],
        vec![user, ("impersonate-extra-reason", "x\u{1}")],
        vec![user, ("impersonate-future", "x")],
        vec![user, ("impersonate", "x")],
        vec![user, ("impersonate_group", "x")],
    ] {
        assert!(matches!(rule(ACTS, &headers), Err(Error::Malformed(_))), "{headers:?}");
    }
    let long = format!("sre, {}", "dba, ".repeat(27) + "dba");
    assert!(rule(ACTS, &[user, ("impersonate-group", &long)]).is_ok());
    let many = (0..40).map(|number| format!("g{number}")).collect::<Vec<_>>().join(", ");
    assert!(matches!(rule(ACTS, &[user, ("impersonate-group", &many)]), Err(Error::Malformed(_))));
    let reserved = rule(ACTS, &[user, ("impersonate-extra-kube-access.dev%2foriginal-user", "x")]);
    assert_eq!(reserved, Err(Error::NotNamed("extra", "kube-access.dev/original-user".into())));
    let almost = rule(
        "alice\t\t\tbreakglass\t\t\tkube-access.dev.example.com/x",
        &[user, ("impersonate-extra-kube-access.dev.example.com%2fx", "1")],
    );
    assert_eq!(names(almost).len(), 2);
}

#[test]
fn case_88_89_who_acts_and_why_is_told_and_a_reason_may_be_wanted() {
    let row = "alice\tadmins\t\tbreakglass\t\t\t\t1";
    let user = ("impersonate-user", "breakglass");
    assert_eq!(rule(row, &[user]), Err(Error::NoReason));
    let Ok(Ruling::Review(impersonated, names)) = rule(row, &[user, ("impersonate-extra-reason", "INC-1, urgent")])
    else {
        panic!("not asked");
    };
    assert_eq!(names.len(), 1, "nobody is asked about the reason");
    assert_eq!(
        impersonated.extras,
        [(ORIGINAL_USER, "alice"), (ORIGINAL_GROUPS, "admins"), (REASON, "INC-1, urgent")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
    );
    assert_eq!(impersonated.groups, [""; 0]);
}

#[test]
fn case_82_83_each_name_is_asked_about_in_kubernetes_words_and_only_a_yes_is_one() {
    let name = |kind, key: &str, value: &str| Name { kind, key: key.into(), value: value.into() };
    for (name, group, resource, subresource) in [
        (name("user", "", "break \"glass\""), "", "users", ""),
        (name("group", "", "sre"), "", "groups", ""),
        (name("UID", "", "42"), "authentication.k8s.io", "uids", ""),
        (name("extra", "a.b/c", "x"), "authentication.k8s.io", "userextras", "a.b/c"),
    ] {
        let review: serde_json::Value = serde_json::from_str(&review::body(name.question())).unwrap();
        let attributes = serde_json::json!({
            "verb": "impersonate", "group": group, "resource": resource, "subresource": subresource, "name": name.value,
        });
        assert_eq!(review["spec"]["resourceAttributes"], attributes);
        assert_eq!(
            (&review["kind"], &review["apiVersion"]),
            (&"SelfSubjectAccessReview".into(), &"authorization.k8s.io/v1".into())
        );
    }
    let verdict = |answer| name("user", "", "breakglass").verdict(answer, &with_row(ACTS));
    assert_eq!(verdict(Some(r#"{"status":{"allowed":true,"reason":"x"}}"#)), Ok(()));
    let denied = Error::Denied("alice".into(), "user", "breakglass".into());
    assert_eq!(verdict(Some(r#"{"status":{"allowed":false}}"#)), Err(denied));
    for answer in [
        None,
        Some(""),
        Some("{}"),
        Some(r#"{"status":{}}"#),
        Some(r#"{"status":{"allowed":"true"}}"#),
        Some(r#"{"status":{"allowed":true,"allowed":false}}"#),
        Some("[]"),
    ] {
        assert_eq!(verdict(answer), Err(Error::Unanswered), "{answer:?}");
    }
}

proptest! {
    #[test]
    fn whatever_is_wished_for_nobody_becomes_what_no_entry_names(
        user in "(alice|breakglass|root|system:[a-z]{1,6}|[ -~]{0,8})", groups in "(devs|sre|root|system:masters|[ -~]{0,6})(, ?(dba|x))?",
    ) {
        let headers = [("impersonate-user", user.as_str()), ("impersonate-group", groups.as_str())];
        match rule(ACTS, &headers) {
            Ok(Ruling::Fewer(as_other)) => {
                prop_assert!(as_other.user == "alice" && as_other.groups.iter().all(|group| ["admins", "devs"].contains(&group.as_str())));
            }
            Ok(Ruling::Review(as_other, names)) => {
                prop_assert!(["breakglass", "ci"].contains(&as_other.user.as_str()));
                prop_assert!(as_other.groups.iter().all(|group| ["sre", "dba"].contains(&group.as_str())));
                prop_assert!(names.len() > as_other.groups.len());
            }
            Ok(Ruling::Nothing) => prop_assert!(user == "alice"),
            Err(_) => {}
        }
    }
}
