use super::*;

const ENTRY: &str = "identities: [{email: a@b.c, user: a, groups: [developers, agents]}]\n";

fn error_of(entry: &str) -> MapError {
    compile(&format!("identities:\n{entry}")).unwrap_err()
}

#[test]
fn a_map_becomes_sorted_tables() {
    let tables = compile(
        "identities:\n- {email: Zoe@Example.com, user: zoe, groups: [b, a, b]}\n- {email: al@example.com, user: al}\n\
         - {email_domain: Example.COM, user: 'x-{email}', groups: [dev]}\n- {service_token: 0f.access, user: ci}\n",
    )
    .unwrap();
    assert_eq!(tables.emails, "al@example.com\tal\nzoe@example.com\tzoe\tb,a\n");
    assert_eq!(tables.email_domains, "example.com\tx-{email}\tdev\n");
    assert_eq!(tables.service_tokens, "0f.access\tci\n");
}

#[test]
fn a_mistake_names_its_line_and_what_was_expected() {
    for (entry, line, part) in [
        ("- {email: a@b.c, user: a, group: [x]}", 2, "unknown field `group`"),
        ("- {email: a@b.c}", 2, "missing field `user`"),
        ("- {user: a}", 2, "exactly one of"),
        ("- {email: a@b.c, email_domain: b.c, user: a}", 2, "exactly one of"),
        ("- {email: alice, user: a}", 2, "such as alice@example.com"),
        ("- {email: 'é@b.c', user: a}", 2, "such as alice@example.com"),
        ("- {email_domain: '*.b.c', user: a}", 2, "such as example.com"),
        ("- {email_domain: '@b.c', user: a}", 2, "such as example.com"),
        ("- {service_token: admin@corp.com, user: a}", 2, "client ID"),
        ("- {service_token: t.access, user: '{email}'}", 2, "no email"),
        ("- email: a@b.c\n  user: ''", 3, "printable ASCII"),
        ("- email: a@b.c\n  user: a\n  groups: [ok, 'x,system:masters']", 4, "no comma"),
    ] {
        let error = error_of(entry);
        assert!(error.line == line && error.message.contains(part), "{entry}: {error}");
    }
}

#[test]
fn case_33_34_an_empty_or_reserved_user_does_not_compile() {
    for user in ["''", "system:admin", "system:anonymous", "system:serviceaccount:a:b", "system:node:n", "SYSTEM:x"] {
        error_of(&format!("- {{email: a@b.c, user: '{}'}}", user.trim_matches('\'')));
    }
}

#[test]
fn case_35_system_masters_needs_a_loud_opt_in_and_no_other_system_group_is_possible() {
    assert!(error_of("- {email: a@b.c, user: a, groups: ['system:masters']}").message.contains("allow_system_masters"));
    let entry = "- {email: a@b.c, user: a, allow_system_masters: true, groups: ['GROUP']}";
    assert!(compile(&format!("identities:\n{}", entry.replace("GROUP", "system:masters"))).is_ok());
    for group in ["system:authenticated", "system:nodes", "System:masters"] {
        error_of(&entry.replace("GROUP", group));
    }
}

#[test]
fn case_36_37_a_malformed_group_names_itself() {
    for group in ["a,b", " a", "a ", "", "grüppe", "x,system:masters"] {
        let error = error_of(&format!("- {{email: a@b.c, user: a, groups: [ok, '{group}']}}"));
        assert!(error.message.contains(&format!("group {group:?}")), "{error}");
    }
    for escape in [r"a\rb", r"a\nb", r"a\0b"] {
        assert!(
            error_of(&format!("- {{email: a@b.c, user: a, groups: [\"{escape}\"]}}")).message.contains("printable")
        );
    }
}

#[test]
fn case_39_groups_are_never_cut_short() {
    let groups = |count: usize| (0..count).map(|i| format!("g{i}")).collect::<Vec<_>>().join(", ");
    let of = |count| compile(&format!("identities:\n- {{email: a@b.c, user: a, groups: [{}]}}", groups(count)));
    assert_eq!(of(300).unwrap().emails.split(',').count(), 300);
    assert!(of(301).unwrap_err().message.contains("at most 300"));
}

#[test]
fn case_44_two_entries_for_one_identity_do_not_compile() {
    let error = error_of("- {email: a@b.c, user: a}\n- {email: A@B.C, user: b}");
    assert!(error.line == 3 && error.message.contains("on line 2"), "{error}");
    error_of("- {email_domain: b.c, user: a}\n- {email_domain: B.c, user: b}");
    error_of("- {service_token: x.access, user: a}\n- {service_token: x.access, user: b}");
}

