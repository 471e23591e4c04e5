//! Audit logs: any bytes are verified without harm, and under the seed nothing passes but what was written.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::LazyLock;

use nebula_credential_audit::{
    AuditLogger, AuditSeed, Event, EventKind, Verification, VerifyWith, entries, verify,
};
use nebula_credential_core::{CredentialName, CredentialRef, ErrorKind, Principal, Scope, TenantId};
use tempfile::TempDir;

const LOG: &str = "audit.log";
const STATE: &str = "audit.log.state";
const CHECKPOINTS: &str = "audit.log.checkpoints";

/// A log in several files that was written by this process, and what verifies it.
struct Golden {
    files: Vec<(String, Vec<u8>)>,
    lines: Vec<Vec<u8>>,
    seed: AuditSeed,
}

static GOLDEN: LazyLock<Golden> = LazyLock::new(|| {
    let home = tempfile::tempdir().expect("there is a directory for temporary files");
    let path = home.path().join(LOG);
    let log = AuditLogger::builder(&path).max_file_bytes(1500).build();
    for number in 0..12 {
        let mut event = Event::new(EventKind::Accessed);
        let name = |text: &str| CredentialName::new(text).expect("a lawful name");
        event.principal = Some(Principal::User(name("alice")));
        event.id = Some(CredentialRef::new(
            TenantId::default(),
            Scope::default(),
            name(&format!("db-{number}")),
        ));
        event.outcome = Some("ok");
        log.record(&event).expect("the log can be written");
    }
    drop(log);
    let read = |name: &str| fs::read(home.path().join(name)).unwrap_or_default();
    let mut files = Vec::new();
    let mut lines = Vec::new();
    let mut records: Vec<String> = (1..100)
        .map(|number| format!("{LOG}.{number:06}"))
        .take_while(|name| home.path().join(name).exists())
        .collect();
    assert!(!records.is_empty(), "the log went on in a new file");
    records.push(LOG.to_owned());
    for name in records {
        let content = read(&name);
        lines.extend(split(&content));
        files.push((name, content));
    }
    files.push((STATE.to_owned(), read(STATE)));
    let seed = String::from_utf8(read("audit.log.seed")).expect("a seed is text");
    let seed = AuditSeed::parse(&seed).expect("it is the seed");
    Golden { files, lines, seed }
});

/// Verifies files. Where `data` begins with a zero, these are the lengths of state and checkpoints in two bytes each, and
/// then state, checkpoints and log; else it is changes of the golden log, of five bytes each.
pub fn audit_verify(data: &[u8]) {
    let golden = &*GOLDEN;
    let files = match data.split_first() {
        Some((0, rest)) => match raw(rest) {
            Some(files) => files,
            None => return,
        },
        Some((_, changes)) => {
            let mut files = golden.files.clone();
            for change in changes.chunks_exact(5) {
                apply(change, &mut files);
            }
            files
        }
        None => return,
    };
    // The key of a place is found by going there: a high number takes as long as a log of that length.
    if files.iter().any(|(_, content)| has_high_number(content)) {
        return;
    }
    let home = tempfile::tempdir().expect("there is a directory for temporary files");
    for (name, content) in &files {
        write(&home, name, content);
    }
    let path = home.path().join(LOG);
    let present: Vec<Vec<u8>> = files
        .iter()
        .filter(|(name, _)| name != STATE && name != CHECKPOINTS)
        .flat_map(|(_, content)| split(content))
        .collect();
    if let Some(found) = checked(&path, VerifyWith::Seed(&golden.seed), present.len()) {
        // Who has not the key of a place cannot write the record of it.
        let accepted = present
            .iter()
            .take(usize::try_from(found.records).expect("a small number"));
        for line in accepted {
            assert!(golden.lines.contains(line), "a forged record passed");
        }
        if found.is_intact() && present.len() == golden.lines.len() {
            assert_eq!(present, golden.lines);
        }
    }
    checked(
        &path,
        VerifyWith::Checkpoints(golden.seed.verifier()),
        present.len(),
    );
    if let Ok(read) = entries(&path) {
        assert!(read.count() <= present.len() + files.len());
    }
}

fn checked(path: &Path, with: VerifyWith<'_>, lines: usize) -> Option<Verification> {
    match verify(path, with, None) {
        Ok(found) => {
            assert!(found.records <= lines as u64, "{found:?}");
            assert!(found.records == 0 || found.first <= found.last, "{found:?}");
            assert!(!found.is_intact() || found.problem.is_none());
            if let Some(problem) = &found.problem {
                assert!((1..=lines as u64 + 1).contains(&problem.line), "{found:?}");
            }
            Some(found)
        }
        Err(error) => {
            let known = [ErrorKind::AuditUnavailable, ErrorKind::InsecureStorage];
            assert!(known.contains(&error.kind()), "{error}");
            None
        }
    }
}

fn raw(data: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    let (lengths, rest) = data.split_first_chunk::<4>()?;
    let [a, b, c, d] = *lengths;
    let (state, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([a, b])))?;
    let (notes, log) = rest.split_at_checked(usize::from(u16::from_be_bytes([c, d])))?;
    let files = [(STATE, state), (CHECKPOINTS, notes), (LOG, log)];
    Some(
        files
            .map(|(name, content)| (name.to_owned(), content.to_vec()))
            .into(),
    )
}

/// Flips bits, or removes, doubles or cuts off bytes of one file.
fn apply(change: &[u8], files: &mut [(String, Vec<u8>)]) {
    let &[what, high, low, value, length] = change else {
        return;
    };
    let count = files.len();
    let Some((_, content)) = files.get_mut(usize::from(what >> 2) % count) else {
        return;
    };
    let at = usize::from(u16::from_be_bytes([high, low]));
    let end = (at + usize::from(length)).min(content.len());
    if at >= content.len() {
        return;
    }
    match what & 3 {
        0 => content[at] ^= value,
        1 => drop(content.drain(at..end)),
        2 => {
            let copy = content[at..end].to_vec();
            let to = usize::from(value).min(content.len());
            content.splice(to..to, copy);
        }
        _ => content.truncate(at),
    }
}

fn has_high_number(content: &[u8]) -> bool {
    const KEY: &[u8] = b"\"seq\":";
    let starts = content.windows(KEY.len()).enumerate();
    starts.filter(|(_, window)| *window == KEY).any(|(at, _)| {
        let digits = content[at + KEY.len()..].iter();
        digits.take_while(|byte| byte.is_ascii_digit()).count() > 4
    })
}

/// The lines, also one that does not end.
fn split(content: &[u8]) -> Vec<Vec<u8>> {
    if content.is_empty() {
        return Vec::new();
    }
    let content = content.strip_suffix(b"\n").unwrap_or(content);
    content.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

fn write(home: &TempDir, name: &str, content: &[u8]) {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(home.path().join(name))
        .and_then(|mut file| file.write_all(content))
        .expect("a temporary file can be written");
}
