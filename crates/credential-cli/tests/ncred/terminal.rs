//! What a person sees at a terminal.

use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use nebula_credential_testkit::skip;

use crate::place::{Place, SECRET};

/// A shell's line behind a pseudo-terminal, which `script` makes.
pub(crate) struct Terminal {
    child: Child,
    keyboard: ChildStdin,
    screen: ChildStdout,
    seen: Vec<u8>,
}

impl Terminal {
    /// `ncred` with `args`; none where there is no `script`.
    pub(crate) fn run(place: &Place, args: &str) -> Option<Self> {
        let program = env!("CARGO_BIN_EXE_ncred");
        Self::open(place.wrapped("script"), &format!("exec {program} {args}"))
    }

    /// `line`, in the environment of `script`.
    pub(crate) fn open(mut script: Command, line: &str) -> Option<Self> {
        let mut child = script
            .args(["-qec", line, "/dev/null"])
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
            seen: Vec::new(),
        })
    }

    /// Waits until `text` stands on the screen, behind what was waited for before.
    pub(crate) fn wait_for(&mut self, text: &str) {
        let from = self.seen.len();
        let mut byte = [0; 1];
        while !self.seen[from..]
            .windows(text.len())
            .any(|window| window == text.as_bytes())
        {
            assert_eq!(
                self.screen.read(&mut byte).unwrap(),
                1,
                "{text:?} does not come: {}",
                self.seen()
            );
            self.seen.push(byte[0]);
        }
    }

    fn seen(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    pub(crate) fn press(&mut self, keys: &[u8]) {
        self.keyboard.write_all(keys).unwrap();
    }

    /// Waits for `question`, and then types `line`.
    pub(crate) fn answer(&mut self, question: &str, line: &str) {
        self.wait_for(question);
        self.press(format!("{line}\n").as_bytes());
    }

    /// Its exit code, and all that stood on the screen.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        self.screen.read_to_end(&mut self.seen).unwrap();
        (self.child.wait().unwrap().code(), self.seen())
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

/// What the terminal is like now.
const MODES: &str = "echo \"ended $?\"; stty -a; echo looked";

fn assert_restored(seen: &str) {
    let modes: Vec<&str> = seen.split([' ', ';', '\r', '\n']).collect();
    for mode in ["echo", "icanon", "isig", "icrnl"] {
        assert!(modes.contains(&mode), "{mode}: {seen}");
    }
}

#[test]
fn whatever_ends_a_prompt_switches_the_echo_on_again() {
    let test = "whatever_ends_a_prompt_switches_the_echo_on_again";
    let place = Place::new();
    let program = env!("CARGO_BIN_EXE_ncred");
    let line = format!(
        "trap : INT QUIT; sh -c 'echo process $$ asks; exec {program} put db --type basic'; {MODES}; read -r rest"
    );
    // Ctrl-C, Ctrl-\\, Ctrl-D and a signal from elsewhere. That one overtakes keys that are still on their way, and once
    // the prompt has ended they are echoed: none are typed before it.
    let ends: &[(Option<&[u8]>, i32)] = &[
        (Some(b"\x03"), 130),
        (Some(b"\x1c"), 131),
        (Some(b"\x15\x04"), 2),
        (None, 143),
    ];
    for (keys, code) in ends {
        let Some(mut terminal) = Terminal::open(place.wrapped("script"), &line) else {
            return skip(test, "there is no `script`");
        };
        terminal.wait_for(" asks");
        let seen = terminal.seen();
        let process = seen.split_whitespace().nth(1).unwrap().to_owned();
        terminal.answer("username: ", "octocat");
        terminal.wait_for("password: ");
        if let Some(keys) = keys {
            terminal.press(&SECRET.as_bytes()[..10]);
            terminal.press(keys);
        } else {
            let sent = Command::new("kill").arg(&process).status().unwrap();
            assert!(sent.success());
        }
        terminal.wait_for(&format!("ended {code}"));
        terminal.wait_for("looked");
        // Half a secret is no line for whoever reads next.
        terminal.press(b"\n");
        let (_, seen) = terminal.end();
        assert_restored(&seen);
        assert!(!seen.contains(&SECRET[..10]), "{seen}");
    }
    assert_eq!(place.run(&["get", "db"], "").code, 3);
}

#[test]
fn a_prompt_that_was_stopped_asks_again() {
    let test = "a_prompt_that_was_stopped_asks_again";
    // By Ctrl-Z, and by what no program can catch.
    for signal in [None, Some("-STOP")] {
        let place = Place::new();
        let mut script = place.wrapped("script");
        script
            .env("PS1", "ready> ")
            .env("NCRED", env!("CARGO_BIN_EXE_ncred"));
        let bash = "exec bash --norc --noprofile -i";
        let Some(mut terminal) = Terminal::open(script, bash) else {
            return skip(test, "there is no `script`");
        };
        let put = "sh -c 'echo $$ >~/process; exec \"$NCRED\" put db --type basic'";
        terminal.answer("ready> ", put);
        terminal.answer("username: ", "octocat");
        terminal.wait_for("password: ");
        match signal {
            None => terminal.press(b"half\x1a"),
            // It overtakes keys that are still on their way.
            Some(signal) => {
                let process = std::fs::read_to_string(place.path("process")).unwrap();
                let sent = Command::new("kill")
                    .args([signal, process.trim()])
                    .status()
                    .unwrap();
                assert!(sent.success());
            }
        }
        terminal.answer("ready> ", MODES);
        terminal.wait_for("looked\r");
        terminal.answer("ready> ", "fg");
        terminal.answer("password: ", SECRET);
        terminal.wait_for("stored db");
        terminal.answer("ready> ", "exit");
        let (code, seen) = terminal.end();
        assert_eq!(code, Some(0), "{seen}");
        assert_restored(&seen);
        assert!(!seen.contains(SECRET), "{seen}");
        assert_eq!(place.ok(&["get", "db", "--reveal", "-f", "password"]), SECRET);
    }
}

#[test]
fn keys_that_correct_are_obeyed_and_long_lines_are_whole() {
    let test = "keys_that_correct_are_obeyed_and_long_lines_are_whole";
    let place = Place::new();
    let Some(mut terminal) = Terminal::run(&place, "put a --type secret_text") else {
        return skip(test, "there is no `script`");
    };
    terminal.answer("text: ", "wrong\x15typp\x7fo \u{e9}\x1b[A");
    assert_eq!(terminal.end().0, Some(0));
    assert_eq!(place.ok(&["get", "a", "--reveal", "-f", "text"]), "typo \u{e9}");
    // A terminal gives no longer line than 4,095 bytes by itself.
    let long = "0123456789abcdef".repeat(1000);
    let mut terminal = Terminal::run(&place, "put b --type secret_text").unwrap();
    terminal.answer("text: ", &long);
    assert_eq!(terminal.end().0, Some(0));
    assert_eq!(place.ok(&["get", "b", "--reveal", "-f", "text"]), long);
}

#[test]
#[cfg(target_os = "linux")]
fn an_interrupt_is_for_the_editor_behind_a_prompt_too() {
    let test = "an_interrupt_is_for_the_editor_behind_a_prompt_too";
    let place = Place::with_db();
    let words = "correct horse battery staple";
    let file = place.file("passphrase", words);
    place.ok(&["key", "add", "--new-passphrase-file", crate::place::text(&file)]);
    let editor = place.file(
        "editor",
        "trap '' INT; echo editing; read -r line; sed -i s/octocat/hubot/ \"$1\"\n",
    );
    let mut script = place.wrapped("script");
    script.env("EDITOR", format!("sh {}", editor.display()));
    let line = format!("exec {} edit db --ask-passphrase", env!("CARGO_BIN_EXE_ncred"));
    let Some(mut terminal) = Terminal::open(script, &line) else {
        return skip(test, "there is no `script`");
    };
    terminal.answer("Passphrase: ", words);
    terminal.wait_for("editing");
    terminal.press(b"\x03\n");
    let (code, seen) = terminal.end();
    assert_eq!(code, Some(0), "{seen}");
    assert_eq!(place.ok(&["get", "db", "-f", "username"]), "hubot");
}

#[test]
fn nothing_is_read_from_a_terminal_that_echoes_it() {
    let test = "nothing_is_read_from_a_terminal_that_echoes_it";
    let place = Place::with_db();
    let program = env!("CARGO_BIN_EXE_ncred");
    for (args, remedy) in [
        ("key list --passphrase-fd 0", "--ask-passphrase"),
        ("key list --passphrase-fd 7 7</dev/tty", "--ask-passphrase"),
        ("key add --new-passphrase-fd 0", "--ask-new-passphrase"),
        ("import -", "pipe the input in"),
    ] {
        let line = format!("exec {program} {args}");
        let Some(terminal) = Terminal::open(place.wrapped("script"), &line) else {
            return skip(test, "there is no `script`");
        };
        let (code, seen) = terminal.end();
        assert_eq!(code, Some(2), "{args}: {seen}");
        assert!(seen.contains(remedy), "{args}: {seen}");
    }
}

#[test]
fn answers_may_be_typed_ahead_and_stops_between_questions_are_over() {
    let test = "answers_may_be_typed_ahead_and_stops_between_questions_are_over";
    let place = Place::bare();
    let Some(mut terminal) = Terminal::run(&place, "init --ask-passphrase") else {
        return skip(test, "there is no `script`");
    };
    let words = "correct horse battery staple";
    terminal.wait_for("New passphrase: ");
    terminal.press(format!("{words}\n{words}\n").as_bytes());
    let (code, seen) = terminal.end();
    assert_eq!(code, Some(0), "{seen}");
    assert!(!seen.contains(words), "{seen}");

    let mut script = place.wrapped("script");
    script
        .env("PS1", "ready> ")
        .env("NCRED", env!("CARGO_BIN_EXE_ncred"));
    let mut terminal = Terminal::open(script, "exec bash --norc --noprofile -i").unwrap();
    terminal.answer("ready> ", "\"$NCRED\" put db --type basic --ask-passphrase");
    terminal.answer("Passphrase: ", words);
    terminal.wait_for("username: ");
    terminal.press(b"\x1a");
    terminal.answer("ready> ", "fg");
    terminal.answer("put db --type basic --ask-passphrase", "octocat");
    terminal.answer("password: ", SECRET);
    terminal.wait_for("stored db");
    terminal.answer("ready> ", "exit");
    let (code, seen) = terminal.end();
    assert_eq!(code, Some(0), "{seen}");
    assert!(!seen.contains(SECRET) && !seen.contains(words), "{seen}");
}
