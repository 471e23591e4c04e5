//! The audit log of the command line: what it holds, what it refuses without it, and how it is read.

mod read;
mod recorded;
mod verified;

use std::path::PathBuf;

use serde_json::Value;

use crate::place::{Answer, Place, answer, text};

/// A place whose every run is recorded.
struct Audited {
    place: Place,
    log: PathBuf,
}

impl Audited {
    /// With `db` in it, put there before anything is recorded.
    fn new() -> Self {
        Self::of(Place::with_db())
    }

    fn of(place: Place) -> Self {
        let log = place.path("audit.log");
        Self { place, log }
    }

    fn seed(&self) -> PathBuf {
        self.place.path("audit.log.seed")
    }

    fn run_as(&self, who: &str, args: &[&str], stdin: &str) -> Answer {
        let mut command = self.place.command();
        command
            .args(args)
            .env("NCRED_AUDIT_LOG", &self.log)
            .env("NCRED_PRINCIPAL", who);
        answer(command, stdin)
    }

    fn run(&self, args: &[&str]) -> Answer {
        self.run_as("user:alice", args, "")
    }

    fn ok(&self, args: &[&str]) -> String {
        let answer = self.run(args);
        assert_eq!(answer.code, 0, "{args:?}: {answer:?}");
        answer.out
    }

    /// What `ncred audit show` with these options shows.
    fn show(&self, options: &[&str]) -> Vec<Value> {
        let args = [&["audit", "show", "--json"], options].concat();
        let lines = self.ok(&args);
        lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn verify(&self) -> Answer {
        self.run(&["audit", "verify", "--seed", text(&self.seed()), "--json"])
    }

    fn lines(&self) -> Vec<String> {
        let log = std::fs::read_to_string(&self.log).unwrap();
        log.lines().map(str::to_owned).collect()
    }

    fn write(&self, lines: &[String]) {
        std::fs::write(&self.log, lines.join("\n") + "\n").unwrap();
    }
}

const VALUE: &str = r#"{"username":"octocat","password":"n3wer"}"#;