#[test]
fn case_46_a_domain_rule_never_grants_a_system_group() {
    for word in ["", ", allow_system_masters: true"] {
        for entry in [
            "email_domain: b.c, user: '{email}'",
            "email_domain: b.c, user: x",
            "idp_group: g, user: x",
            "idp_group: g",
        ] {
            error_of(&format!("- {{{entry}, groups: ['system:masters']{word}}}"));
        }
    }
    let error = error_of("- {email_domain: b.c, user: x, groups: [z], allow_system_masters: true}");
    assert!(error.message.contains("with email or service_token alone"), "{error}");
    for entry in ["email: a@b.c", "service_token: t.access"] {
        let entry = format!("{entry}, user: x, groups: ['system:masters'], allow_system_masters: true");
        assert!(compile(&format!("identities: [{{{entry}}}]")).is_ok(), "{entry}");
    }
}

#[test]
fn case_172_what_may_be_something_else_than_text_must_be_quoted() {
    #[rustfmt::skip]
    let ambiguous = [
        "007", "+1", "1e3", "1_000", "0x1f", "0o7", "0b11", "190:20:30", "1.5", ".5", "5.", "-.inf", ".NaN", "true",
        "False", "yes", "No", "oN", "OFF", "y", "N", "null", "~", "2024-01-02", "2024-1-2 03:04:05",
        "2024-01-02T3:4:5Z", "?a", ":a",
    ];
    for bare in ambiguous {
        for (entry, line) in [
            (format!("- email: a@b.c\n  user: {bare}"), 3),
            (format!("- {{email: a@b.c, user: a,\n   groups: [{bare}]}}"), 3),
            (format!("- service_token: {bare}\n  user: a"), 2),
        ] {
            let error = error_of(&entry);
            assert!(error.line == line && error.message.ends_with("quote it"), "{entry}: {error}");
        }
        let quoted = format!("identities: [{{email: a@b.c, user: '{bare}', groups: [\"{bare}\"]}}]");
        let row = format!("a@b.c\t{bare}\t{bare}\n");
        assert_eq!(compile(&quoted).unwrap().emails, row);
    }
    for bare in ["0123456789abcdef.access", "2024-team", "7th-floor", "a:b", "none", "x1e3"] {
        let row = format!("{bare}\ta\n");
        let yaml = format!("identities: [{{service_token: {bare}, user: a}}]");
        assert_eq!(compile(&yaml).map(|tables| tables.service_tokens), Ok(row));
    }
}

#[test]
fn case_172_notations_that_yaml_1_1_and_1_2_read_differently_do_not_compile() {
    for (entry, line, part) in [
        ("- email: a@b.c\n  user: !!str 007", 3, "no tag"),
        ("- email: a@b.c\n  user: !x a", 3, "no tag"),
        ("- !!map {email: a@b.c, user: a}", 2, "no tag"),
        ("- {<<: {user: a}, email: a@b.c}", 2, "merge key"),
        ("- &a {email: a@b.c, user: a}", 2, "at a list only"),
        ("- {email: a@b.c, user: &u a}", 2, "at a list only"),
        ("- {email: a@b.c, user: a, groups: &a.b [x]}", 2, "anchor \"a.b\""),
        ("- email: a@b.c\n  user:", 3, "nothing stands here"),
        ("- email: a@b.c\n  user: a\n  groups:", 4, "nothing stands here"),
        ("- email: a@b.c\n  user: a\n  user: b", 4, "a duplicate: user stands here already, expected it once"),
        ("- {email: a@b.c, user: a, 1: b}", 2, "quote it"),
        ("- {email: a@b.c, user: a}\n---\nidentities: []", 3, "second document"),
        ("- {email: a@b.c, user: a}\n...\n", 3, "no end"),
        ("- email: a@b.c\n  user: a # \u{85}  groups: [x]", 3, "blanks and line feeds"),
        ("- email: a@b.c # \u{2028}  groups: [x]\n  user: a", 2, "blanks and line feeds"),
        ("- email: a@b.c\n  user: |-\n    007", 4, "in one line"),
        ("- email:\ta@b.c\n  user: a", 2, "blanks and line feeds"),
        ("- email: a@b.c\n  user: \"a\\/b\"", 3, "no escape"),
    ] {
        let error = error_of(entry);
        assert!(error.line == line && error.message.contains(part), "{entry}: {error}");
    }
    assert!(compile("%YAML 1.2\n---\nidentities: []").is_err());
}

