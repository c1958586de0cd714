//! The object of one stream in our hands. It walks the line again with the request that it was handed, so that nobody has to be believed
//! who is allowed; then it has the stream counted, the beginning of its recording stored, and only then the command run.

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::Array;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use worker::worker_sys::web_sys;
use worker::{DurableObject, Env, State, durable_object};

use super::keep::recover;
use super::live::{Live, SILENCE_MILLISECONDS, admitted};
use super::{Visit, Way, failure, plain, refuse, rim, streams, text};
use crate::gateway::{Journey, Plan};
use crate::own;
use crate::refusal::Refusal;
use crate::request::Request;
use crate::session::end::By;
use crate::session::facts::Facts;
use crate::session::{Error, id};

/// One for each stream, by the stream's name.
#[durable_object(alarm)]
#[derive(Debug)]
pub struct Session {
    state: JsValue,
    env: Env,
    live: RefCell<Option<Rc<Live>>>,
}

impl DurableObject for Session {
    fn new(state: State, env: Env) -> Self {
        Self { state: state._inner().into(), env, live: RefCell::default() }
    }

    async fn fetch(&self, request: worker::Request) -> worker::Result<worker::Response> {
        let request = request.inner();
        let url = request.url();
        // No request of a client's comes here with these: the gateway keeps such paths for itself.
        let answer = match url.as_str() {
            "http://object/.kube-access/manifest" => self.manifest(),
            "http://object/.kube-access/end" => {
                let reason = JsFuture::from(request.text()?).await?.as_string().unwrap_or_default();
                self.end(&reason)
            }
            "http://object/.kube-access/wait" => {
                JsFuture::from(streams::wait()).await?;
                plain("", 200, "text/plain")
            }
            _ => self.open(request).await,
        };
        Ok(answer?.into())
    }

    /// Comes when the object has said nothing for a while: since the runtime ended it, or since something waits to be stored.
    async fn alarm(&self) -> worker::Result<worker::Response> {
        if self.live().is_some() {
            // It may end before what it has left is stored.
            streams::rouse(&self.state, SILENCE_MILLISECONDS);
        } else {
            let known = JsFuture::from(streams::kept(&self.state)).await?;
            if known.is_array() {
                recover(&self.state, &self.env, &Array::from(&known)).await;
            }
        }
        worker::Response::empty()
    }
}

impl Session {
    /// The stream, as long as it goes on.
    fn live(&self) -> Option<Rc<Live>> {
        self.live.borrow().clone().filter(|live| !live.is_finished())
    }

    fn manifest(&self) -> Result<web_sys::Response, JsValue> {
        match self.live() {
            Some(live) => plain(&live.manifest(), 200, "application/json"),
            None => plain("", 404, "text/plain"),
        }
    }

    fn end(&self, reason: &str) -> Result<web_sys::Response, JsValue> {
        let live = self.live();
        if let Some(live) = &live {
            live.stop(By::Order, reason);
        }
        plain("", if live.is_some() { 200 } else { 404 }, "text/plain")
    }

    /// Opens the stream, or answers why not.
    async fn open(&self, request: &web_sys::Request) -> Result<web_sys::Response, JsValue> {
        let bytes = rim::reopen(request)?;
        let head = text(&bytes);
        let asked = Request::read(&head);
        let visit = Visit { request, env: &self.env, head: &bytes };
        let mut journey = Journey::default();
        let opened = match visit.walk(&asked, &mut journey, None).await {
            Ok(Way::Send(plan)) if plan.relay.is_some() => self.relay(&visit, &asked, plan).await,
            // No byte of it wakes the object, which is there to cut it off at its time.
            Ok(Way::Send(plan)) => visit.forward(&asked, &plan).await,
            Ok(Way::Own(_)) => Err(own::Error::Unknown.into()),
            Err(refusal) => Err(refusal),
        };
        opened.or_else(|refusal| refuse(&asked, &journey, &refusal))
    }

    async fn relay(
        &self,
        visit: &Visit<'_>,
        asked: &Request<'_>,
        plan: Plan<'_>,
    ) -> Result<web_sys::Response, Refusal> {
        let (Some(relay), Ok(target)) = (&plan.relay, &asked.target) else {
            return Err(Refusal::Failed("a stream that nobody bounds came to an object".into()));
        };
        let facts = Facts::of(asked, target, &plan.caller, relay);
        // By its ID it is found again: the name of its object says the same, or it could not be ended.
        if !asked.head.header("kube-access-stamp").is_some_and(|stamp| stamp.ends_with(&facts.id)) {
            return Err(Error::Changed.into());
        }
        let live = Rc::new(Live::new(&self.state, visit, asked, &plan.caller, facts, relay)?);
        if self.live.replace(Some(Rc::clone(&live))).is_some() {
            return Err(Refusal::Failed("a stream came to the object of another".into()));
        }
        live.open(visit, asked, &plan).await
    }
}

/// Hands a stream to its object.
pub(super) async fn hand(
    visit: &Visit<'_>,
    asked: &Request<'_>,
    plan: &Plan<'_>,
) -> Result<web_sys::Response, Refusal> {
    let head = &asked.head;
    let id = id::make(plan.caller.identity().user(), head.received, head.audit_id);
    let handed = streams::hand(visit.env, visit.request, &id, &format!("{} {} {id}", head.received, head.audit_id))?;
    let answer = JsFuture::from(handed).await.map_err(|error| failure(&error))?;
    Ok(answer.dyn_into()?)
}

/// Whether a stream could be in our hands, as one that goes on asks it, without one.
pub(super) async fn rehearse(visit: &Visit<'_>, asked: &Request<'_>, plan: &Plan<'_>) -> Result<(), Refusal> {
    let (Some(relay), Ok(target)) = (&plan.relay, &asked.target) else { return Ok(()) };
    let facts = Facts::of(asked, target, &plan.caller, relay);
    let body = format!("{}\n{}\n{}\n", facts.id, facts.user(), relay.most);
    admitted(streams::command(visit.env, "", "try", &body, Some(visit.request)), relay.most).await?;
    if facts.is_recorded() && JsFuture::from(streams::probe(visit.env, &facts.id)?).await.is_err() {
        return Err(Error::NoStore.into());
    }
    Ok(())
}
