//! Whether a recording is what the gateway wrote. The manifest has the size and the SHA-256 of each chunk, and a chain in which each link
//! holds the one before: nothing can be edited, taken out, put in or moved without the chain ending in another value.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use ring::digest::{Context, SHA256};

use super::answers::{Chunk, Chunks, Listed, Manifest, State, read};
use super::path_of;
use crate::failure::{Because, Failure};
use crate::kubectl::{Kubectl, Refused};
use crate::text::{counted, visible};

/// How many problems are told.
const SHOWN: usize = 20;

const MANIFEST: &str = "manifest.json";

/// A chunk as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    name: String,
    size: u64,
    sha256: String,
}

/// Verifies what lies in the gateway's bucket; says in a sentence that it is as it was, or fails with one that says what is not.
pub(super) fn verify(kubectl: &Kubectl, id: &str) -> Result<String, Failure> {
    let answer = kubectl.get(&path_of(id)).map_err(|refused| {
        let is_missing = refused.reason.as_deref() == Some("NotFound");
        let Refused { message, .. } = &refused;
        if is_missing {
            let lines = [message.as_str(), &format!("Session {id} has no manifest: there is nothing to verify it by.")]
                .join("\n");
            return Failure::new(lines.trim_start());
        }
        Failure::from(refused)
    })?;
    let manifest: Manifest = read(answer, "the manifest")?;
    if manifest.id != id {
        return Err(Failure::new(format!("the manifest is that of session {}", visible(&manifest.id))));
    }
    demand_ended(&manifest)?;
    let Chunks { chunks: listed } =
        read(kubectl.get(&format!("{}/chunks", path_of(id)))?, "the gateway's list of chunks")?;
    let found = if listed.is_empty() {
        Vec::new()
    } else {
        let mut cast = kubectl.stream(&format!("{}/cast", path_of(id)))?;
        let found = hashed(&listed, &mut cast);
        cast.end()?;
        found?
    };
    judge(&manifest, &found)
}

/// The same for files from the bucket: `manifest.json`, and each chunk under the name that it has there.
pub(super) fn verify_folder(dir: &Path, id: Option<&str>) -> Result<String, Failure> {
    let file = dir.join(MANIFEST);
    let text = fs::read_to_string(&file).because(file.display())?;
    let value = serde_json::from_str(&text).map_err(|_| Failure::new(format!("{} is no JSON", file.display())))?;
    let manifest: Manifest = read(value, &file.display().to_string())?;
    demand_ended(&manifest)?;
    if id.is_some_and(|id| id != manifest.id) {
        return Err(Failure::new(format!("{} is that of session {}.", file.display(), visible(&manifest.id))));
    }
    let named: HashSet<&str> = manifest.chunks.iter().map(|chunk| chunk.name.as_str()).collect();
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).because(dir.display())? {
        let name = entry.because(dir.display())?.file_name().to_string_lossy().into_owned();
        // What else lies there, such as a cast that was saved, is no chunk.
        if named.contains(name.as_str()) || (!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit())) {
            let path = dir.join(&name);
            let (size, sha256) = digest(&mut File::open(&path).because(path.display())?).because(path.display())?;
            found.push(Found { name, size, sha256 });
        }
    }
    judge(&manifest, &found)
}

fn demand_ended(manifest: &Manifest) -> Result<(), Failure> {
    if manifest.state == State::Ended {
        return Ok(());
    }
    let id = visible(&manifest.id);
    Err(Failure::new(format!("Session {id} is still live: its manifest is complete when it has ended.")))
}

/// Takes the cast apart where the bucket's list says that a chunk ends, without ever holding more than what just came.
fn hashed(listed: &[Listed], cast: &mut impl Read) -> Result<Vec<Found>, Failure> {
    let mut found = Vec::new();
    for chunk in listed {
        let (size, sha256) = digest(&mut cast.by_ref().take(chunk.size)).because("the cast")?;
        found.push(Found { name: chunk.name.clone(), size, sha256 });
    }
    let more = std::io::copy(cast, &mut std::io::sink()).because("the cast")?;
    let came = found.iter().map(|chunk| chunk.size).sum::<u64>() + more;
    let expected: u64 = listed.iter().map(|chunk| chunk.size).sum();
    if came == expected {
        return Ok(found);
    }
    let came = counted(came, "byte");
    Err(Failure::new(format!(
        "The cast came with {came}, and its chunks have {expected} by the bucket's list: try again."
    )))
}

