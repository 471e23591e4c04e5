//! `faults`: each write, sync, rename, opening and truncation of each verb that changes something fails in turn.
//!
//! strace brings the faults about, so that nothing in the program is made for it. A verb is traced once without
//! faults, file by file; each call found there is a point for each way in which it may fail, and the verb is run
//! anew for each point, on a copy of the same store. Afterwards a new process must find what was there before or what
//! the verb leaves, and be able to write; a verb that reported success must have left all of it, and none may
//! after a sync failed whose work was not done again.

mod figures;
mod points;
mod syncs;
mod verbs;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Output;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use self::figures::Figures;
use self::points::{CALLS, Fault, Point};
use self::verbs::{PATHS, VERBS, Verb};
use crate::cargo::Metadata;
use crate::ncred::{Place, State, Workshop};
use crate::{Result, process};

/// How often a point is tried until it strikes: which thread makes a call is not always the same.
const TRIES: u32 = 3;

pub(crate) fn run(arguments: &[&str]) -> Result<bool> {
    let (verb, every) = parse(arguments)?;
    if !available() {
        return Err("strace cannot trace here; install it, and allow ptrace".into());
    }
    check(&Metadata::load()?, verb, every)
}

/// Whether processes can be traced.
pub(crate) fn available() -> bool {
    process::available("strace", &["-qq", "-o", "/dev/null", "true"])
}

/// Tries every `every`th point of `verb`, or of all verbs, and prints the figures.
pub(crate) fn check(metadata: &Metadata, verb: Option<&str>, every: usize) -> Result<bool> {
    let chosen: Vec<&Verb> = VERBS
        .iter()
        .filter(|known| verb.is_none_or(|verb| verb == known.name))
        .collect();
    if chosen.is_empty() {
        let names: Vec<&str> = VERBS.iter().map(|verb| verb.name).collect();
        return Err(format!("no verb is tried by that name; there are: {}", names.join(", ")).into());
    }
    let workshop = Workshop::open(metadata, "faults")?;
    let template = verbs::prepare(&workshop)?;
    let empty = workshop.place("empty")?;
    let fresh = verbs::fresh(&workshop)?;
    let mut all = Figures::default();
    for verb in chosen {
        let from = match verb.name {
            verbs::INIT => &empty,
            verbs::PUT_FIRST => &fresh,
            _ => &template,
        };
        let trial = Trial::of(&workshop, from, verb)?;
        let points: Vec<Point> = trial.points()?.into_iter().step_by(every).collect();
        let figures = trial.run(&points)?;
        figures.print(verb.name);
        all += figures;
    }
    all.print_sum();
    Ok(all.hold())
}

fn parse<'a>(arguments: &[&'a str]) -> Result<(Option<&'a str>, usize)> {
    let count = |text: &str| match text.parse() {
        Ok(0) | Err(_) => Err(format!("`{text}` is not a count from 1")),
        Ok(count) => Ok(count),
    };
    Ok(match arguments {
        [] => (None, 1),
        ["--verb", verb] => (Some(verb), 1),
        ["--every", text] => (None, count(text)?),
        ["--verb", verb, "--every", text] => (Some(verb), count(text)?),
        other => return Err(format!("faults does not take `{}`", other.join(" ")).into()),
    })
}

/// A verb, the store it starts from, and what it makes of it.
struct Trial<'a> {
    workshop: &'a Workshop,
    from: &'a Place,
    verb: &'a Verb,
    old: State,
    new: State,
}

/// How a verb fared at a point.
struct Verdict {
    acknowledged: bool,
    /// All that the verb does was found.
    is_new: bool,
    flaw: Option<String>,
}