#[test]
fn case_172_a_time_needs_no_quotes_as_the_end_of_an_entry_alone() {
    let time = "2027-01-15T08:00:00Z";
    for notation in [
        "{email: a@b.c, user: a, expires: TIME}",
        "{expires: TIME, email: a@b.c, user: a, groups: [expires]}",
        "{\"expires\": TIME, email: a@b.c, user: a}",
        "{email: a@b.c, user: expires, expires: TIME}",
        "email: a@b.c\n  user: a\n  groups: [a, expires]\n  expires: TIME",
    ] {
        let yaml = format!("identities:\n- {}\n", notation.replace("TIME", time));
        let tables = compile(&yaml);
        assert!(tables.as_ref().is_ok_and(|tables| tables.emails.contains("\t1800000000")), "{yaml}: {tables:?}");
    }
    for entry in [
        "{email: a@b.c, user: a, groups: [expires, TIME]}",
        "{email: a@b.c, user: a, groups: [expires, TIME, x]}",
        "email: a@b.c\n  user: a\n  groups:\n  - expires\n  - TIME",
        "{email: a@b.c, groups: [expires], user: TIME}",
        "{email: a@b.c, user: expires, TIME: a}",
        "{email: a@b.c, user: a, act_as: {users: [expires, TIME]}}",
    ] {
        for time in [time, "2027-01-15T08:00:00+00:00", "2027-01-15T08:00:00-00:00"] {
            let error = error_of(&format!("- {}\n", entry.replace("TIME", time)));
            assert!(error.message.contains("quote it"), "{entry}: {error}");
        }
    }
    for (expires, part) in [
        ("2027-01-15T08:00:00+00:00", "quote it"),
        ("2027-01-15T08:00:00-00:00", "quote it"),
        ("2027-01-15T08:00:00z", "quote it"),
        ("&x 2027-01-15T08:00:00Z", "at a list only"),
        ("!!str 2027-01-15T08:00:00Z", "no tag"),
        ("[2027-01-15T08:00:00Z]", "expires: expected one text"),
    ] {
        let error = error_of(&format!("- email: a@b.c\n  user: a\n  expires: {expires}\n"));
        assert!(error.line == 4 && error.message.contains(part), "{expires}: {error}");
    }
}

#[test]
fn a_value_of_another_kind_names_its_field_and_what_was_expected() {
    for (entry, line, message) in [
        ("- email: a@b.c\n  user: a\n  groups: x", 4, "groups: expected a list, such as [a, b]"),
        (
            "- {email: a@b.c, user: a, act_as: [x]}",
            2,
            "act_as: expected fields with their values, such as {field: value}",
        ),
        ("- {email: a@b.c, user: a, act_as: {uids: '42'}}", 2, "uids: expected a list, such as [a, b]"),
        ("- {email: a@b.c, user: a, groups: [x, [z]]}", 2, "groups: expected one text"),
        ("- {email: a@b.c, user: {name: a}}", 2, "user: expected one text"),
        ("- alice@example.com", 2, "identities: expected fields with their values, such as {field: value}"),
        (
            "- {email: a@b.c, user: a}\nguards:\n- {name: g, deny: {resources: [pods]}}",
            4,
            "deny: expected a list, such as [a, b]",
        ),
        (
            "- {email: a@b.c, user: a}\nguards:\n- {name: g, deny: [{resources: pods}]}",
            4,
            "resources: expected a list, such as [a, b]",
        ),
        (
            "- {email: a@b.c, user: a}\ngrants: [x]",
            3,
            "grants: expected fields with their values, such as {field: value}",
        ),
        (
            "- {email: a@b.c, user: a}\n- {email: b@b.c, groups: [x], groups: [z]}",
            3,
            "a duplicate: groups stands here already, expected it once",
        ),
    ] {
        assert_eq!(error_of(entry), MapError { line, message: message.to_owned() }, "{entry}");
    }
    for field in ["allow_system_masters: WORD", "act_as: {users: [x], reason_required: WORD}"] {
        let of = |word: &str| format!("- email: a@b.c\n  user: a\n  {}", field.replace("WORD", word));
        for word in ["'true'", "\"false\"", "maybe", "[true]"] {
            let error = error_of(&of(word));
            assert!(
                error.line == 4 && error.message.contains("expected true or false, without quotes"),
                "{word}: {error}"
            );
        }
        for word in ["true", "false", "True"] {
            assert!(compile(&format!("identities:\n{}\n", of(word))).is_ok(), "{field} {word}");
        }
    }
}

#[test]
fn case_172_line_ends_comments_and_lists_that_are_named_once_compile() {
    let yaml = "# é\r\nidentities:\r\n- email: a@b.c # c\r\n  user: a\r\n  groups: &dev [x, z]\r\n\
                - {email: b@b.c, user: b, groups: *dev}\r\n";
    assert_eq!(compile(yaml).unwrap().emails, "a@b.c\ta\tx,z\nb@b.c\tb\tx,z\n");
}

#[test]
fn the_map_of_this_repository_compiles() {
    compile(include_str!("../identities.yaml")).unwrap();
}

