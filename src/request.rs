//! A request as it was read, once: its head, what it asks for, and how its client wants to speak.

use crate::head::{self, Head};
use crate::protocol::{self, Protocol};
use crate::target::{self, Target};

/// What is known of a request before anybody is asked about it.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// Method, URL, header lines.
    pub head: Head<'a>,
    /// Why no more than that is read, if so.
    pub excess: Option<head::Error>,
    /// Verb and resource, as kube-apiserver reads them.
    pub target: Result<Target<'a>, target::Error>,
    /// HTTP, a WebSocket, or what it cannot be.
    pub protocol: Result<Protocol, protocol::Error>,
}

impl<'a> Request<'a> {
    /// Reads the text of [`Head::read`].
    #[must_use]
    pub fn read(text: &'a str) -> Self {
        let (head, excess) = Head::read(text);
        Self { target: Target::parse(head.method, head.target), protocol: Protocol::parse(&head), excess, head }
    }

    /// Whether the answer comes from a workload or a node, and not from the API server.
    #[must_use]
    pub fn is_proxied(&self) -> bool {
        self.target.as_ref().is_ok_and(Target::is_proxy)
    }

    /// Whether the client asked for another protocol than HTTP.
    #[must_use]
    pub fn is_upgrade(&self) -> bool {
        self.protocol != Ok(Protocol::Http)
    }
}
