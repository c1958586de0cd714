//! kubectl, run by us: whatever lets it in, a token, a certificate, a program that the kubeconfig names or a proxy on this machine, lets
//! this in too. No credential is read, kept or passed on here.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use clap::Args;
use serde_json::Value;

use crate::failure::Failure;
use crate::print;
use crate::text::visible_lines;

/// How much is kept of what kubectl complains of, in bytes.
const MAX_COMPLAINT_BYTES: usize = 16_384;

/// Which kubectl, and by which of its contexts.
#[derive(Debug, Clone, Args)]
pub(crate) struct Kubectl {
    /// kubectl's kubeconfig, with the context that leads to the gateway
    #[arg(long, value_name = "FILE", global = true)]
    kubeconfig: Option<PathBuf>,
    /// Another context than the current one
    #[arg(long, value_name = "NAME", global = true)]
    context: Option<String>,
    /// The kubectl to run
    #[arg(long, value_name = "PATH", global = true, env = "KUBECTL", default_value = "kubectl")]
    #[allow(clippy::struct_field_names, reason = "it is the name of the option")]
    kubectl: PathBuf,
}

/// kubectl did not do what it was asked for.
#[derive(Debug)]
pub(crate) struct Refused {
    /// What it said, and what may help.
    pub(crate) message: String,
    /// The API's word for it, such as `NotFound`, where there was an answer.
    pub(crate) reason: Option<String>,
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        if refused.message.is_empty() { Self::said(1) } else { Self::new(refused.message) }
    }
}

impl Kubectl {
    /// kubectl with nothing but its environment.
    pub(crate) fn plain(program: &Path) -> Self {
        Self { kubeconfig: None, context: None, kubectl: program.to_owned() }
    }

    /// Runs kubectl on these kubeconfigs, in silence: what it prints. What it complains of is the error.
    pub(crate) fn with_kubeconfigs(&self, list: &OsStr, args: &[&str]) -> Result<String, String> {
        let output = Command::new(&self.kubectl).args(args).env("KUBECONFIG", list).stdin(Stdio::null()).output();
        let output = output.map_err(|error| self.missing(&error).message)?;
        let told = if output.status.success() { Ok(output.stdout) } else { Err(output.stderr) };
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        told.map(text).map_err(text)
    }

    /// The answer to a GET.
    pub(crate) fn get(&self, path: &str) -> Result<Value, Refused> {
        parse(&self.text(&["get", "--raw", path], None)?)
    }

    /// The answer to a DELETE.
    pub(crate) fn delete(&self, path: &str) -> Result<Value, Refused> {
        parse(&self.text(&["delete", "--raw", path], None)?)
    }

    /// The answer to a POST of JSON.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value, Refused> {
        parse(&self.text(&["create", "--raw", path, "-f", "-"], Some(&body.to_string()))?)
    }

    /// The answer to a GET, as it comes.
    pub(crate) fn stream(&self, path: &str) -> Result<Stream, Refused> {
        self.start(&["get", "--raw", path], None)
    }

    /// What kubectl prints.
    pub(crate) fn text(&self, args: &[&str], input: Option<&str>) -> Result<String, Refused> {
        let mut stream = self.start(args, input)?;
        let mut bytes = Vec::new();
        let read = stream.read_to_end(&mut bytes);
        stream.end()?;
        read.map_err(|error| Refused { message: format!("kubectl's answer: {error}"), reason: None })?;
        String::from_utf8(bytes)
            .map_err(|_| Refused { message: "kubectl's answer is no text".to_owned(), reason: None })
    }

    fn start(&self, args: &[&str], input: Option<&str>) -> Result<Stream, Refused> {
        let mut command = Command::new(&self.kubectl);
        let option = |name: &str, value: Option<OsString>| value.map(|value| [OsString::from(name), value]);
        command.args(option("--kubeconfig", self.kubeconfig.clone().map(Into::into)).into_iter().flatten());
        command.args(option("--context", self.context.clone().map(Into::into)).into_iter().flatten());
        // A program that signs in may ask on the terminal: kubectl has the keyboard, and what it says is told at once.
        command.args(args).stdin(if input.is_some() { Stdio::piped() } else { Stdio::inherit() });
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(|error| self.missing(&error))?;
        if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
            // What kubectl does not want to read it complains of by itself.
            let _ = stdin.write_all(input.as_bytes());
        }
        let complaint = Arc::new(Mutex::new(Complaint::default()));
        let listener = child.stderr.take().map(|stderr| {
            let complaint = Arc::clone(&complaint);
            thread::spawn(move || Complaint::hear(&complaint, stderr))
        });
        let output = child.stdout.take();
        Ok(Stream { child, output, complaint, listener })
    }

    fn missing(&self, error: &io::Error) -> Refused {
        let what = if error.kind() == io::ErrorKind::NotFound {
            "is missing".to_owned()
        } else {
            format!("does not run ({error})")
        };
        let program = self.kubectl.display();
        let message = format!(
            "{program} {what}: install it (https://kubernetes.io/docs/tasks/tools/), or say where it is: --kubectl PATH"
        );
        Refused { message, reason: None }
    }
}