#[test]
fn an_entry_may_end_and_say_whom_its_caller_may_act_as() {
    let tables = compile(
        "identities:\n- {email: a@b.c, user: a, groups: [x], expires: 2027-01-15T08:00:00Z,\n   \
         act_as: {users: [root], groups: [sre, dba], uids: ['42'], extras: [example.com/ticket], reason_required: true}}\n\
         - {email: b@b.c, user: b, expires: '2027-01-15T09:00:00+01:00'}\n",
    );
    let expected = "a@b.c\ta\tx\t1800000000\troot\tsre,dba\t42\texample.com/ticket\t1\nb@b.c\tb\t\t1800000000\n";
    assert_eq!(tables.unwrap().emails, expected);
    for (entry, line, part) in [
        ("- {email: a@b.c, user: a, expires: 2027-01-15}", 2, "quote it"),
        ("- email: a@b.c\n  user: a\n  expires: '2027-01-15'", 4, "RFC 3339"),
        ("- email: a@b.c\n  user: a\n  expires: 2027-01-15 08:00:00Z", 4, "quote it"),
        ("- email: a@b.c\n  user: a\n  expires: tomorrow", 4, "RFC 3339"),
        ("- email: a@b.c\n  user: a\n  act_as: {users: ['system:admin']}", 4, "reserved"),
        (
            "- email: a@b.c\n  user: a\n  act_as: {groups: ['system:masters']}\n  allow_system_masters: true",
            4,
            "reserved",
        ),
        ("- email: a@b.c\n  user: a\n  act_as: {users: ['{email}']}", 4, "in an entry's user alone"),
        ("- email: a@b.c\n  user: a\n  act_as: {extras: [ticket]}", 4, "with a domain"),
        ("- email: a@b.c\n  user: a\n  act_as: {extras: [kube-access.dev/email]}", 4, "the gateway's own"),
        ("- email: a@b.c\n  user: a\n  act_as: {user: [x]}", 4, "unknown field"),
        ("- email: a@b.c\n  user: a\n  act_as: {users: [007]}", 4, "quote it"),
    ] {
        let error = error_of(entry);
        assert!(error.line == line && error.message.contains(part), "{entry}: {error}");
    }
}

#[test]
fn case_179_groups_of_the_provider_keep_their_order_and_give_nothing_of_the_system() {
    let tables = compile(
        "identities:\n- {idp_group: z 1, groups: [on-call]}\n- {idp_group: 'CN=a,OU=b', idp: idp-1, user: guest, groups: [x]}\n\
         - {idp_group: 'CN=a,OU=b', user: '{email}'}\n",
    );
    assert_eq!(tables.unwrap().idp_groups, "z 1\t\t\ton-call\nCN=a,OU=b\tidp-1\tguest\tx\nCN=a,OU=b\t\t{email}\n");
    for (entry, line, part) in [
        ("- {idp_group: g, email: a@b.c, user: a}", 2, "exactly one of"),
        ("- {email: a@b.c, user: a, idp: x}", 2, "in such an entry only"),
        ("- {idp_group: ' g', user: a}", 2, "printable ASCII"),
        ("- {idp_group: gr\u{fc}n, user: a}", 2, "printable ASCII"),
        ("- {idp_group: g, idp: 'a b', user: a}", 2, "login method"),
        ("- {idp_group: g, groups: ['system:masters'], allow_system_masters: true}", 2, "nothing of the system"),
        ("- {idp_group: g, groups: ['system:nodes']}", 2, "reserved"),
        ("- {idp_group: g, user: a}\n- {idp_group: g, user: b}", 3, "on line 2"),
        ("- {idp_group: 007, user: a}", 2, "quote it"),
    ] {
        let error = error_of(entry);
        assert!(error.line == line && error.message.contains(part), "{entry}: {error}");
    }
}

#[test]
fn a_guard_becomes_a_line_and_one_for_each_rule() {
    let tables = compile(&format!(
        "{ENTRY}grants: {{groups: [on-call], users: [carol]}}\nguards:\n\
         - {{name: ro, for: {{groups: [agents, on-call], users: [carol]}}, allow: read-only}}\n\
         - name: rules\n  deny:\n  - {{resources: [secrets], verbs: [get, list, watch]}}\n  \
         - {{api_groups: ['', apps*], resources: [pods/exec, '*'], namespaces: [team-*], names: [x, y*], verbs: ['*']}}\n  \
         - {{non_resource_urls: [/metrics, /logs/*]}}\n"
    ));
    let expected = "ro\tcarol\tagents,on-call\tread-only\t\nrules\t\t\t\t\n\t7 * secrets * *\n\t255 .,apps* * team-* x,y*\n\
        \t1889 /metrics,/logs/*\n\t255 . nodes/proxy * *\n";
    assert_eq!(tables.unwrap().guards, expected);
}

