//! `test`: everything that must hold before a change lands, and one line that says whether it does.
//!
//! The closing line counts tests only. Format, tidy, book, lints and documentation are single checks with a line of
//! their own; one that fails adds one failure to the closing line and ends the run, because what
//! follows costs minutes. A test stage that fails without having counted a failure (it did not
//! compile, say) adds one as well.
//!
//! A test that cannot run here (no server, no privilege) appends one line with the reason to the
//! file named by `NEBULA_TEST_SKIP_LOG` and returns. The runner counts it as passed; this command
//! counts it as skipped. On CI (`CI=true`) a skipped test fails the run.

use std::path::Path;
use std::time::Instant;

use crate::cargo::Metadata;
use crate::tally::{Runner, Tally};
use crate::{Result, crash, docs, faults, process, tidy};

/// The file to which a test appends one line when it skips itself.
const SKIP_LOG: &str = "NEBULA_TEST_SKIP_LOG";

pub(crate) fn run(quick: bool) -> Result<bool> {
    let metadata = Metadata::load()?;
    let mut session = Session::start(&metadata)?;
    let ran = session.stages(quick);
    if let Err(error) = &ran {
        println!("xtask: {error}");
        session.sum.failed += 1;
    }
    session.close()
}

struct Session<'a> {
    metadata: &'a Metadata,
    skip_log: std::path::PathBuf,
    sum: Tally,
}

impl<'a> Session<'a> {
    fn start(metadata: &'a Metadata) -> Result<Self> {
        let name = format!("skipped-{}.log", std::process::id());
        let skip_log = metadata.target_directory.join("xtask").join(name);
        process::write(&skip_log, "")?;
        Ok(Self {
            metadata,
            skip_log,
            sum: Tally::default(),
        })
    }

    fn stages(&mut self, quick: bool) -> Result<()> {
        if !self.check("format", format)? {
            println!("  remedy: cargo fmt --all; cargo fmt --manifest-path {FUZZ}");
            return Ok(());
        }
        if !self.check("tidy", tidy::check)? {
            return Ok(());
        }
        if !self.check("book", docs::check)? {
            return Ok(());
        }
        if !quick && (!self.check("lints", lints)? || !self.check("documentation", documentation)?) {
            return Ok(());
        }
        if process::available("cargo-nextest", &["nextest", "--version"]) {
            let arguments = ["nextest", "run", "--no-fail-fast", "--no-tests=pass"];
            self.tests("tests", Runner::Nextest, &arguments, WORKSPACE)?;
        } else {
            let arguments = [
                "test",
                "--no-fail-fast",
                "--lib",
                "--bins",
                "--tests",
                "--examples",
            ];
            self.tests("tests", Runner::Libtest, &arguments, WORKSPACE)?;
        }
        if !quick {
            let arguments = ["test", "--no-fail-fast", "--doc"];
            self.tests("doctests", Runner::Libtest, &arguments, WORKSPACE)?;
            let arguments = ["test", "--no-fail-fast", "--locked", "--manifest-path", FUZZ];
            self.tests("fuzz corpus", Runner::Libtest, &arguments, &[])?;
            self.proof("crash, small", |metadata| crash::check(metadata, CRASHES))?;
            if faults::available() {
                let verb = Some(FAULTS_VERB);
                self.proof("faults, small", |metadata| {
                    faults::check(metadata, verb, FAULTS_EVERY)
                })?;
            } else {
                println!("\n  skipped: faults, small: processes cannot be traced here");
                self.sum.skipped += 1;
            }
        }
        Ok(())
    }

    /// A stage that either holds or does not.
    fn check(&mut self, name: &str, work: impl FnOnce(&Metadata) -> Result<bool>) -> Result<bool> {
        announce(name);
        let start = Instant::now();
        let holds = work(self.metadata)?;
        let word = if holds {
            "ok"
        } else {
            "FAILED, counted as 1 failed below"
        };
        println!("  {name}: {word} ({:.1} s)", start.elapsed().as_secs_f64());
        if !holds {
            self.sum.failed += 1;
        }
        Ok(holds)
    }

