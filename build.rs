//! Compiles `identities.yaml` into the tables that `src/identity.rs` and `src/guard.rs` read. An invalid one stops the build.

#[path = "src/identity/name.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the library, which uses and tests all of it")]
mod name;
#[path = "policy/source.rs"]
mod source;
#[path = "src/guard/words.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the library, which uses and tests all of it")]
mod words;

use std::path::Path;
use std::{env, fs, process};

/// Another map may be compiled instead, for benchmarks of large ones: a path, as seen from the package's folder.
const OVERRIDE: &str = "KUBE_ACCESS_IDENTITIES";

fn main() {
    println!("cargo::rerun-if-env-changed={OVERRIDE}");
    let path = env::var(OVERRIDE).unwrap_or_else(|_| "identities.yaml".into());
    println!("cargo::rerun-if-changed={path}");
    if let Err(message) = compile(&path) {
        println!("cargo::error={message}");
        process::exit(1);
    }
}

fn compile(path: &str) -> Result<(), String> {
    let yaml = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    let tables = source::compile(&yaml).map_err(|error| format!("{path}, {error}"))?;
    let dir = env::var("OUT_DIR").map_err(|error| format!("OUT_DIR: {error}"))?;
    for (name, table) in [
        ("emails.tsv", tables.emails),
        ("email_domains.tsv", tables.email_domains),
        ("service_tokens.tsv", tables.service_tokens),
        ("idp_groups.tsv", tables.idp_groups),
        ("guards.tsv", tables.guards),
        ("granted.tsv", tables.granted),
    ] {
        fs::write(Path::new(&dir).join(name), table).map_err(|error| format!("{dir}/{name}: {error}"))?;
    }
    Ok(())
}
