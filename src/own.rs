//! The gateway's own paths, under `/.kube-access`: nothing below them goes to the cluster, but for what the gateway asks it as the caller.

use crate::browser::{self, Reach};
use crate::grant;
use crate::head::Head;
use crate::me;
use crate::session::own as sessions;
use crate::target;

/// Below this the paths are the gateway's.
const RESERVED: &str = "/.kube-access";

/// Where the page is.
pub const HOME: &str = "/.kube-access/";

/// Where a monitor may ask whether the Worker runs. The answer is the same for everybody.
const HEALTH: &str = "/.kube-access/healthz";

/// Where the page's other files are.
const ASSETS: &str = "/.kube-access/assets/";

const KUBECONFIG: &str = "/.kube-access/kubeconfig";

/// What the page of a stranger looks like. It is for everybody whom Access knows; every other file is for those who enter.
pub const OF_STRANGERS: &str = "refused.css";

/// Where [`OF_STRANGERS`] is.
#[must_use]
pub fn of_strangers() -> String {
    [ASSETS, OF_STRANGERS].concat()
}

/// The longest body of a request for the gateway itself, in bytes.
pub const MAX_BODY_BYTES: usize = 16 * 1024;

/// What is answered to a change that was made.
pub const SUCCESS: &str = "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Success\"}\n";

/// What the gateway does not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No such path, or method.
    #[error("the gateway itself has nothing at this path")]
    Unknown,
    /// Headers of `--as`.
    #[error("the gateway's own paths answer you as yourself: leave out --as, --as-group, --as-uid and --as-user-extra")]
    AsAnother,
    /// An option of the query.
    #[error("namespace is the name of one: at most 63 lower-case letters, digits and hyphens")]
    Namespace,
    /// A change whose body is none.
    #[error("a change comes as JSON, with Content-Type: application/json, of at most 16 KiB")]
    NoJson,
    /// No assets are bound.
    #[error("this gateway has no page: its administrator can bind one (ASSETS in wrangler.toml), and deploy again")]
    NoPage,
    /// Of sessions.
    #[error(transparent)]
    Sessions(#[from] sessions::Error),
    /// Of grants.
    #[error(transparent)]
    Grants(#[from] grant::Error),
}

/// What is asked of the gateway itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// Whether it runs.
    Health,
    /// The page, by another address.
    Root,
    /// A file of the page.
    File(String),
    /// The caller themselves, and their rights in a namespace.
    Me(String),
    /// A kubeconfig.
    Kubeconfig,
    /// Sessions.
    Sessions(sessions::Call),
    /// Grants.
    Grants(grant::Call),
}

/// What the gateway answers, once it is ruled that it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// That it runs.
    Health,
    /// That the page is at [`HOME`].
    Moved,
    /// A file of the page.
    File(String),
    /// JSON.
    Json(String),
    /// A file to keep: its name, and its text.
    Download(String, String),
    /// About sessions, whoever they belong to.
    Sessions(sessions::Call),
    /// The grants that hold: whose, and the beginning of the answer.
    Grants(grant::Whose, String),
    /// A grant, to whom, as it is kept, and whether an entry may let them in.
    Give(String, grant::Grant, bool),
    /// The end of a grant of this name, which is this.
    Take(String, String),
}

/// Reads a request for the gateway itself. Nothing, if it is for the cluster.
#[must_use]
pub fn read(head: &Head<'_>) -> Option<Result<Call, Error>> {
    let (path, query) = target::split(head.target);
    let is_read = matches!(head.method, "GET" | "HEAD");
    // Through a proxy on the caller's own machine `/` is the API server's, as ever.
    if matches!(path, "/" | RESERVED) && wants_page(head) && !browser::is_by_local_proxy(head) {
        return Some(Ok(Call::Root));
    }
    path.strip_prefix(RESERVED).filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
    let call = match path {
        HEALTH if is_read => Ok(Call::Health),
        HOME if is_read => Ok(Call::File("index.html".to_owned())),
        me::PATH if head.method == "GET" => namespace(query).map(Call::Me),
        KUBECONFIG if head.method == "GET" => Ok(Call::Kubeconfig),
        _ if path.starts_with(ASSETS) && is_read => file(path).map(Call::File),
        _ => {
            let of_sessions = || Some(sessions::read(head)?.map(Call::Sessions).map_err(Error::from));
            let of_grants = || Some(grant::read(head)?.map(Call::Grants).map_err(Error::from));
            of_sessions().or_else(of_grants).unwrap_or(Err(Error::Unknown))
        }
    };
    Some(call)
}

/// Whether a request is answered by a page, also where it is refused: a browser's, for the page or its address.
#[must_use]
pub fn wants_page(head: &Head<'_>) -> bool {
    let (path, _) = target::split(head.target);
    let is_html = |kind: &str| kind.split(';').next().is_some_and(|kind| kind.trim() == "text/html");
    let takes_html = || head.header("accept").is_some_and(|accept| accept.split(',').any(is_html));
    matches!(path, "/" | RESERVED | HOME) && matches!(head.method, "GET" | "HEAD") && takes_html()
}

/// Whether somebody is told in JSON what they asked of the gateway, also that it is refused.
#[must_use]
pub fn is_api(head: &Head<'_>) -> bool {
    let (path, _) = target::split(head.target);
    [me::PATH, KUBECONFIG, sessions::PATH, grant::PATH].iter().any(|own| path.starts_with(own))
}

fn file(path: &str) -> Result<String, Error> {
    let name = path.strip_prefix(ASSETS).unwrap_or_default();
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
    let is_one = (1..=64).contains(&name.len()) && name.bytes().all(is_plain) && !name.starts_with('.');
    is_one.then(|| name.to_owned()).ok_or(Error::Unknown)
}

/// The namespace of a query: RFC 1123's label, as Kubernetes has them.
fn namespace(query: &str) -> Result<String, Error> {
    let name = target::values(query, "namespace").next().unwrap_or_else(|| "default".to_owned());
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_one = (1..=63).contains(&name.len()) && name.bytes().all(is_plain);
    is_one.then_some(name).ok_or(Error::Namespace)
}

impl Call {
    /// What a browser may do with it.
    #[must_use]
    pub fn reach(&self) -> Reach {
        use grant::Call::{Give, List, Take};
        use sessions::Call::End;
        match self {
            Self::Root | Self::Health => Reach::Document,
            Self::File(name) if name == "index.html" => Reach::Document,
            Self::Sessions(End(..)) | Self::Grants(Give | Take(_)) => Reach::Change,
            Self::File(_) | Self::Me(_) | Self::Kubeconfig | Self::Sessions(_) | Self::Grants(List) => Reach::Data,
        }
    }
}

/// The kubeconfig of a host: YAML, in which every text of JSON is one. kubectl asks for a password unless there is some token, and the
/// gateway takes none.
#[must_use]
pub fn kubeconfig(origin: &str) -> String {
    let host = origin.split_once("://").map_or(origin, |(_, host)| host);
    let [host, server] = [host, origin].map(|text| serde_json::to_string(text).unwrap_or_default());
    format!(
        "apiVersion: v1\nkind: Config\nclusters:\n  - name: {host}\n    cluster:\n      server: {server}\nusers:\n  - name: {host}\n    \
         user:\n      token: access\ncontexts:\n  - name: {host}\n    context:\n      cluster: {host}\n      user: {host}\ncurrent-context: {host}\n"
    )
}

#[cfg(test)]
mod tests;