#[test]
fn case_178_a_guard_that_could_never_match_does_not_compile() {
    let guards = |guard: &str| format!("{ENTRY}guards:\n- {guard}\n");
    for (guard, line, part) in [
        ("{name: g}", 3, "takes nothing away"),
        ("{name: g, allow: readonly}", 3, "expected read-only"),
        ("{name: G, allow: read-only}", 3, "lower-case"),
        ("{allow: read-only}", 3, "missing field"),
        ("{name: g, allow: read-only}\n- {name: g, allow: read-only}", 4, "on line 3"),
        ("{name: g, for: {}, allow: read-only}", 3, "for nobody"),
        ("{name: g, for: {groups: []}, allow: read-only}", 3, "for nobody"),
        ("{name: g, for: {groups: [agnets]}, allow: read-only}", 3, "no entry gives this name"),
        ("{name: g, for: {users: [b]}, allow: read-only}", 3, "no entry gives this name"),
        ("{name: g, for: {groups: ['system:authenticated']}, allow: read-only}", 3, "reserved"),
        ("{name: g, deny: []}", 3, "an empty list"),
        ("name: g\n  deny:\n  - {verbs: [get]}", 5, "either resources or non_resource_urls"),
        ("name: g\n  deny:\n  - {resources: [pods], non_resource_urls: [/x]}", 5, "either resources"),
        ("name: g\n  deny:\n  - {resources: []}", 5, "an empty list"),
        ("name: g\n  deny:\n  - {resources: [pods], namespaces: []}", 5, "an empty list"),
        ("name: g\n  deny:\n  - {resources: [pods], verbs: [read]}", 5, "one of get, list, watch"),
        ("name: g\n  deny:\n  - {resources: [pods], verbs: [Get]}", 5, "one of get, list, watch"),
        ("name: g\n  deny:\n  - {resources: [pods], verbs: [impersonate]}", 5, "one of get, list, watch"),
        ("name: g\n  deny:\n  - {resources: [pods], verbs: [post]}", 5, "one of get, list, watch"),
        ("name: g\n  deny:\n  - {resources: [Pods]}", 5, "RBAC calls it pods"),
        ("name: g\n  deny:\n  - {resources: [secret]}", 5, "RBAC calls it secrets"),
        ("name: g\n  deny:\n  - {resources: [deploy/scale]}", 5, "RBAC calls it deployments"),
        ("name: g\n  deny:\n  - {resources: ['pods/']}", 5, "such as pods, pods/exec"),
        ("name: g\n  deny:\n  - {resources: ['p*ds']}", 5, "such as pods, pods/exec"),
        ("name: g\n  deny:\n  - {resources: [pods/exec/x]}", 5, "such as pods, pods/exec"),
        ("name: g\n  deny:\n  - {resources: [pods/exec], verbs: [get]}", 5, "authorised as create"),
        ("name: g\n  deny:\n  - {resources: [pods/log], verbs: [list]}", 5, "there is no list of it"),
        ("name: g\n  deny:\n  - {resources: [pods/logs]}", 5, "pods have attach, binding,"),
        ("name: g\n  deny:\n  - {api_groups: [''], resources: [pods/port-forward]}", 5, "\"pods/*\" is all"),
        ("name: g\n  deny:\n  - {resources: [selfsubjectreviews], verbs: [create]}", 5, "stays open"),
        ("name: g\n  deny:\n  - {api_groups: [''], resources: [deployments]}", 5, "in the API group \"apps\""),
        ("name: g\n  deny:\n  - {api_groups: [apps/v1], resources: [deployments]}", 5, "without its version"),
        ("name: g\n  deny:\n  - {api_groups: [core], resources: [pods]}", 5, "\"\" for the core group"),
        ("name: g\n  deny:\n  - {resources: [nodes], namespaces: [a]}", 5, "in no namespace"),
        ("name: g\n  deny:\n  - {resources: [pods], namespaces: [Team]}", 5, "with a * at its end"),
        ("name: g\n  deny:\n  - {resources: [pods], names: [a/b]}", 5, "with a * at its end"),
        ("name: g\n  deny:\n  - {resources: [pods], names: [a], verbs: [create]}", 5, "in the body"),
        ("name: g\n  deny:\n  - {resources: [pods], namespaces: [-a-]}", 5, "with a * at its end"),
        ("name: g\n  deny:\n  - {resources: [pods], namespaces: [a.b]}", 5, "with a * at its end"),
        ("name: g\n  deny:\n  - {resources: [deployments.apps]}", 5, "its group stands in api_groups"),
        ("name: g\n  deny:\n  - {resources: [secrets.v1]}", 5, "its group stands in api_groups"),
        ("name: g\n  deny:\n  - {resources: [pods-]}", 5, "such as pods, pods/exec"),
        ("name: g\n  deny:\n  - {api_groups: [apps.], resources: [foos]}", 5, "without its version"),
        ("name: g\n  deny:\n  - {api_groups: ['.*'], resources: [foos]}", 5, "without its version"),
        ("name: g\n  deny:\n  - {resources: [namespaces], namespaces: [prod], verbs: [create]}", 5, "in no namespace"),
        ("name: g\n  deny:\n  - {resources: [namespaces], namespaces: [prod], verbs: [list]}", 5, "in no namespace"),
        (
            "name: g\n  deny:\n  - {resources: [nodes, 'namespaces'], namespaces: [p*], verbs: [deletecollection]}",
            5,
            "in no namespace",
        ),
        ("name: g\n  deny:\n  - {resources: ['node*'], api_groups: [''], namespaces: [a]}", 5, "in no namespace"),
        ("name: g\n  deny:\n  - {resources: ['pods/ex*'], verbs: [get]}", 5, "authorised as create"),
        ("name: g\n  deny:\n  - {resources: ['pods/ex*'], api_groups: ['*'], verbs: [get]}", 5, "authorised as create"),
        ("name: g\n  deny:\n  - {resources: ['*/exec'], verbs: [get, delete]}", 5, "authorised as create"),
        ("name: g\n  deny:\n  - {resources: ['pods/*'], verbs: [list]}", 5, "there is no list of it"),
        ("name: g\n  deny:\n  - {resources: ['*/exec'], api_groups: [apps]}", 5, "in the API groups \"apps\""),
        (
            "name: g\n  deny:\n  - {resources: ['secret*'], api_groups: [apps, batch]}",
            5,
            "in the API groups \"apps\", \"batch\"",
        ),
        ("name: g\n  deny:\n  - {resources: [deploymets], api_groups: [apps]}", 5, "without api_groups"),
        ("name: g\n  deny:\n  - {resources: [secrets/status]}", 5, "secrets have no subresources"),
        (
            "name: g\n  deny:\n  - {resources: ['selfsubject*'], api_groups: [authentication.k8s.io], verbs: [create]}",
            5,
            "stays open",
        ),
        ("name: g\n  deny:\n  - {resources: [secrets], names: [Root_CA]}", 5, "lower-case letters, digits, hyphens"),
        (
            "name: g\n  deny:\n  - {resources: [secrets, pods/exec], names: [a, 'B*']}",
            5,
            "lower-case letters, digits, hyphens",
        ),
        ("name: g\n  deny:\n  - {resources: [foos], names: ['..']}", 5, "with a * at its end"),
        ("name: g\n  deny:\n  - {non_resource_urls: [/metrics//x]}", 5, "empty, \".\" and \"..\" segments"),
        ("name: g\n  deny:\n  - {non_resource_urls: [/a/../metrics]}", 5, "empty, \".\" and \"..\" segments"),
        ("name: g\n  deny:\n  - {non_resource_urls: [/a/..]}", 5, "empty, \".\" and \"..\" segments"),
        ("name: g\n  deny:\n  - {non_resource_urls: ['/a//*']}", 5, "empty, \".\" and \"..\" segments"),
        ("name: g\n  deny:\n  - {non_resource_urls: [/metrics/]}", 5, "expected /metrics, which is both"),
        ("name: g\n  deny:\n  - {non_resource_urls: [metrics]}", 5, "a path such as"),
        ("name: g\n  deny:\n  - {non_resource_urls: [/api/v1/pods]}", 5, "is a resource"),
        ("name: g\n  deny:\n  - {non_resource_urls: [/version], verbs: [get]}", 5, "stays open"),
        ("name: g\n  deny:\n  - {non_resource_urls: [/metrics], verbs: [list]}", 5, "one of get, patch, delete, head"),
        ("name: g\n  deny:\n  - {non_resource_urls: [/metrics], names: [x]}", 5, "nothing else"),
        ("name: g\n  deny:\n  - {resource: [pods]}", 5, "unknown field"),
    ] {
        let error = compile(&guards(guard)).unwrap_err();
        assert!(error.line == line && error.message.contains(part), "{guard}: {error}");
    }
    for guard in [
        "{name: g, deny: [{api_groups: [example.com], resources: [deployments]}]}",
        "{name: g, deny: [{api_groups: ['', example.com], resources: [deployments]}]}",
        "{name: g, deny: [{api_groups: [example.com], resources: [pods/tunnel]}]}",
        "{name: g, deny: [{resources: [virtualmachines/tunnel, 'pods/port*']}]}",
        "{name: g, deny: [{resources: [pods], names: [a], verbs: ['*']}]}",
        "{name: g, deny: [{resources: [pods/exec], names: [a], verbs: [create]}]}",
        "{name: g, deny: [{resources: [namespaces], namespaces: [a]}]}",
        "{name: g, deny: [{resources: ['*/scale', 'pods/*', 'po*', '*']}]}",
        "{name: g, deny: [{resources: [namespaces], namespaces: [a], verbs: [create, delete]}]}",
        "{name: g, deny: [{resources: [namespaces/finalize], namespaces: [a], verbs: [create]}]}",
        "{name: g, deny: [{resources: [nodes], api_groups: [longhorn.io], namespaces: [a]}]}",
        "{name: g, deny: [{resources: [nodes, pods], namespaces: [a-b, 'c-*']}]}",
        "{name: g, deny: [{resources: ['*/exec'], api_groups: [apps, example.com]}]}",
        "{name: g, deny: [{resources: [deploymets]}, {resources: ['*/ex*'], verbs: [get]}]}",
        "{name: g, deny: [{resources: ['*'], api_groups: [apps], verbs: [create]}]}",
        "{name: g, deny: [{resources: [secrets], names: [a.b-c, 'root.*', '*']}, {resources: [foos], names: [Root_CA]}]}",
        "{name: g, deny: [{resources: [roles], names: ['system:x']}, {resources: [services/proxy], names: ['https:a:443']}]}",
        "{name: g, deny: [{resources: [apiservices], names: [v1.]}, {resources: [ipaddresses], names: ['::1']}]}",
        "{name: g, deny: [{non_resource_urls: [/, '/*', /metrics, '/debug/*', '/.well-known/*', '/a/.*', '*']}]}",
    ] {
        assert!(compile(&guards(guard)).is_ok(), "{guard}");
    }
}

