//! The memory of a process that has done its work and only has to say so.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::process::Stdio;

use nebula_credential_testkit::{Canary, LeakHunter, skip};

use super::processes::full_pipe;
use super::{Home, Step, searched, until};

/// What of the canary is in the memory of process `id`: whole copies, and pieces that are part of none. None where it
/// cannot be read.
fn copies(id: u32, hunter: &LeakHunter) -> Option<(usize, usize)> {
    let maps = std::fs::read_to_string(format!("/proc/{id}/maps")).ok()?;
    let mut memory = File::open(format!("/proc/{id}/mem")).ok()?;
    let (mut whole, mut pieces) = (0, 0);
    for line in maps.lines() {
        let mut fields = line.split_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        let address = |text| u64::from_str_radix(text, 16).ok();
        let (start, end) = (address(start)?, address(end)?);
        let mut region = Vec::new();
        memory.seek(SeekFrom::Start(start)).ok()?;
        // Nothing is put where nothing can be written, such as the program itself.
        if !fields.next()?.starts_with("rw") || (&memory).take(end - start).read_to_end(&mut region).is_err()
        {
            continue;
        }
        let found = hunter.search(&region);
        let copies: Vec<u64> = found
            .iter()
            .filter(|leak| leak.form == "plain")
            .map(|leak| leak.offset)
            .collect();
        let is_part = |at: u64| copies.iter().any(|copy| (*copy..*copy + 40).contains(&at));
        whole += copies.len();
        pieces += found.iter().filter(|leak| !is_part(leak.offset)).count();
    }
    Some((whole, pieces))
}

#[test]
fn what_was_read_is_left_nowhere_in_memory_but_where_it_is_used() {
    let test = "what_was_read_is_left_nowhere_in_memory_but_where_it_is_used";
    let Some(home) = Home::with_db(test) else {
        return;
    };
    let hunter = LeakHunter::new()
        .hunt("the stored password", &home.stored)
        .hunt("the passphrase", &home.passphrase);
    let value = Home::basic(&home.stored);
    let secret = home.stored.secret();
    let passphrase = format!("{}\n", home.passphrase.secret());
    // How many of them live at the end: the value that was stored, the one before it, the text of an edit, the passphrase.
    let steps = [
        (Step::new("put db --type basic", value.as_str(), 0), 1),
        (Step::new("get db", "", 0), 1),
        (Step::new("rotate db", value.as_str(), 0), 2),
        (Step::new("edit db", "", 0), 3),
        (
            Step::new("import - --format env", format!("A='{secret}'\n"), 0),
            1,
        ),
        (
            Step::new("import - --format yaml", format!("b: '{secret}'\n"), 0),
            1,
        ),
        (Step::new("put x --type basic", value.trim_end_matches('}'), 2), 0),
        (
            Step::new("key add --new-passphrase-fd 0", passphrase.as_str(), 0),
            1,
        ),
        (Step::new("key list --passphrase-fd 0", passphrase.as_str(), 0), 1),
    ];
    // Without a word of its own, which would be held up as well.
    home.quiet_editor();
    for (step, live) in &steps {
        let (mut reader, writer) = full_pipe();
        let mut child = home
            .command(step)
            .stdin(Stdio::piped())
            .stdout(writer.try_clone().unwrap())
            .stderr(writer)
            .spawn()
            .unwrap();
        let id = child.id();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(step.stdin.as_bytes())
            .unwrap();
        let waits = || std::fs::read_to_string(format!("/proc/{id}/wchan")).unwrap_or_default();
        let is_closed = File::open(format!("/proc/{id}/mem")).is_err();
        if !is_closed {
            until(|| waits().contains("pipe_write"), "the answer");
        }
        let found = copies(id, &hunter);
        let drain = std::thread::spawn(move || reader.read_to_end(&mut Vec::new()));
        assert_eq!(child.wait().unwrap().code(), Some(step.code), "{}", step.name());
        drain.join().unwrap().unwrap();
        let Some((whole, pieces)) = found else {
            return skip(test, "the memory of another process may not be read");
        };
        assert!(
            whole <= *live && pieces == 0,
            "{}: {whole} copies and {pieces} pieces",
            step.name()
        );
    }
    searched(steps.len(), "memories");

    // The search finds what a program does hold.
    let mut leaking = home.wrapped("sh");
    leaking.args(["-c", "read -r secret; echo ready; read -r more"]);
    let mut child = leaking
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    writeln!(child.stdin.as_mut().unwrap(), "{secret}").unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0; 6]).unwrap();
    let (whole, _) = copies(child.id(), &hunter).unwrap();
    assert!(whole > 0);
    drop(child.stdin.take());
    child.wait().unwrap();
    assert!(hunter.search(Canary::text().secret()).is_empty());
}