/// An answer as it comes. Its [`end`](Stream::end) tells whether it was a good one.
#[derive(Debug)]
pub(crate) struct Stream {
    child: Child,
    output: Option<ChildStdout>,
    complaint: Arc<Mutex<Complaint>>,
    listener: Option<JoinHandle<()>>,
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.output.as_mut().map_or(Ok(0), |output| output.read(buffer))?;
        if count > 0 {
            // The terminal may be somebody else's from now on.
            lock(&self.complaint).is_held = true;
        }
        Ok(count)
    }
}

impl Stream {
    /// Waits for kubectl.
    pub(crate) fn end(mut self) -> Result<(), Refused> {
        drop(self.output.take());
        let status = self.child.wait();
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(lock(&self.complaint).refusal(&format!("kubectl ended with {status}"))),
            Err(error) => Err(lock(&self.complaint).refusal(&format!("kubectl: {error}"))),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // One that has ended cannot be ended; that is all that can go wrong.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What kubectl writes on stderr: told as it comes until the answer begins, kept from then on.
#[derive(Debug, Default)]
struct Complaint {
    heard: String,
    kept: String,
    is_held: bool,
}

impl Complaint {
    fn hear(complaint: &Mutex<Self>, stderr: impl Read) {
        let mut reader = BufReader::new(stderr);
        let mut line = Vec::new();
        while matches!(reader.by_ref().take(MAX_COMPLAINT_BYTES as u64).read_until(b'\n', &mut line), Ok(1..)) {
            let text = String::from_utf8_lossy(&line).into_owned();
            line.clear();
            let mut complaint = lock(complaint);
            if complaint.is_held {
                add(&mut complaint.kept, &text);
            } else {
                print::note(visible_lines(text.trim_end_matches('\n')));
            }
            add(&mut complaint.heard, &text);
        }
    }

    fn refusal(&self, how: &str) -> Refused {
        let (_, rest) = self.heard.split_once("Error from server (").unwrap_or_default();
        let reason = rest.split_once("): ").map(|(reason, _)| reason.to_owned());
        let said = self.kept.trim();
        let said = if said.is_empty() && self.heard.is_empty() { how } else { said };
        // These are an API server's own words: no gateway stands before it, or one that knows nothing of the path.
        let is_elsewhere = (self.heard.contains("cannot") && self.heard.contains("path \"/.kube-access"))
            || self.heard.contains("the server could not find the requested resource");
        let advice =
            "This kubeconfig may lead past the gateway: name another with --kubeconfig FILE or --context NAME.";
        let lines = [said, if is_elsewhere { advice } else { "" }];
        let message = lines.into_iter().filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n");
        Refused { message, reason }
    }
}

fn add(text: &mut String, more: &str) {
    text.push_str(more);
    if text.len() > MAX_COMPLAINT_BYTES {
        let start = text.ceil_char_boundary(text.len() - MAX_COMPLAINT_BYTES);
        text.drain(..start);
    }
}

fn lock(complaint: &Mutex<Complaint>) -> MutexGuard<'_, Complaint> {
    complaint.lock().unwrap_or_else(PoisonError::into_inner)
}

fn parse(json: &str) -> Result<Value, Refused> {
    serde_json::from_str(json).map_err(|_| Refused {
        message: "What answered does not speak JSON: see that the kubeconfig leads to the gateway.".to_owned(),
        reason: None,
    })
}