#[test]
fn case_178_a_guard_is_for_users_whom_an_entry_can_give() {
    for (entry, users, others) in [
        (
            "email_domain: B.c, user: 'sso:{email}'",
            &["sso:x@b.c", "sso:x.y+z@b.c"][..],
            &["x@b.c", "sso:X@b.c", "sso:x@B.c"][..],
        ),
        (
            "email_domain: b.c, user: '{email}'",
            &["bob@b.c"],
            &["Bob@b.c", "bob@other.org", "bob@a.b.c", "@b.c", "b ob@b.c", "bob@b.c@d"],
        ),
        (
            "idp_group: g, user: 'X-{email}-y'",
            &["X-bob@other.org-y"],
            &["X-Bob@other.org-y", "x-bob@b.c-y", "X-bob@-y", "X-bob-y"],
        ),
        ("idp_group: g, user: x", &["x"], &["bob@b.c"]),
        ("email: Bob@B.c, user: '{email}/x'", &["bob@b.c/x"], &["Bob@B.c/x", "eve@b.c/x", "{email}/x"]),
        ("service_token: t.access, user: Ci, act_as: {users: [Root]}", &["Ci", "Root"], &["ci", "root"]),
    ] {
        let of = |user: &str| {
            compile(&format!(
                "identities: [{{{entry}}}]\nguards: [{{name: g, allow: read-only, for: {{users: ['{user}']}}}}]"
            ))
        };
        for user in users {
            assert!(of(user).is_ok(), "{entry}: {user}");
        }
        for user in others {
            assert!(of(user).is_err_and(|error| error.message.contains("no entry gives this name")), "{entry}: {user}");
        }
    }
}

