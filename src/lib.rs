//! kube-access: an identity-aware gateway in front of a private Kubernetes API server, as a Cloudflare Worker.
//!
//! Cloudflare Access decides who may knock and signs an identity token for every request. The gateway verifies it,
//! names the caller to Kubernetes, and hands the request through Workers VPC to `kubectl proxy` in the cluster. What the
//! caller may do there is for the API server's RBAC. Nothing that a caller sends changes who they are.
//!
//! A request walks through the files in this order, and each step takes what the last one proved:
//!
//! | step | file | takes | gives |
//! |---|---|---|---|
//! | 1 | `edge` | the request | [`head::Head`]: method, URL, header lines, the time, an audit ID |
//! | 2 | [`token`] | `Cf-Access-Jwt-Assertion` | [`token::Untrusted`]: well-formed, and no more |
//! | 3 | [`keys`] | its `kid` | the team's key, fetched when needed |
//! | 4 | `edge` | key and token | [`token::Signed`], by `WebCrypto` |
//! | 5 | [`token`] | issuer, audience, times | [`token::Claims`] |
//! | 6 | [`identity`] | the claims, the compiled map | [`identity::Identity`] |
//! | 7 | [`caller`] | the identity | [`caller::Caller`], remembered until the token expires |
//! | 8 | [`target`] | method and path | [`target::Target`], as kube-apiserver reads it |
//! | 9 | [`upstream`] | head and caller | the head to send |
//! | 10 | `edge` | that head, the body | the cluster's answer, passed through |
//! | 11 | [`audit`] | all of it | one line |
//!
//! Every step may end in a [`refusal::Refusal`] instead, and nothing goes upstream.
//!
//! Only `edge` knows the Workers runtime; the compiler sees to it, since `worker` is a dependency of the wasm32 target
//! alone. Everything that decides is plain Rust, runs under `cargo test`, and takes the time as an argument.

pub mod answer;
pub mod audit;
pub mod browser;
pub mod caller;
pub mod config;
pub mod gateway;
pub mod head;
pub mod identity;
mod json;
pub mod keys;
pub mod protocol;
pub mod refusal;
pub mod request;
pub mod target;
pub mod token;
pub mod upstream;

#[cfg(target_arch = "wasm32")]
mod edge;
