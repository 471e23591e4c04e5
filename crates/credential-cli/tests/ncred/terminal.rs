//! What a person sees at a terminal.

use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use nebula_credential_testkit::skip;

use crate::place::{Place, SECRET};

/// `ncred` behind a pseudo-terminal, which `script` makes.
struct Terminal {
    child: Child,
    keyboard: ChildStdin,
    screen: ChildStdout,
    seen: String,
}

impl Terminal {
    fn run(place: &Place, args: &str) -> Option<Self> {
        let program = env!("CARGO_BIN_EXE_ncred");
        let mut child = place
            .wrapped("script")
            .args(["-qec", &format!("{program} {args}"), "/dev/null"])
            .env("SHELL", "/bin/sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        Some(Self {
            keyboard: child.stdin.take()?,
            screen: child.stdout.take()?,
            child,
            seen: String::new(),
        })
    }

    /// Waits for `question`, and then types `line`.
    fn answer(&mut self, question: &str, line: &str) {
        let from = self.seen.len();
        let mut byte = [0; 1];
        while !self.seen[from..].contains(question) {
            assert_eq!(
                self.screen.read(&mut byte).unwrap(),
                1,
                "{question:?} was not asked: {}",
                self.seen
            );
            self.seen.push(char::from(byte[0]));
        }
        // The echo is switched off beside the question, not before it.
        std::thread::sleep(std::time::Duration::from_millis(100));
        writeln!(self.keyboard, "{line}").unwrap();
    }

    /// Its exit code, and all that stood on the screen.
    fn end(mut self) -> (Option<i32>, String) {
        let mut rest = Vec::new();
        self.screen.read_to_end(&mut rest).unwrap();
        self.seen.push_str(&String::from_utf8_lossy(&rest));
        (self.child.wait().unwrap().code(), self.seen)
    }
}

#[test]
fn prompts_do_not_echo_secrets_and_a_purge_asks() {
    let place = Place::new();
    let Some(mut terminal) = Terminal::run(&place, "put db --type basic") else {
        return skip(
            "prompts_do_not_echo_secrets_and_a_purge_asks",
            "there is no `script`",
        );
    };
    terminal.answer("username: ", "octocat");
    terminal.answer("password: ", SECRET);
    let (code, seen) = terminal.end();
    assert_eq!(code, Some(0), "{seen}");
    assert!(seen.contains("stored db (basic, version 1)"), "{seen}");
    assert!(seen.contains("octocat") && !seen.contains(SECRET), "{seen}");
    assert_eq!(place.ok(&["get", "db", "--reveal", "-f", "password"]), SECRET);

    // A bare value ends its line at a terminal, and only there.
    let (_, seen) = Terminal::run(&place, "get db --reveal -f password")
        .unwrap()
        .end();
    assert_eq!(seen.replace('\r', ""), format!("{SECRET}\n"));

    let mut terminal = Terminal::run(&place, "purge db").unwrap();
    terminal.answer("Type its name: ", "bd");
    let (code, seen) = terminal.end();
    assert_eq!(code, Some(1), "{seen}");
    assert!(seen.contains("nothing was changed"), "{seen}");
    let mut terminal = Terminal::run(&place, "purge db").unwrap();
    terminal.answer("Type its name: ", "db");
    assert_eq!(terminal.end().0, Some(0));
    assert_eq!(place.run(&["get", "db"], "").code, 3);
}

#[test]
fn a_passphrase_is_asked_for_twice_when_it_is_new() {
    let place = Place::bare();
    let Some(mut terminal) = Terminal::run(&place, "init --ask-passphrase") else {
        return skip(
            "a_passphrase_is_asked_for_twice_when_it_is_new",
            "there is no `script`",
        );
    };
    terminal.answer("New passphrase: ", SECRET);
    terminal.answer("The same again: ", "something else");
    let (code, seen) = terminal.end();
    assert_eq!(code, Some(2), "{seen}");

    let mut terminal = Terminal::run(&place, "init --ask-passphrase").unwrap();
    terminal.answer("New passphrase: ", SECRET);
    terminal.answer("The same again: ", SECRET);
    let (code, seen) = terminal.end();
    assert_eq!(code, Some(0), "{seen}");
    assert!(!seen.contains(SECRET), "{seen}");

    // Nothing is named and there is no default key file: it asks.
    let mut terminal = Terminal::run(&place, "key list").unwrap();
    terminal.answer("Passphrase: ", SECRET);
    let (code, seen) = terminal.end();
    assert_eq!(code, Some(0), "{seen}");
    assert!(seen.contains("passphrase"), "{seen}");
}
