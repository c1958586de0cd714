//! What becomes of a request for the gateway itself.

use super::{Gateway, Journey, Question, Review, Step, Unanswered};
use crate::browser;
use crate::caller::Caller;
use crate::config::Features;
use crate::grant::{self, Whose, Wish};
use crate::impersonation;
use crate::me::{self, Answers};
use crate::own::{Call, Error, MAX_BODY_BYTES, OF_STRANGERS, Reply, kubeconfig};
use crate::refusal::Refusal;
use crate::request::Request;
use crate::review::{self, Attributes};
use crate::rights;
use crate::session::own as sessions;
use crate::target::Target;

const VERSION: &str = "/version";

/// As many as are told, each as a row without its object.
const NAMESPACES: &str = "/api/v1/namespaces?limit=500&includeObject=None";

/// The form in which kubectl has its tables (Kubernetes, "Receiving resources as Tables").
const AS_TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

impl Gateway<'_> {
    /// What becomes of a request for the gateway itself, from everybody who enters.
    pub(super) fn answer<'a>(
        &mut self,
        request: &Request<'a>,
        journey: &mut Journey<'a>,
        call: Call,
    ) -> Result<Reply, Step<'static>> {
        if call == Call::Health {
            return Ok(Reply::Health);
        }
        let reach = call.reach();
        let caller = match self.recognise(request, journey) {
            Err(Step::Refuse(Refusal::Identity(_))) if call == Call::File(OF_STRANGERS.to_owned()) => {
                browser::check_own(request, reach)?;
                return Ok(Reply::File(OF_STRANGERS.to_owned()));
            }
            recognised => recognised?,
        };
        browser::check_own(request, reach)?;
        if impersonation::Wish::is_there(&request.head) {
            return Err(Refusal::from(Error::AsAnother).into());
        }
        match call {
            Call::Health => Ok(Reply::Health),
            Call::Root => Ok(Reply::Moved),
            Call::File(name) => Ok(Reply::File(name)),
            Call::Kubeconfig => {
                let (scheme, authority) = request.head.reached();
                let name = authority.replace(|letter: char| !letter.is_ascii_alphanumeric() && letter != '.', "-");
                Ok(Reply::Download(format!("{name}.kubeconfig"), kubeconfig(&[scheme, "://", authority].concat())))
            }
            Call::Me(namespace) => self.tell(request, journey, &caller, &namespace),
            Call::Sessions(call) => self.show(request, journey, &caller, call),
            Call::Grants(call) => self.grant(request, journey, &caller, call),
        }
    }

    /// Who the caller is, and what they may do.
    fn tell(
        &self,
        request: &Request<'_>,
        journey: &Journey<'_>,
        caller: &Caller,
        namespace: &str,
    ) -> Result<Reply, Step<'static>> {
        // What a guard takes away is not asked for either.
        let target = Target::parse("GET", NAMESPACES).map_err(Refusal::from)?;
        let guarded = self.guards.check(caller.held(), &target).map_err(|error| error.to_string());
        let Some(answers) = &journey.reviews else {
            let version = Review { target: VERSION, ..Review::default() };
            let namespaces = Review { target: NAMESPACES, accept: AS_TABLE, most: me::MAX_BYTES, ..Review::default() };
            let namespaces = guarded.is_ok().then_some(namespaces);
            let asked = [Some(version), Some(rules_review(namespace)), namespaces].into_iter().flatten().enumerate();
            let asked = asked.map(|(index, review)| self.ask(request, caller, index, review));
            return Err(Step::Ask(Question::Reviews(asked.collect())));
        };
        let answer = |place: usize| answers.get(place).and_then(Option::as_deref);
        let namespaces = guarded.as_ref().map(|()| answer(2)).map_err(String::as_str);
        let answers = Answers { version: answer(0), rights: answer(1), namespaces };
        let config = self.config.as_ref().map_err(Clone::clone)?;
        let features = config.features;
        let features = Features { grants: features.grants && self.map.granted_groups().next().is_some(), ..features };
        let question = me::Question {
            caller,
            host: request.head.reached().1,
            namespace,
            guards: &self.guards,
            features,
            contact: &config.contact,
        };
        Ok(Reply::Json(me::json(question, answers)))
    }

    /// What becomes of a request about sessions.
    fn show(
        &self,
        request: &Request<'_>,
        journey: &Journey<'_>,
        caller: &Caller,
        call: sessions::Call,
    ) -> Result<Reply, Step<'static>> {
        if !self.config.as_ref().is_ok_and(|config| config.features.sessions) {
            return Err(sessions::Error::Off.into());
        }
        let call = if let sessions::Call::End(id, None) = call {
            sessions::Call::End(id, Some(sessions::reason_of(body(request, journey)?)))
        } else {
            call
        };
        let user = caller.identity().user();
        let Some(asked) = call.question(user) else {
            return Ok(Reply::Sessions(call));
        };
        if let Err(taken) = self.check_own(caller, asked) {
            return call.narrowed(user).map(Reply::Sessions).map_err(|_| taken);
        }
        let Some(answers) = &journey.reviews else {
            let review = self.review(request, caller, 0, asked);
            return Err(Step::Ask(Question::Reviews(vec![review])));
        };
        let answer = answers.first().and_then(Option::as_deref);
        if review::is_allowed(answer).ok_or(sessions::Error::Unanswered)? {
            return Ok(Reply::Sessions(call));
        }
        Ok(Reply::Sessions(call.narrowed(user)?))
    }

    /// What becomes of a request about grants.
    fn grant(
        &self,
        request: &Request<'_>,
        journey: &Journey<'_>,
        caller: &Caller,
        call: grant::Call,
    ) -> Result<Reply, Step<'static>> {
        let groups: Vec<String> = self.map.granted_groups().map(str::to_owned).collect();
        if groups.is_empty() || !self.config.as_ref().is_ok_and(|config| config.features.grants) {
            return Err(grant::Error::Off.into());
        }
        let (user, now) = (caller.identity().user(), request.head.now());
        let ask = |verb, groups: &[String]| {
            let review = |(index, group): (usize, &String)| {
                let asked = grant::question(verb, group);
                self.check_own(caller, asked)?;
                Ok(self.review(request, caller, index, asked))
            };
            let reviews = groups.iter().enumerate().map(review).collect::<Result<_, Step<'static>>>()?;
            Err(Step::Ask(Question::Reviews(reviews)))
        };
        match call {
            grant::Call::List => {
                let list = grant::question("list", "");
                let passes = |asked: Attributes<'_>| self.check_own(caller, asked).is_ok();
                let Some(answers) = &journey.reviews else {
                    let rules = self.ask(request, caller, 0, rules_review("default"));
                    let all = passes(list).then(|| self.review(request, caller, 1, list));
                    return Err(Step::Ask(Question::Reviews([Some(rules), all].into_iter().flatten().collect())));
                };
                let answer = |place: usize| answers.get(place).and_then(Option::as_deref);
                let sees_all = passes(list) && review::is_allowed(answer(1)).ok_or(grant::Error::Unanswered)?;
                let whose = if sees_all { Whose::Everybody } else { Whose::Caller(grant::key_of(caller.identity())) };
                let opening = grant::opening(&whose, &groups, answer(0), passes);
                Ok(Reply::Grants(whose, opening))
            }
            grant::Call::Give => {
                let wish = Wish::read(body(request, journey)?, &self.map, now)?;
                let Some(answers) = &journey.reviews else {
                    return ask("create", &wish.groups);
                };
                grant::check("give", user, &wish.groups, answers)?;
                let (to, is_for_somebody) = (wish.to.clone(), self.map.may_let_in(&wish.to));
                Ok(Reply::Give(to, wish.granted(user, &request.head), is_for_somebody))
            }
            grant::Call::Take(id) => {
                if request.head.method == "POST" {
                    body(request, journey)?;
                }
                let Some(kept) = &journey.grants else {
                    return Err(Step::Ask(Question::Grants));
                };
                let kept = kept.as_ref().map_err(|Unanswered| grant::Error::Unwritable)?;
                let held = grant::held(kept, now);
                let found = held.iter().find(|grant| grant.id == id);
                let found = found.ok_or_else(|| grant::Error::NoSuch(id.clone()))?;
                // Fewer rights are free.
                if grant::key_of(caller.identity()).as_deref() != Some(found.to) {
                    let Some(answers) = &journey.reviews else {
                        return ask("delete", &found.groups);
                    };
                    grant::check("take back", user, &found.groups, answers)?;
                }
                let taken = found.json();
                Ok(Reply::Take(id, taken))
            }
        }
    }

    /// Lets pass what no guard takes away of the gateway's own, whatever RBAC gives of it.
    fn check_own(&self, caller: &Caller, asked: Attributes<'_>) -> Result<(), Step<'static>> {
        self.guards.check(caller.held(), &asked.target()).map_err(|taken| Refusal::from(taken).into())
    }
}

/// The question what RBAC lets a caller do in a namespace.
fn rules_review(namespace: &str) -> Review {
    let body = rights::body(namespace);
    Review { method: "POST", target: rights::PATH, body, most: me::MAX_BYTES, ..Review::default() }
}

/// The body of a change. It says that it is JSON, which no page of another site can have a browser say; kubectl says nothing, and has
/// neither an origin nor a cookie.
fn body<'j>(request: &Request<'_>, journey: &'j Journey<'_>) -> Result<&'j str, Step<'static>> {
    let head = &request.head;
    let is_json = head.header("content-type").map_or_else(
        || head.header("origin").is_none() && head.header("cookie").is_none(),
        |kind| kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json"),
    );
    if !is_json {
        return Err(Refusal::from(Error::NoJson).into());
    }
    let body = journey.body.as_ref().ok_or(Step::Ask(Question::Body(MAX_BODY_BYTES)))?;
    body.as_deref().map_err(|Unanswered| Refusal::from(Error::NoJson).into())
}