#[test]
fn what_a_guard_asks_of_sessions_is_a_cell_of_its_line() {
    for (fields, cell) in [
        ("record: true", "output - 67108864 * *"),
        ("record: True", "output - 67108864 * *"),
        ("record: input, max_session: 4h", "input 14400 67108864 * *"),
        ("record: 'input', max_session: '10s', max_bytes: 64KiB", "input 10 65536 * *"),
        ("max_session: 90m, max_bytes: 96MiB", "- 5400 100663296 * *"),
        ("max_session: 168h", "- 604800 67108864 * *"),
        ("max_session: 1h30m", "- 5400 67108864 * *"),
        ("max_session: 1h5s", "- 3605 67108864 * *"),
        ("record: true, max_bytes: 512KiB", "output - 524288 * *"),
        ("record: true, streams: {namespaces: [prod-*, a], names: [web-*]}", "output - 67108864 prod-*,a web-*"),
        ("record: true, streams: {names: ['system:x']}", "output - 67108864 * system:x"),
        ("record: true, streams: {namespaces: [a, '*']}", "output - 67108864 * *"),
    ] {
        let tables = compile(&format!("{ENTRY}guards: [{{name: g, {fields}}}]\n"));
        let nodes = if cell.starts_with('-') { "" } else { "\t255 . nodes/proxy * *\n" };
        assert_eq!(tables.map(|tables| tables.guards), Ok(format!("g\t\t\t\t{cell}\n{nodes}")), "{fields}");
    }
    let beside =
        "guards: [{name: g, allow: read-only, record: true, deny: [{resources: [pods]}]}, {name: h, max_session: 1m}]";
    let expected = "g\t\t\tread-only\toutput - 67108864 * *\n\t255 * pods * *\n\t255 . nodes/proxy * *\nh\t\t\t\t- 60 67108864 * *\n";
    assert_eq!(compile(&format!("{ENTRY}{beside}")).unwrap().guards, expected);
}

