//! Counts of tests, read from the closing lines of the test runners.

use std::fmt;
use std::ops::AddAssign;

/// How many tests passed, failed and were skipped.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

/// The runner whose summary lines are read. Each reads only its own: nextest shows the captured
/// output of a failed test, and that holds libtest's line for the same test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Runner {
    Nextest,
    Libtest,
}

impl Runner {
    /// The counts in `line` if it is one of this runner's summary lines.
    pub(crate) fn summary(self, line: &str) -> Option<Tally> {
        let counts = match self {
            // "     Summary [   0.005s] 3 tests run: 2 passed (1 slow), 1 failed, 0 skipped"
            Self::Nextest => {
                let rest = line.trim_start().strip_prefix("Summary [")?;
                let (_, counts) = rest.split_once(" run: ")?;
                counts
            }
            // "test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; …"
            Self::Libtest => line.strip_prefix("test result: ")?.split_once(". ")?.1,
        };
        let mut tally = Tally::default();
        for part in without_parentheses(counts).split([',', ';']) {
            let mut words = part.split_whitespace();
            let Some(count) = words.next().and_then(|word| word.parse::<u64>().ok()) else {
                continue;
            };
            match words.next() {
                Some("passed") => tally.passed += count,
                Some("skipped" | "ignored") => tally.skipped += count,
                Some("measured" | "filtered") | None => {}
                // failed, exec failed, timed out, errored: whatever it is called, it did not pass.
                Some(_) => tally.failed += count,
            }
        }
        Some(tally)
    }
}

fn without_parentheses(text: &str) -> String {
    let mut depth = 0_u32;
    text.chars()
        .filter(|character| {
            match character {
                '(' => depth += 1,
                ')' => {
                    depth = depth.saturating_sub(1);
                    return false;
                }
                _ => {}
            }
            depth == 0
        })
        .collect()
}

impl Tally {
    /// Moves `count` tests that the runner saw pass to the skipped ones.
    pub(crate) fn skip(&mut self, count: u64) {
        let moved = count.min(self.passed);
        self.passed -= moved;
        self.skipped += count;
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(passed: u64, failed: u64, skipped: u64) -> Tally {
        Tally {
            passed,
            failed,
            skipped,
        }
    }

    #[test]
    fn nextest_summaries() {
        let read = |line| Runner::Nextest.summary(line);
        assert_eq!(
            read("     Summary [   0.005s] 3 tests run: 3 passed, 0 skipped"),
            Some(tally(3, 0, 0))
        );
        assert_eq!(
            read(
                "     Summary [  61.2s] 9/12 tests run: 5 passed (2 slow, 1 flaky), 2 failed, 1 exec failed, 1 timed out, 4 skipped"
            ),
            Some(tally(5, 4, 4))
        );
        assert_eq!(
            read("     Summary [   0.1s] 1 test run: 1 passed (1 leaky), 7 skipped"),
            Some(tally(1, 0, 7))
        );
        assert_eq!(read("test result: FAILED. 0 passed; 1 failed; 0 ignored"), None);
        assert_eq!(read("Summary of the day"), None);
    }

    #[test]
    fn libtest_summaries() {
        let read = |line| Runner::Libtest.summary(line);
        assert_eq!(
            read(
                "test result: ok. 7 passed; 0 failed; 2 ignored; 0 measured; 3 filtered out; finished in 0.00s"
            ),
            Some(tally(7, 0, 2))
        );
        assert_eq!(
            read("test result: FAILED. 1 passed; 2 failed; 0 ignored; 5 measured; 0 filtered out"),
            Some(tally(1, 2, 0))
        );
        assert_eq!(
            read("     Summary [   0.1s] 1 test run: 1 passed, 0 skipped"),
            None
        );
        assert_eq!(read("    test result: ok. 1 passed; 0 failed"), None);
    }

    #[test]
    fn a_skip_at_run_time_was_counted_as_passed() {
        let mut sum = tally(5, 1, 0);
        sum.skip(2);
        assert_eq!(sum, tally(3, 1, 2));
        assert_eq!(sum.to_string(), "3 passed, 1 failed, 2 skipped");
    }
}
