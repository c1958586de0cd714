//! kube-access: an identity-aware gateway in front of a private Kubernetes API server, as a Cloudflare Worker.
//!
//! Cloudflare Access decides who may knock and signs an identity token for every request. The gateway verifies it,
//! names the caller to Kubernetes, and hands the request through Workers VPC to the last hop in the cluster: `kubectl proxy`, or
//! one that asks for a signature. What the caller may do there is for the API server's RBAC. Nothing that a caller sends changes who they are.
//!
//! A request walks through the files in this order, and each step takes what the last one proved:
//!
//! | step | file | takes | gives |
//! |---|---|---|---|
//! | 1 | [`head`], [`target`], [`protocol`] | the request | [`request::Request`]: read once, in one spelling, and handed on |
//! | 2 | [`token`] | `Cf-Access-Jwt-Assertion` | [`token::Untrusted`]: well-formed, and no more |
//! | 3 | [`keys`] | its `kid` | the team's key; Access is **asked** for the certs when needed |
//! | 4 | [`token`] | key and token; `WebCrypto` is **asked** | [`token::Signed`] |
//! | 5 | [`token`] | issuer, audience, times | [`token::Claims`] |
//! | 6 | [`identity`] | the claims, the compiled map; Workers KV is **asked** where it is bound, Access about groups where an entry names one | [`identity::Identity`] |
//! | 7 | [`caller`] | the identity | [`caller::Caller`], remembered until token, key or entry ends |
//! | 8 | [`browser`] | the request | refused, if a web page made it |
//! | 9 | [`guard`] | caller, target | refused, if a guard of the policy takes it away |
//! | 10 | [`impersonation`] | `--as`; the API server is **asked** whether the caller may | the caller, as somebody else |
//! | 11 | [`upstream`], [`signature`] | head, target, protocol | the head to send; signed, where the last hop asks for it |
//! | 12 | `edge` | that head, the body | sent to the cluster; what comes back streams through. A stream that a guard records or bounds is handed to an object of its own, which walks the line again: [`session`] says what becomes of its messages |
//! | 13 | [`answer`] | what came back | passed through, changed, or a failure of the way |
//! | 14 | [`audit`] | all of it | one line, one event |
//!
//! The gateway's own paths ([`own`]) leave the line after step 8: the page, [`me`] with what [`rights`] tells, [`grant`] and
//! [`session::own`], for which the API server is asked by [`review`].
//!
//! [`gateway`] walks this line, and is the only one that does: a machine without I/O, whose one `step` says what to send, what to
//! refuse, or whom to ask. Every step may end in a [`refusal::Refusal`] instead, and nothing goes upstream. A client that goes away
//! ends its request's waits, so that nothing of it stays: see `edge/rim.js`. While an isolate starts, [`rehearsal`] has it walk once.
//!
//! Only `edge` knows the Workers runtime; the compiler sees to it, since `worker` is a dependency of the wasm32 target
//! alone. Everything that decides is plain Rust, runs under `cargo test`, and takes the time as an argument.

pub mod answer;
pub mod audit;
pub mod browser;
pub mod caller;
pub mod config;
pub mod deadline;
pub mod gateway;
pub mod grant;
pub mod guard;
pub mod head;
pub mod identity;
pub mod impersonation;
mod json;
pub mod keys;
pub mod me;
pub mod own;
pub mod protocol;
pub mod record;
pub mod refusal;
pub mod rehearsal;
pub mod request;
pub mod review;
pub mod rights;
pub mod session;
pub mod signature;
pub mod target;
pub mod token;
pub mod upstream;

#[cfg(target_arch = "wasm32")]
mod edge;