impl<'a> Trial<'a> {
    fn of(workshop: &'a Workshop, from: &'a Place, verb: &'a Verb) -> Result<Self> {
        let place = from.copy(workshop, "clean")?;
        let old = if verb.makes_the_store() {
            State::default()
        } else {
            place.state()?
        };
        // Not the copy that was read: reading changes files too.
        let place = from.copy(workshop, "clean")?;
        place.must(verb.arguments, verb.stdin)?;
        let new = place.state()?;
        if old == new && !verb.unseen {
            return Err(format!("`{}` changes nothing that can be seen", verb.name).into());
        }
        Ok(Self {
            workshop,
            from,
            verb,
            old,
            new,
        })
    }

    /// Every point, from one trace for each file.
    fn points(&self) -> Result<Vec<Point>> {
        let mut found = Vec::new();
        for path in PATHS {
            let place = self.from.copy(self.workshop, "traced")?;
            let (output, trace) = traced(&place, path, &CALLS.join(","), &[], &[], self.verb)?;
            if !output.status.success() {
                return Err(format!("`{}` fails when it is traced", self.verb.name).into());
            }
            found.extend(points::points(path, &trace));
        }
        if found.is_empty() {
            return Err(format!("`{}` touches none of the files that are known", self.verb.name).into());
        }
        Ok(found)
    }

    fn run(&self, points: &[Point]) -> Result<Figures> {
        let next = AtomicUsize::new(0);
        let figures = Mutex::new(Figures::default());
        let workers = std::thread::available_parallelism()?.get();
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..workers)
                .map(|worker| {
                    let (next, figures) = (&next, &figures);
                    scope.spawn(move || -> Result<()> {
                        while let Some(point) = points.get(next.fetch_add(1, Ordering::Relaxed)) {
                            let verdict = self.strike(point, &format!("worker-{worker}"))?;
                            let mut figures = figures.lock().map_err(|_| "another worker failed")?;
                            figures.add(self.verb.name, point, verdict);
                        }
                        Ok(())
                    })
                })
                .collect();
            workers
                .into_iter()
                .try_for_each(|worker| worker.join().map_err(|_| "a worker failed")?)
        })?;
        Ok(figures.into_inner().map_err(|_| "a worker failed")?)
    }

    /// Has the verb fail at `point`; nothing if the point was not met.
    fn strike(&self, point: &Point, worker: &str) -> Result<Option<Verdict>> {
        for _ in 0..TRIES {
            let place = self.from.copy(self.workshop, worker)?;
            let injection = point.injection();
            let options = injection.iter().flat_map(|rule| ["-e", rule]).collect::<Vec<_>>();
            // The limit holds for the program alone; beyond it a write fails, and no signal ends the program.
            let limit = format!("trap '' XFSZ; exec prlimit --fsize={} \"$@\"", point.limit);
            let limited = ["sh", "-c", &limit, "sh"];
            let limited: &[&str] = if injection.is_none() { &limited } else { &[] };
            let (output, trace) = traced(&place, point.path, &CALLS.join(","), &options, limited, self.verb)?;
            let struck = match point.fault {
                Fault::Eio | Fault::Enospc | Fault::Nothing => trace.contains("(INJECTED)"),
                Fault::Half => trace.contains("EFBIG"),
                Fault::Kill => output.status.signal() == Some(9),
            };
            if struck {
                return Ok(Some(self.judge(point, &place, &output, &trace)));
            }
        }
        Ok(None)
    }

    fn judge(&self, point: &Point, place: &Place, output: &Output, trace: &str) -> Verdict {
        let acknowledged = output.status.success();
        // Before anything else opens the store.
        let lost = point.is_failed_sync() && !syncs::made_good(point, trace, self.from, place);
        let mut verdict = Verdict {
            acknowledged,
            is_new: false,
            flaw: None,
        };
        match self.look(place, output) {
            Err(error) => verdict.flaw = Some(error.to_string()),
            Ok((found, undone)) => {
                verdict.is_new = found == self.new && !undone;
                verdict.flaw = if acknowledged && found != self.new {
                    Some(format!(
                        "acknowledged and not there: {}",
                        found.differences(&self.new)
                    ))
                } else if acknowledged && lost {
                    Some("acknowledged after a failed sync".to_owned())
                } else if !self.allows(&found) {
                    Some(format!(
                        "neither old nor new; of the old differ: {}; of the new: {}",
                        found.differences(&self.old),
                        found.differences(&self.new)
                    ))
                } else {
                    None
                };
            }
        }
        verdict
    }

    fn allows(&self, found: &State) -> bool {
        if self.verb.in_steps {
            found.is_between(&self.old, &self.new)
        } else {
            *found == self.old || *found == self.new
        }
    }

    /// What a new process finds, once it is known that the old one ended as it should and that a write still works; and
    /// whether the work had to be done again for it.
    fn look(&self, place: &Place, output: &Output) -> Result<(State, bool)> {
        let documented = output.status.code().is_none_or(|code| (0..=8).contains(&code));
        if !documented {
            return Err(format!("ended with {}", output.status).into());
        }
        let mut undone = false;
        if self.verb.makes_the_store() && !output.status.success() {
            // What was not made can be made; what was made after all is told from it and is whole.
            let again = place.run(&[], self.verb.call())?;
            undone = again.status.success();
            let made = place.store().join("keyring").exists();
            if !(again.status.success() || again.status.code() == Some(7) && made) {
                let words = String::from_utf8_lossy(&again.stderr);
                return Err(format!("cannot be made again: {}", words.trim()).into());
            }
        }
        let found = place.state()?;
        if self.verb.unseen {
            let again = [self.verb.arguments, &["--json"]].concat();
            let report: serde_json::Value = serde_json::from_str(&place.must(&again, "")?)?;
            let Some(left) = report.get("rewritten").and_then(serde_json::Value::as_u64) else {
                return Err("it does not tell what was left to do".into());
            };
            undone = left > 0;
            if undone && output.status.success() {
                return Err(format!("acknowledged, and {left} were left to do").into());
            }
        }
        place.must(
            &["put", "afterwards", "--type=secret_text"],
            r#"{"text":"afterwards"}"#,
        )?;
        let read = place.must(&["get", "afterwards", "--field=text", "--reveal"], "")?;
        if read != "afterwards" {
            return Err("what is written afterwards is not what is read".into());
        }
        Ok((found, undone))
    }
}