    /// A stage whose tests are counted. It never ends the run: the next stage still tells something.
    fn tests(&mut self, name: &str, runner: Runner, arguments: &[&str], scope: &[&str]) -> Result<()> {
        announce(name);
        let start = Instant::now();
        let mut command = process::cargo(self.root());
        command.args(arguments).args(scope);
        command.env(SKIP_LOG, &self.skip_log);
        command.env("CARGO_TARGET_DIR", &self.metadata.target_directory);
        if wants_colours() {
            // The runners see a pipe here, not the terminal behind it.
            command.env("CARGO_TERM_COLOR", "always");
        }
        let mut tally = Tally::default();
        let succeeded = process::stream(&mut command, |line| {
            if let Some(counted) = runner.summary(line) {
                tally += counted;
            }
        })?;
        if !succeeded && tally.failed == 0 {
            println!("  {name}: FAILED without a failed test, counted as 1 failed");
            tally.failed = 1;
        }
        println!("  {name}: {tally} ({:.1} s)", start.elapsed().as_secs_f64());
        self.sum += tally;
        Ok(())
    }

    /// The short form of a proof that is a command of this program: one test.
    fn proof(&mut self, name: &str, work: impl FnOnce(&Metadata) -> Result<bool>) -> Result<()> {
        announce(name);
        let start = Instant::now();
        let mut tally = Tally::default();
        if work(self.metadata)? {
            tally.passed = 1;
        } else {
            tally.failed = 1;
        }
        println!("  {name}: {tally} ({:.1} s)", start.elapsed().as_secs_f64());
        self.sum += tally;
        Ok(())
    }

    /// Reads what tests said about skipping themselves and prints the closing line.
    fn close(mut self) -> Result<bool> {
        let log = process::read(&self.skip_log)?;
        std::fs::remove_file(&self.skip_log)?;
        let reasons: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
        for reason in &reasons {
            println!("  skipped at run time: {reason}");
        }
        self.sum.skip(reasons.len() as u64);
        let on_ci = process::on_ci();
        if on_ci && self.sum.skipped > 0 {
            println!("  on CI a skipped test is a failure: give it what it needs, or delete it");
        }
        println!("\n{}", self.sum);
        Ok(self.sum.failed == 0 && !(on_ci && self.sum.skipped > 0))
    }

    fn root(&self) -> &'a Path {
        &self.metadata.workspace_root
    }
}

/// Cycles of `crash`, and the points of `faults`, that take a few seconds.
const CRASHES: u64 = 10;
const FAULTS_VERB: &str = "put-first";
const FAULTS_EVERY: usize = 6;

const WORKSPACE: &[&str] = &["--workspace", "--all-features"];

/// The fuzz targets are a workspace of their own.
const FUZZ: &str = "fuzz/Cargo.toml";

fn format(metadata: &Metadata) -> Result<bool> {
    let mut holds = true;
    for scope in ["--all", "--manifest-path=fuzz/Cargo.toml"] {
        let mut command = process::cargo(&metadata.workspace_root);
        command.args(["fmt", scope, "--check"]);
        if !wants_colours() {
            // rustfmt colours its diff even into a file.
            command.args(["--", "--color=never"]);
        }
        holds &= process::status(&mut command)?;
    }
    Ok(holds)
}

/// What the caller asked of cargo, or else whether someone is looking.
fn wants_colours() -> bool {
    match std::env::var("CARGO_TERM_COLOR").as_deref() {
        Ok("always") => true,
        Ok("never") => false,
        _ => std::io::IsTerminal::is_terminal(&std::io::stdout()),
    }
}

fn lints(metadata: &Metadata) -> Result<bool> {
    // Without the `libfuzzer` feature: libFuzzer itself is C++ that only `fuzz` needs.
    for scope in [WORKSPACE, &["--locked", "--manifest-path", FUZZ]] {
        let mut command = process::cargo(&metadata.workspace_root);
        command.env("CARGO_TARGET_DIR", &metadata.target_directory);
        command
            .args(["clippy", "--all-targets"])
            .args(scope)
            .args(["--", "-D", "warnings"]);
        if !process::status(&mut command)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Broken and private links in the documentation are errors.
fn documentation(metadata: &Metadata) -> Result<bool> {
    let mut command = process::cargo(&metadata.workspace_root);
    command.env("RUSTDOCFLAGS", "-D warnings");
    command.args(["doc", "--no-deps"]).args(WORKSPACE);
    process::status(&mut command)
}

fn announce(name: &str) {
    println!("\n== {name}");
}
