//! What a forwarder on this machine is known by: a certificate, its key, and the secret that its clients bring. Made for one run, or
//! kept for a context that leads to the forwarder whenever it runs.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use crate::failure::{Because, Failure};
use crate::host::Host;
use crate::place;

/// How long the certificate is good for, in days. Only who holds the kubeconfig trusts it.
const DAYS: i64 = 3650;

/// A certificate, its key and a secret.
#[derive(Clone)]
pub(crate) struct Credentials {
    /// In PEM.
    pub(crate) certificate: String,
    key: String,
    secret: String,
}

/// Those that are kept for a gateway.
#[derive(Debug)]
pub(crate) struct Standing {
    certificate: PathBuf,
    key: PathBuf,
    secret: PathBuf,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(..)")
    }
}

impl Credentials {
    /// New ones, which nobody else knows.
    pub(crate) fn make() -> Result<Self, Failure> {
        let key = KeyPair::generate().because("a key for this machine's forwarder")?;
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).because("a certificate")?;
        let addresses = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        params.subject_alt_names.extend(addresses.map(SanType::IpAddress));
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "kubectl access, on this machine");
        let now = OffsetDateTime::now_utc();
        (params.not_before, params.not_after) = (now - Duration::HOUR, now + Duration::days(DAYS));
        let certificate = params.self_signed(&key).because("a certificate for this machine's forwarder")?;
        Ok(Self { certificate: certificate.pem(), key: key.serialize_pem(), secret: random()? })
    }

    /// The key, in PEM.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// What a client brings as its bearer token.
    pub(crate) fn secret(&self) -> &str {
        &self.secret
    }

    /// A kubeconfig for the forwarder at this port. JSON, which is YAML.
    pub(crate) fn kubeconfig(&self, name: &str, port: u16, namespace: Option<&str>) -> String {
        let mut context = json!({"cluster": name, "user": name});
        if let (Some(context), Some(namespace)) = (context.as_object_mut(), namespace) {
            context.insert("namespace".into(), Value::from(namespace));
        }
        let authority = STANDARD.encode(&self.certificate);
        let cluster = json!({"server": format!("https://127.0.0.1:{port}"), "certificate-authority-data": authority});
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": cluster}],
            "users": [{"name": name, "user": {"token": self.secret}}],
            "contexts": [{"name": name, "context": context}],
            "current-context": name,
        });
        format!("{config:#}\n")
    }
}

impl Standing {
    /// Those of a gateway, made unless they are there.
    pub(crate) fn make(host: &Host) -> Result<Self, Failure> {
        let standing = Self::at(host)?;
        if standing.read().is_err() {
            let credentials = Credentials::make()?;
            for (file, text) in [
                (&standing.certificate, credentials.certificate.as_str()),
                (&standing.key, credentials.key()),
                (&standing.secret, credentials.secret()),
            ] {
                place::write_private(file, text.as_bytes())?;
            }
        }
        Ok(standing)
    }

    /// Where those of a gateway are, if they were made.
    pub(crate) fn at(host: &Host) -> Result<Self, Failure> {
        let folder = place::state()?.join("forwarders").join(host.file_name());
        Ok(Self {
            certificate: folder.join("certificate.pem"),
            key: folder.join("key.pem"),
            secret: folder.join("secret"),
        })
    }

    /// Reads them.
    pub(crate) fn read(&self) -> io::Result<Credentials> {
        Ok(Credentials {
            certificate: fs::read_to_string(&self.certificate)?,
            key: fs::read_to_string(&self.key)?,
            secret: fs::read_to_string(&self.secret)?,
        })
    }

    /// The certificate's file.
    pub(crate) fn certificate(&self) -> &Path {
        &self.certificate
    }

    /// The file of the secret.
    pub(crate) fn secret(&self) -> &Path {
        &self.secret
    }
}

/// 256 random bits as text.
pub(crate) fn random() -> Result<String, Failure> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Failure::new("this machine gives no random numbers"))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// Makes a file that its owner alone may read, and that was not there.
pub(crate) fn create_private(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(text.as_bytes())
}
