use std::fs::OpenOptions;
use std::io::Write as _;

/// Says that `test` cannot run here, and why: a server or a privilege is missing. Then return from the test.
///
/// The line is printed, and appended to the file that the environment variable `NEBULA_TEST_SKIP_LOG` names, if it does: a
/// runner that sets it can count what was left out, which a passing test would hide.
///
/// # Panics
/// When the file cannot be written.
#[expect(clippy::print_stderr, clippy::panic, reason = "a test talks to its runner")]
pub fn skip(test: &str, why: &str) {
    eprintln!("SKIPPED {test}: {why}");
    if let Some(path) = std::env::var_os("NEBULA_TEST_SKIP_LOG") {
        let log = OpenOptions::new().append(true).create(true).open(path);
        if log.and_then(|mut log| writeln!(log, "{test}: {why}")).is_err() {
            panic!("the skip of {test} could not be noted in NEBULA_TEST_SKIP_LOG");
        }
    }
}
