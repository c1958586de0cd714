use hyper::header::ACCEPT;

use super::*;

#[test]
fn what_a_caller_says_of_who_they_are_does_not_go_on() {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("host", "127.0.0.1:6440"),
        ("authorization", "Bearer ours"),
        ("cf-access-client-id", "another"),
        ("cf-access-token", "another"),
        ("connection", "keep-alive, x"),
        ("te", "trailers"),
        ("accept", "application/json"),
        ("cookie", "a=b; CF_Authorization=another;CF_AppSession=x; c=CF_d"),
        ("sec-websocket-protocol", "base64url.bearer.authorization.k8s.io.b3Vycw, v5.channel.k8s.io"),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    strip(&mut headers);
    let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, [ACCEPT.as_str(), COOKIE.as_str(), SEC_WEBSOCKET_PROTOCOL.as_str()]);
    assert_eq!(headers[SEC_WEBSOCKET_PROTOCOL], "v5.channel.k8s.io");
    assert_eq!(headers[COOKIE], "a=b; c=CF_d");
    headers.insert(COOKIE, HeaderValue::from_static("CF_Authorization=another"));
    strip(&mut headers);
    assert!(!headers.contains_key(COOKIE));
}

#[test]
fn what_access_remembers_the_caller_by_does_not_come_back() {
    let mut headers = HeaderMap::new();
    for cookie in ["a=b", "CF_Authorization=eyJ; HttpOnly", "c=CF_d", "CF_AppSession=x"] {
        headers.append(SET_COOKIE, HeaderValue::from_static(cookie));
    }
    forget_sessions(&mut headers);
    assert_eq!(headers.get_all(SET_COOKIE).iter().collect::<Vec<_>>(), ["a=b", "c=CF_d"]);
}

#[test]
fn a_stranger_at_access_is_told_so_and_the_clusters_own_refusals_pass() {
    let answer = |status: u16, headers: &[(&str, &str)]| {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        for (name, value) in headers {
            response.headers_mut().insert(HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        is_login(&response) || is_refused(&response)
    };
    assert!(answer(
        302,
        &[("location", "https://team.cloudflareaccess.com/cdn-cgi/access/login/kube.example.com?kid=x")]
    ));
    assert!(answer(401, &[]) && answer(401, &[("content-type", "text/html")]));
    assert!(answer(403, &[("content-type", "text/html"), ("cf-access-error", "x")]));
    assert!(!answer(302, &[("location", "/api/v1/namespaces/n/services/s/proxy/")]), "a workload's");
    assert!(
        !answer(401, &[("content-type", "application/json")]) && !answer(403, &[("content-type", "application/json")])
    );
    assert!(!answer(200, &[("content-type", "text/html")]));
}

#[tokio::test]
async fn what_one_side_breaks_takes_nothing_from_what_the_other_still_carries() {
    // The command has ended: what is written to it breaks, and its last words are still to be read.
    let (mut client, ours) = tokio::io::duplex(64);
    let (mut from_client, mut to_client) = split(ours);
    let mut gone = Broken;
    let mut words = &b"the last words"[..];
    let forgetting = carry(&mut from_client, &mut gone, AfterBreak::Forget);
    let telling = carry(&mut words, &mut to_client, AfterBreak::Stop);
    let talking = async {
        client.write_all(&[0; 4096]).await.unwrap();
        let mut heard = vec![0; 14];
        client.read_exact(&mut heard).await.unwrap();
        drop(client);
        heard
    };
    let ((), (), heard) = tokio::join!(forgetting, telling, talking);
    assert_eq!(heard, b"the last words");
}

/// A connection that was reset.
struct Broken;

impl AsyncWrite for Broken {
    fn poll_write(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        _: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        std::task::Poll::Ready(Err(std::io::ErrorKind::ConnectionReset.into()))
    }

    fn poll_flush(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn poll_shutdown(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }
}