/// The size and the SHA-256 of what comes.
fn digest(bytes: &mut impl Read) -> std::io::Result<(u64, String)> {
    let mut context = Context::new(&SHA256);
    let mut piece = vec![0; 1 << 16];
    let mut size = 0;
    loop {
        let count = bytes.read(&mut piece)?;
        if count == 0 {
            return Ok((size, hex(context)));
        }
        size += count as u64;
        context.update(piece.get(..count).unwrap_or_default());
    }
}

fn hex(context: Context) -> String {
    let mut text = String::new();
    for byte in context.finish().as_ref() {
        text.extend(
            [
                "0123456789abcdef".chars().nth(usize::from(byte >> 4)),
                "0123456789abcdef".chars().nth(usize::from(byte & 15)),
            ]
            .into_iter()
            .flatten(),
        );
    }
    text
}

fn judge(manifest: &Manifest, found: &[Found]) -> Result<String, Failure> {
    let mut problems = chain_problems(manifest);
    problems.extend(chunk_problems(&manifest.chunks, found));
    if !problems.is_empty() {
        let more = problems.len().saturating_sub(SHOWN);
        problems.truncate(SHOWN);
        problems.insert(0, format!("Session {} is not as the gateway wrote it:", visible(&manifest.id)));
        if more > 0 {
            problems.push(format!("and {more} more"));
        }
        return Err(Failure::new(problems.join("\n  ")));
    }
    let Some(last) = manifest.chunks.last() else {
        return Ok("ok: 0 chunks, 0 bytes: nothing of this session was recorded".to_owned());
    };
    let bytes = manifest.chunks.iter().map(|chunk| chunk.size).sum();
    let chunks = counted(manifest.chunks.len() as u64, "chunk");
    Ok(format!("ok: {chunks}, {}, chain ends in {}", counted(bytes, "byte"), visible(&last.chain)))
}

fn chain_problems(manifest: &Manifest) -> Vec<String> {
    let mut problems = Vec::new();
    let mut before: Option<&Chunk> = None;
    for chunk in &manifest.chunks {
        let name = visible(&chunk.name);
        let previous = before.map_or(manifest.id.as_str(), |before| before.chain.as_str());
        let mut context = Context::new(&SHA256);
        context.update(format!("{previous} {} {} {}", chunk.name, chunk.size, chunk.sha256).as_bytes());
        if hex(context) != chunk.chain {
            problems
                .push(format!("the chain breaks at chunk {name}: the manifest was edited there, or just before it"));
        }
        // The cast follows the names: in another order than this it would not be what was seen.
        if before.is_some_and(|before| before.name >= chunk.name) {
            problems.push(format!("chunk {name} is out of order in the manifest"));
        }
        before = Some(chunk);
    }
    problems
}

