use super::*;

fn call(method: &str, target: &str, headers: &str) -> Option<Result<Call, Error>> {
    let text = format!("{method}\nhttps://kube.example.com{target}\n0\nid{headers}");
    let (head, _) = Head::read(&text);
    read(&head)
}

#[test]
fn each_path_of_the_gateway_itself_is_read_and_none_of_the_clusters() {
    let html = "\naccept:text/html,application/xhtml+xml,*/*;q=0.8";
    let file = |name: &str| Call::File(name.to_owned());
    for (method, target, headers, expected) in [
        ("GET", "/", html, Some(Call::Root)),
        ("GET", "/?x=1", html, Some(Call::Root)),
        ("GET", "/", "\naccept:*/*", None),
        ("GET", "/", "\naccept:text/html\nx-forwarded-for:127.0.0.1", None),
        ("POST", "/", html, None),
        ("GET", "/api", html, None),
        ("GET", "/.kube-accessories", html, None),
        ("GET", "/.kube-access", html, Some(Call::Root)),
        ("GET", "/.kube-access/", "", Some(file("index.html"))),
        ("HEAD", "/.kube-access/", "", Some(file("index.html"))),
        ("GET", "/.kube-access/healthz", "", Some(Call::Health)),
        ("GET", "/.kube-access/assets/page.js", "", Some(file("page.js"))),
        ("GET", "/.kube-access/me", "", Some(Call::Me("default".into()))),
        ("GET", "/.kube-access/me?namespace=team-a", "", Some(Call::Me("team-a".into()))),
        ("GET", "/.kube-access/kubeconfig", "", Some(Call::Kubeconfig)),
        ("GET", "/.kube-access/grants", "", Some(Call::Grants(grant::Call::List))),
        ("POST", "/.kube-access/grants", "", Some(Call::Grants(grant::Call::Give))),
        ("DELETE", "/.kube-access/grants/g-1", "", Some(Call::Grants(grant::Call::Take("g-1".into())))),
        ("POST", "/.kube-access/grants/g-1/end", "", Some(Call::Grants(grant::Call::Take("g-1".into())))),
    ] {
        assert_eq!(call(method, target, headers), expected.map(Ok), "{method} {target}");
    }
    for (method, target) in [
        ("GET", "/.kube-access"),
        ("GET", "/.kube-access/nothing"),
        ("POST", "/.kube-access/"),
        ("POST", "/.kube-access/me"),
        ("GET", "/.kube-access/assets/"),
        ("GET", "/.kube-access/assets/a/b.js"),
        ("GET", "/.kube-access/assets/..%2Fpage.js"),
        ("GET", "/.kube-access/assets/.assetsignore"),
        ("GET", "/.kube-access/assets/PAGE.JS"),
        ("GET", "/.kube-access//me"),
        ("GET", "/.kube-access/me/"),
        ("PUT", "/.kube-access/grants"),
        ("GET", "/.kube-access/grants/g-1"),
        ("GET", "/.kube-access/grantsomething"),
    ] {
        assert!(matches!(call(method, target, ""), Some(Err(_))), "{method} {target}");
    }
    for namespace in ["", "A", "a.b", "a/b", "a%00", "%C3%A9", &"x".repeat(64)] {
        let target = format!("/.kube-access/me?namespace={namespace}");
        assert_eq!(call("GET", &target, ""), Some(Err(Error::Namespace)), "{namespace}");
    }
}

#[test]
fn a_kubeconfig_names_its_host_whatever_that_is() {
    let text = kubeconfig("https://kube.example.com:8443");
    for line in [
        "  - name: \"kube.example.com:8443\"",
        "      server: \"https://kube.example.com:8443\"",
        "      token: access",
        "current-context: \"kube.example.com:8443\"",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    assert!(kubeconfig("https://a\"b\nc: d").contains(r#"server: "https://a\"b\nc: d""#));
}
