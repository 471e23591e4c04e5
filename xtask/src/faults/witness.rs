//! What strace sees of the same verb: a second opinion on which calls there are.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use super::calls::{At, CALLS, Call};
use super::tracer::Step;
use crate::ncred::{self, Place};
use crate::{Result, process};

/// How long strace first holds the end of the process, for its threads to end. It cannot tell whether they have.
const HOLD: Duration = Duration::from_millis(200);

/// How often each call is made on the files of the place.
type Counts = BTreeMap<&'static str, usize>;

/// Whether strace is there and may trace.
pub(super) fn is_there() -> bool {
    process::available("strace", &["-qq", "-o", "/dev/null", "true"])
}

/// What the tracer has seen.
pub(super) fn seen(steps: &[Step]) -> Counts {
    let below = |step: &&Step| step.site.path == "." || step.site.path.starts_with("./");
    count(steps.iter().filter(below).map(|step| step.site.call))
}

/// What strace sees when the verb is run at `place`, the `round`th time from 0.
pub(super) fn by_strace(place: &Place, call: ncred::Call<'_>, round: u32) -> Result<Counts> {
    let log = place.root.with_extension("trace");
    let names: Vec<&str> = CALLS.iter().map(|call| call.name).collect();
    let hold = HOLD.saturating_mul(1 << round.min(5)).as_micros();
    let wrapper = [
        "strace",
        "-f",
        "-qq",
        "-y",
        "-s0",
        "--signal=none",
        &format!("--output={}", log.display()),
        &format!("--trace={},exit_group", names.join(",")),
        &format!("--inject=exit_group:delay_enter={hold}"),
    ]
    .map(str::to_owned);
    let output = place.run(&wrapper, call)?;
    if !output.status.success() {
        return Err("it fails under strace".into());
    }
    let trace = fs::read(&log)?;
    let trace = String::from_utf8_lossy(&trace);
    let made = trace.lines().filter_map(|line| call_on(line, &place.root));
    Ok(count(made))
}

fn count(calls: impl Iterator<Item = &'static Call>) -> Counts {
    let mut counts = Counts::new();
    for call in calls {
        *counts.entry(call.name).or_default() += 1;
    }
    counts
}

/// The call of a line, if it is one on a file below `root`. What was interrupted counts where it begins.
fn call_on(line: &str, root: &Path) -> Option<&'static Call> {
    let (_, rest) = line.split_once(char::is_whitespace)?;
    let (name, arguments) = rest.trim_start().split_once('(')?;
    let call = CALLS.iter().find(|call| call.name == name)?;
    let arguments: Vec<&str> = arguments.split(", ").collect();
    let opened = |index: usize| {
        let (_, file) = arguments.get(index)?.split_once('<')?;
        Some(Path::new(file.split('>').next()?))
    };
    let named = |index: usize| Some(Path::new(arguments.get(index)?.split('"').nth(1)?));
    let file = match call.at {
        At::Descriptor => opened(0)?.to_owned(),
        At::Path(path) => root.join(named(path)?),
        At::Within(from, path) => opened(from)?.join(named(path)?),
    };
    file.starts_with(root).then_some(call)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_below_the_root_are_told_from_others() {
        let root = Path::new("/r");
        let name = |line| call_on(line, root).map(|call| call.name);
        for (line, expected) in [
            (r#"7  fsync(3</r/store>) = 0"#, Some("fsync")),
            (r#"7 fsync(3</r> <unfinished ...>"#, Some("fsync")),
            (r#"7 <... fsync resumed>) = 0"#, None),
            (
                r#"7 pwrite64(3</r/f>(deleted), ""..., 9, 0) = 9"#,
                Some("pwrite64"),
            ),
            (r#"7 write(1<pipe:[9]>, ""..., 9) = 9"#, None),
            (r#"7 openat(AT_FDCWD</r>, "/etc/x", O_RDONLY) = 3</etc/x>"#, None),
            (
                r#"7 openat(AT_FDCWD</r>, "key", O_RDONLY) = 3</r/key>"#,
                Some("openat"),
            ),
            (r#"7 openat(4</>, "r", O_PATH) = 3</r>"#, Some("openat")),
            (r#"7 openat(4</>, "rest", O_PATH) = 3</rest>"#, None),
            (r#"7 renameat(3</r/s>, ".t", 3</r/s>, "t") = 0"#, Some("renameat")),
            (r#"7 unlink("/r/s/t") = 0"#, Some("unlink")),
            (r#"7 unlink("/s/t") = 0"#, None),
            (r#"7 exit_group(0) = ?"#, None),
        ] {
            assert_eq!(name(line), expected, "{line}");
        }
    }
}
