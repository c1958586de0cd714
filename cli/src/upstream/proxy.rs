//! The proxy that an environment names for an origin, and what it excepts. One that cannot be read is an error: to go past it would show
//! a secret to a way that nobody chose.

use std::ffi::OsString;
use std::net::IpAddr;

use hyper::Uri;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};

use crate::failure::Failure;

/// Where proxies are named; the first that is not empty counts.
const PROXIES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// Where hosts are named that are reached without.
const EXCEPTIONS: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// The proxy for this origin, if there is one. What is not reached by TLS is on this machine.
pub(super) fn named(origin: &Uri, variable: impl Fn(&str) -> Option<OsString>) -> Result<Option<Intercept>, Failure> {
    let first = |names: &[&'static str]| {
        let mut set = names.iter().filter_map(|name| Some((*name, variable(name)?)));
        set.find(|(_, value)| !value.is_empty())
    };
    let Some((name, value)) = first(&PROXIES).filter(|_| origin.scheme_str() == Some("https")) else { return Ok(None) };
    let exceptions = first(&EXCEPTIONS).map(|(_, list)| list.to_string_lossy().into_owned()).unwrap_or_default();
    if is_excepted(origin, &exceptions) {
        return Ok(None);
    }
    let read = value.to_str().and_then(|value| read(value.trim(), origin));
    read.map(Some).ok_or_else(|| {
        // The value may hold a password.
        let advice =
            "such as http://proxy.example.com:3128 or socks5://proxy.example.com, with a password percent-encoded";
        Failure::new(format!("{name} is no proxy's address: expected one {advice}, or nothing"))
    })
}

fn read(value: &str, origin: &Uri) -> Option<Intercept> {
    let proxy = Matcher::builder().all(value).build().intercept(origin)?;
    let authority = proxy.uri().authority()?;
    let port = authority.as_str().strip_prefix(authority.host())?;
    (!authority.host().is_empty() && (port.is_empty() || authority.port_u16().is_some())).then_some(proxy)
}

/// Whether a list such as `example.com,10.0.0.0/8,192.0.2.1:8443,*` names this origin. The matcher knows neither ports, nor addresses
/// under `*`.
fn is_excepted(origin: &Uri, list: &str) -> bool {
    let port = origin.port_u16().unwrap_or(443);
    let entries = || list.split(',').map(str::trim);
    let of_this_port = |entry| match split_port(entry) {
        (host, Some(of)) => (of == port).then_some(host),
        (host, None) => Some(host),
    };
    let hosts: Vec<&str> = entries().filter_map(of_this_port).collect();
    let matcher = Matcher::builder().all("http://proxy").no(hosts.join(",")).build();
    entries().any(|entry| entry == "*") || matcher.intercept(origin).is_none()
}

/// Host and port of an entry; the colons of an address of IPv6 are no port's.
fn split_port(entry: &str) -> (&str, Option<u16>) {
    let is_address = entry.parse::<IpAddr>().is_ok();
    let (host, port) = match entry.rsplit_once(':').filter(|_| !is_address) {
        Some((host, port)) => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (entry, None),
        },
        None => (entry, None),
    };
    (host.trim_start_matches('[').trim_end_matches(']'), port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(origin: &str, variables: &[(&str, &str)]) -> Result<Option<String>, Failure> {
        let variable = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
        let found = named(&origin.parse().unwrap(), variable)?;
        Ok(found.map(|proxy| proxy.uri().to_string()))
    }

    #[test]
    fn the_first_variable_that_is_not_empty_names_the_proxy() {
        let origin = "https://kube.example.com";
        assert_eq!(of(origin, &[]), Ok(None));
        assert_eq!(of(origin, &[("HTTPS_PROXY", "")]), Ok(None));
        for variables in [
            &[("HTTPS_PROXY", "http://p:1"), ("ALL_PROXY", "http://q:2")][..],
            &[("HTTPS_PROXY", ""), ("https_proxy", " http://u:w@p:1 ")],
            &[("all_proxy", "p:1")],
        ] {
            assert_eq!(of(origin, variables), Ok(Some("http://p:1/".into())), "{variables:?}");
        }
        assert_eq!(of("http://127.0.0.1:1", &[("ALL_PROXY", "http://p:1")]), Ok(None), "this machine's");
    }

    #[test]
    fn what_is_no_proxy_is_never_gone_past() {
        for value in
            ["http://u:p ss@127.0.0.1:1", "nonsense://", "http://", "://x", "http://p:99999", "http://:1", "ftp://p"]
        {
            let failure = of("https://kube.example.com", &[("HTTPS_PROXY", value)]).unwrap_err().to_string();
            assert!(failure.starts_with("HTTPS_PROXY is no proxy's address") && !failure.contains("ss@"), "{failure}");
        }
    }

    #[test]
    fn exceptions_may_be_names_addresses_networks_and_ports() {
        for (origin, list, is_direct) in [
            ("https://kube.example.com", "example.com", true),
            ("https://kube.example.com", ".example.com:443, x", true),
            ("https://kube.example.com", "kube.example.com:8443", false),
            ("https://kube.example.com", "*", true),
            ("https://127.0.0.1:8899", "*", true),
            ("https://127.0.0.1:8899", "127.0.0.1:8899", true),
            ("https://127.0.0.1:8899", "127.0.0.1:1", false),
            ("https://127.0.0.1:8899", "127.0.0.0/8", true),
            ("https://[::1]:8899", "[::1]:8899", true),
            ("https://[::1]:8899", "::1", true),
            ("https://[::1]:8899", "", false),
        ] {
            let found = of(origin, &[("ALL_PROXY", "http://p:1"), ("NO_PROXY", list)]).unwrap();
            assert_eq!(found.is_none(), is_direct, "{origin} {list}");
        }
    }
}
