//! What stands on the screen and can be scrolled back to, and what the shell remembers.

use nebula_credential_testkit::{Canary, skip};

use super::{Home, Step, is_there, searched, text};
use crate::terminal::Terminal;

/// A question, and what is typed then.
type Turn<'a> = (&'a str, &'a str);

impl Home {
    fn terminal(&self, line: &str) -> Terminal {
        Terminal::open(self.wrapped("script"), line).unwrap()
    }

    /// At a terminal, with what a program would pipe in coming from a file.
    fn shown(&self, step: &Step) -> (i32, String) {
        let mut line = format!("exec \"$NCRED\" {}", step.name());
        if !step.stdin.is_empty() {
            let file = self.place.file("input", &step.stdin);
            line.push_str(&format!(" <{}", text(&file)));
        }
        let (code, seen) = self.terminal(&line).end();
        (code.unwrap_or(-1), seen)
    }
}

#[test]
fn no_screen_shows_a_secret_that_was_not_asked_for() {
    let test = "no_screen_shows_a_secret_that_was_not_asked_for";
    let Some(home) = Home::new(test, Canary::text) else {
        return;
    };
    if !is_there("script") {
        return skip(test, "there is no `script`");
    }
    let mut screens = Vec::new();
    home.drive(|step| {
        let (code, seen) = home.shown(step);
        screens.push((step.name(), seen));
        code
    });
    let secret = home.stored.secret();
    let passphrase = home.passphrase.secret();
    let talks: &[(&str, &[Turn<'_>], i32)] = &[
        (
            "put web --type basic",
            &[("username: ", "octocat"), ("password: ", &secret)],
            0,
        ),
        ("put web --type jwt", &[("token: ", &secret)], 2),
        (
            "rotate web",
            &[("username: ", "octocat"), ("password: ", &secret)],
            0,
        ),
        (
            "key add --ask-new-passphrase",
            &[("New passphrase: ", &passphrase), ("The same again: ", &secret)],
            2,
        ),
        (
            "key add --ask-new-passphrase",
            &[
                ("New passphrase: ", &passphrase),
                ("The same again: ", &passphrase),
            ],
            0,
        ),
        ("get web --ask-passphrase", &[("Passphrase: ", &passphrase)], 0),
        ("get web --ask-passphrase", &[("Passphrase: ", &secret)], 5),
        // Where an answer without secrets is due.
        ("revoke web", &[("Type its name: ", "bew")], 1),
        ("purge web", &[("Type its name: ", "bew")], 1),
    ];
    for (args, talk, code) in talks {
        let mut terminal = home.terminal(&format!("exec \"$NCRED\" {args}"));
        for (question, answer) in *talk {
            terminal.answer(question, answer);
        }
        let (ended, seen) = terminal.end();
        assert_eq!(ended, Some(*code), "{args}: {seen}");
        screens.push(((*args).to_owned(), seen));
    }
    let hunter = home.hunter();
    for (name, seen) in &screens {
        hunter.check(&format!("the screen of {name}"), seen);
    }

    // What is typed where nobody switched the echo off, and what was asked for, is seen.
    let mut echoing = home.terminal("echo ready; exec cat");
    echoing.answer("ready", &secret);
    echoing.press(b"\x04");
    assert!(!hunter.search(echoing.end().1).is_empty());
    let revealed = home.shown(&Step::new("get web --reveal", "", 0)).1;
    assert!(!hunter.search(revealed).is_empty());
    searched(screens.len(), "screens");
}

#[test]
fn the_history_of_the_shell_holds_no_secret() {
    let test = "the_history_of_the_shell_holds_no_secret";
    let Some(home) = Home::new(test, Canary::text) else {
        return;
    };
    if !(is_there("script") && is_there("bash")) {
        return skip(test, "there is no `script`, or no bash");
    }
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_ncred"));
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", text(program.parent().unwrap()));
    let bash = |history: &str| {
        let mut script = home.wrapped("script");
        script
            .env("PATH", &path)
            .env("HISTFILE", home.place.path(history))
            .env("PS1", "ready> ");
        Terminal::open(script, "exec bash --norc --noprofile -i").unwrap()
    };
    let (secret, passphrase) = (home.newer.secret(), home.passphrase.secret());
    home.place.file("value.json", &Home::basic(&home.stored));
    home.place
        .file(".env", &format!("API={}\n", home.stored.secret()));

    let mut shell = bash("history");
    shell.answer("ready> ", "cd");
    let commands: &[(&str, &[Turn<'_>])] = &[
        ("ncred init", &[]),
        ("ncred put db --type basic < value.json", &[]),
        ("ncred import .env", &[]),
        (
            "ncred put web --type basic",
            &[("username: ", "octocat"), ("password: ", &secret)],
        ),
        ("ncred rotate db --generate", &[]),
        ("ncred edit web", &[]),
        ("ncred get web --field password --reveal | wc -c", &[]),
        ("ncred run --set P=web#password -- sh -c 'test -n \"$P\"'", &[]),
        (
            "ncred key add --ask-new-passphrase",
            &[
                ("New passphrase: ", &passphrase),
                ("The same again: ", &passphrase),
            ],
        ),
        ("ncred get web --ask-passphrase", &[("Passphrase: ", &passphrase)]),
    ];
    for (command, talk) in commands {
        shell.answer("ready> ", command);
        for (question, answer) in *talk {
            shell.answer(question, answer);
        }
    }
    shell.answer("ready> ", "exit");
    let (code, seen) = shell.end();
    assert_eq!(code, Some(0), "{seen}");
    let made = home.place.ok(&["get", "db", "--reveal", "--field", "password"]);
    home.generated.borrow_mut().push(Canary::of(made.as_bytes()));
    let hunter = home.hunter();
    let history = std::fs::read_to_string(home.place.path("history")).unwrap();
    for (command, _) in commands {
        assert!(history.contains(command), "{history}");
    }
    hunter.check("the history", &history);
    hunter.check("the screen of the shell", &seen);
    searched(history.lines().count(), "lines of history");

    // What is typed as an argument is kept, though ncred refuses it.
    let mut shell = bash("other_history");
    shell.answer("ready> ", &format!("ncred put db {secret} --type basic"));
    shell.answer("ready> ", "exit 0");
    assert_eq!(shell.end().0, Some(0));
    let history = std::fs::read_to_string(home.place.path("other_history")).unwrap();
    assert!(!hunter.search(history).is_empty());
}