#[test]
fn what_a_guard_cannot_ask_of_sessions_does_not_compile() {
    let expected = "expected hours, minutes and seconds, such as 4h, 90m or 1h30m, from 10s to 168h";
    for (fields, part) in [
        ("record: false", "record false: expected true, or input"),
        ("record: 'true'", "record \"true\": expected true, or input"),
        ("record: Input", "record \"Input\": expected true, or input"),
        ("record: output", "record \"output\": expected true, or input"),
        ("record: ''", "record \"\": expected true, or input"),
        ("record: yes", "quote it"),
        ("record: 1", "quote it"),
        ("record: [true]", "record: expected true, or input"),
        ("max_session: 9s", expected),
        ("max_session: 168h1s", expected),
        ("max_session: 604801s", expected),
        ("max_session: 1d", expected),
        ("max_session: 4H", expected),
        ("max_session: 4 h", expected),
        ("max_session: 1m1h", expected),
        ("max_session: 1h1h", expected),
        ("max_session: 1.5h", expected),
        ("max_session: 99999999999999999999h", expected),
        ("max_session: h", expected),
        ("max_session: '+4h'", expected),
        ("max_session: ''", expected),
        ("max_session: '3600'", expected),
        ("max_session: 3600", "quote it"),
        ("record: true, max_bytes: 63KiB", "from 64KiB to 96MiB"),
        ("record: true, max_bytes: 97MiB", "from 64KiB to 96MiB"),
        ("record: true, max_bytes: 98305KiB", "from 64KiB to 96MiB"),
        ("record: true, max_bytes: 64MB", "expected KiB or MiB, such as 512KiB or 64MiB"),
        ("record: true, max_bytes: 64 MiB", "expected KiB or MiB"),
        ("record: true, max_bytes: '67108864'", "expected KiB or MiB"),
        ("record: true, max_bytes: MiB", "expected KiB or MiB"),
        ("max_bytes: 1MiB", "max_bytes takes nothing away by itself: expected record or max_session"),
        ("allow: read-only, max_bytes: 1MiB", "max_bytes takes nothing away by itself"),
        ("allow: read-only, streams: {names: [web]}", "streams takes nothing away by itself"),
        ("record: true, streams: {}", "streams of no pod"),
        ("record: true, streams: {names: []}", "can never match: an empty list"),
        ("record: true, streams: {names: [a], namespaces: []}", "can never match: an empty list"),
        ("record: true, streams: {namespaces: [Prod]}", "namespace \"Prod\": expected the name of one, or with a *"),
        ("record: true, streams: {namespaces: ['p*d']}", "with a * at its end"),
        ("record: true, streams: {names: [a/b]}", "name \"a/b\": expected the name of one, or with a *"),
        ("record: true, streams: {names: ['']}", "with a * at its end"),
        ("record: true, streams: {pods: [a]}", "unknown field"),
        ("record: true, streams: [a]", "expected"),
        ("records: true", "unknown field"),
    ] {
        let error =
            compile(&format!("{ENTRY}guards:\n- {{name: g, record: true}}\n- {{name: h, {fields}}}\n")).unwrap_err();
        assert!(error.line == 4 && error.message.contains(part), "{fields}: {error}");
    }
}

#[test]
fn names_that_are_granted_are_held_to_the_rules_of_every_name() {
    for (grants, part) in [
        ("{groups: ['system:masters']}", "reserved"),
        ("{users: ['a,b']}", "no comma"),
        ("{users: ['{email}']}", "in an entry's user alone"),
        ("{groups: ['x-{email}']}", "in an entry's user alone"),
        ("{group: [a]}", "unknown field"),
    ] {
        let error = compile(&format!("{ENTRY}grants: {grants}\n")).unwrap_err();
        assert!(error.line == 2 && error.message.contains(part), "{grants}: {error}");
    }
}

#[test]
fn the_examples_of_the_documentation_compile() {
    let documents = [include_str!("../docs/policy.md"), include_str!("../README.md")];
    let blocks =
        documents.iter().flat_map(|text| text.split("```yaml\n").skip(1)).filter_map(|rest| rest.split("```").next());
    let whole: Vec<&str> = blocks.filter(|block| block.starts_with("identities:")).collect();
    assert_eq!(whole.len(), 5);
    for policy in whole {
        assert_eq!(compile(policy).map(|_| ()), Ok(()), "{policy}");
    }
}