/// Runs the verb while its `calls` on the file at `path` are traced. How it ended, and the trace.
fn traced(
    place: &Place,
    path: &str,
    calls: &str,
    options: &[&str],
    inner: &[&str],
    verb: &Verb,
) -> Result<(Output, String)> {
    let log = place.root.with_extension("trace");
    let watched = if path.is_empty() {
        place.root.clone()
    } else {
        place.root.join(Path::new(path))
    };
    let mut wrapper: Vec<String> = ["strace", "-f", "-qq", "-e", "signal=none", "-s", "0", "-o"]
        .map(str::to_owned)
        .into();
    wrapper.push(log.display().to_string());
    wrapper.extend(["-P".to_owned(), watched.display().to_string()]);
    wrapper.extend(["-e".to_owned(), format!("trace={calls}")]);
    wrapper.extend(options.iter().chain(inner).map(|word| (*word).to_owned()));
    let output = place.run(&wrapper, verb.call())?;
    let trace = fs::read(&log)?;
    Ok((output, String::from_utf8_lossy(&trace).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verb_and_a_share_may_be_given() {
        assert_eq!(parse(&[]).unwrap(), (None, 1));
        assert_eq!(parse(&["--verb", "put"]).unwrap(), (Some("put"), 1));
        assert_eq!(
            parse(&["--verb", "put", "--every", "7"]).unwrap(),
            (Some("put"), 7)
        );
        assert!(parse(&["--every", "0"]).is_err());
        assert!(parse(&["put"]).is_err());
    }

    #[test]
    fn every_verb_has_a_name_of_its_own() {
        for (index, verb) in VERBS.iter().enumerate() {
            assert!(VERBS.iter().skip(index + 1).all(|other| other.name != verb.name));
        }
    }
}