fn chunk_problems(chunks: &[Chunk], found: &[Found]) -> Vec<String> {
    let by_name: HashMap<&str, &Found> = found.iter().map(|chunk| (chunk.name.as_str(), chunk)).collect();
    let is_same = |chunk: &Chunk, found: &Found| chunk.size == found.size && chunk.sha256 == found.sha256;
    let mut problems = Vec::new();
    for chunk in chunks {
        let name = visible(&chunk.name);
        let Some(actual) = by_name.get(chunk.name.as_str()) else {
            problems.push(format!("chunk {name} is missing"));
            continue;
        };
        if is_same(chunk, actual) {
            continue;
        }
        problems.push(match chunks.iter().find(|other| is_same(other, actual)) {
            Some(origin) => {
                format!("chunk {name} is out of order: it holds what was written as chunk {}", visible(&origin.name))
            }
            None => format!(
                "chunk {name} was edited: it had {} bytes and SHA-256 {}, and has {} and {}",
                chunk.size,
                visible(&chunk.sha256),
                actual.size,
                actual.sha256
            ),
        });
    }
    let known: HashSet<&str> = chunks.iter().map(|chunk| chunk.name.as_str()).collect();
    let mut added: Vec<&str> =
        found.iter().map(|chunk| chunk.name.as_str()).filter(|name| !known.contains(name)).collect();
    added.sort_unstable();
    problems.extend(added.into_iter().map(|name| format!("chunk {} was added", visible(name))));
    problems
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ID: &str = "8204352649123-81b637d8fcd2c6da";

    /// A folder with a recording of three chunks, as the gateway writes them.
    fn recording() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let mut chain = ID.to_owned();
        let mut chunks = Vec::new();
        for (place, text) in ["one", "two!", "three"].into_iter().enumerate() {
            let name = format!("{place:05}");
            fs::write(dir.path().join(&name), text).unwrap();
            let (size, sha256) = digest(&mut text.as_bytes()).unwrap();
            let mut context = Context::new(&SHA256);
            context.update(format!("{chain} {name} {size} {sha256}").as_bytes());
            chain = hex(context);
            chunks.push(json!({"name": name, "size": size, "sha256": sha256, "chain": chain}));
        }
        let manifest = json!({
            "id": ID, "state": "ended", "caller": {"user": "bob"}, "started": "2026-11-25T10:00:00Z", "chunks": chunks,
            "target": {"kind": "exec", "namespace": "default", "pod": "web"},
        });
        fs::write(dir.path().join(MANIFEST), manifest.to_string()).unwrap();
        dir
    }

    fn verdict(dir: &Path) -> String {
        verify_folder(dir, None).unwrap_or_else(|failure| failure.to_string())
    }

    #[test]
    fn a_recording_as_it_was_written_is_ok_whatever_else_lies_there() {
        let dir = recording();
        fs::write(dir.path().join("saved.cast"), "x").unwrap();
        assert!(verdict(dir.path()).starts_with("ok: 3 chunks, 12 bytes, chain ends in "));
        assert!(verify_folder(dir.path(), Some("8204352649123-another")).is_err());
    }

    #[test]
    fn case_142_what_was_edited_taken_out_put_in_or_moved_is_told() {
        let dir = recording();
        let chunk = |name: &str| dir.path().join(name);
        fs::write(chunk("00001"), "TWO!").unwrap();
        assert!(verdict(dir.path()).contains("chunk 00001 was edited: it had 4 bytes"));
        fs::write(chunk("00001"), "one").unwrap();
        assert!(verdict(dir.path()).contains("chunk 00001 is out of order: it holds what was written as chunk 00000"));
        fs::remove_file(chunk("00001")).unwrap();
        fs::write(chunk("00003"), "more").unwrap();
        let told = verdict(dir.path());
        assert!(told.contains("chunk 00001 is missing") && told.contains("chunk 00003 was added"), "{told}");
        let manifest = fs::read_to_string(dir.path().join(MANIFEST)).unwrap();
        fs::write(dir.path().join(MANIFEST), manifest.replace("\"size\":3", "\"size\":4")).unwrap();
        assert!(verdict(dir.path()).contains("the chain breaks at chunk 00000"));
    }

    #[test]
    fn a_cast_is_taken_apart_where_its_chunks_end() {
        let listed = |sizes: &[u64]| -> Vec<Listed> {
            sizes.iter().map(|size| Listed { name: size.to_string(), size: *size }).collect()
        };
        let found = hashed(&listed(&[3, 4, 0, 5]), &mut &b"onetwo!three"[..]).unwrap();
        assert_eq!(found.iter().map(|chunk| chunk.size).collect::<Vec<_>>(), [3, 4, 0, 5]);
        for sizes in [&[3, 4][..], &[3, 4, 6]] {
            assert!(hashed(&listed(sizes), &mut &b"onetwo!three"[..]).is_err());
        }
    }
}
