//! One verb, tried point by point.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Output;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::figures::Figures;
use super::points::{self, Fault, Point};
use super::syncs;
use super::tracer::{self, Step, Watched};
use super::verbs::{self, Bundle, Verb};
use super::witness;
use crate::Result;
use crate::ncred::{Call, Place, State, Workshop};

/// How often a point is tried until it is met. One is enough when the calls are always the same; the others are for a
/// machine so busy that a wait of the program runs out.
const TRIES: u32 = 10;

/// How long a verb may take that ends by itself, in milliseconds or, where it waits for a lock, in seconds.
const LIMIT: Duration = Duration::from_secs(60);

/// A verb, the store it starts from, and what it makes of it.
pub(super) struct Trial<'a> {
    workshop: &'a Workshop,
    from: &'a Place,
    verb: &'a Verb,
    old: State,
    new: State,
    /// What it prints when nothing fails.
    printed: String,
}

/// How a verb fared at a point.
pub(super) struct Verdict {
    pub(super) acknowledged: bool,
    /// All that the verb does was found.
    pub(super) is_new: bool,
    pub(super) flaw: Option<String>,
}

impl<'a> Trial<'a> {
    pub(super) fn of(workshop: &'a Workshop, from: &'a Place, verb: &'a Verb) -> Result<Self> {
        let place = from.copy(workshop, "clean")?;
        let old = if verb.makes_the_store() {
            State::default()
        } else {
            state(&place, verb)?
        };
        // Not the copy that was read: reading changes files too.
        let place = from.copy(workshop, "clean")?;
        let printed = place.must(verb.arguments, verb.stdin)?;
        let printed = from_here(&place, &printed);
        let new = state(&place, verb)?;
        let changes = old != new;
        if changes == (verb.reads || verb.unseen) {
            return Err(format!("`{}` was not expected to leave what it leaves", verb.name).into());
        }
        Ok(Self {
            workshop,
            from,
            verb,
            old,
            new,
            printed,
        })
    }

    /// Every point. There is no saying which they are before two runs in a row make the same calls.
    pub(super) fn points(&self) -> Result<Vec<Point>> {
        let mut last = self.steps()?;
        for _ in 0..TRIES {
            let steps = self.steps()?;
            if steps.is_empty() {
                return Err(
                    format!("`{}` touches none of the files that are watched", self.verb.name).into(),
                );
            }
            if points::by_thread(&steps) == points::by_thread(&last) {
                self.confirm(&steps)?;
                return Ok(points::points(&steps));
            }
            last = steps;
        }
        Err(format!("`{}` does not make the same calls each time", self.verb.name).into())
    }

    /// Has strace, where there is one, look at the verb as well: no call may be there that only one of the two sees.
    fn confirm(&self, steps: &[Step]) -> Result<()> {
        let seen = witness::seen(steps);
        let mut by_strace = seen.clone();
        if witness::is_there() {
            for round in 0..TRIES {
                let place = self.from.copy(self.workshop, "witnessed")?;
                by_strace = witness::by_strace(&place, self.verb.call(), round)?;
                if by_strace == seen {
                    break;
                }
            }
        }
        if by_strace != seen {
            let verb = self.verb.name;
            return Err(format!("`{verb}`: strace sees {by_strace:?}, and not {seen:?}").into());
        }
        Ok(())
    }

    fn steps(&self) -> Result<Vec<Step>> {
        let place = self.from.copy(self.workshop, "traced")?;
        let (output, steps) = traced(&place, self.verb.call(), "traced", None)?;
        if !output.status.success() {
            return Err(format!("`{}` fails when it is traced", self.verb.name).into());
        }
        Ok(steps)
    }

    pub(super) fn run(&self, points: &[Point]) -> Result<Figures> {
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
            let (output, steps) = traced(&place, self.verb.call(), worker, Some(point))?;
            if steps.iter().any(|step| step.is_struck) {
                return Ok(Some(self.judge(point, &place, &output, &steps)));
            }
        }
        Ok(None)
    }

    fn judge(&self, point: &Point, place: &Place, output: &Output, steps: &[Step]) -> Verdict {
        let acknowledged = output.status.success();
        // Before anything else opens the store.
        let existed = |path: &str| self.from.root.join(path).exists();
        let has_log = verbs::has_log(place);
        let lost = point.is_failed_sync() && !syncs::made_good(steps, existed, has_log);
        let mut verdict = Verdict {
            acknowledged,
            is_new: false,
            flaw: None,
        };
        match self.look(point, place, output) {
            Err(error) => verdict.flaw = Some(error.to_string()),
            Ok((found, undone)) => {
                verdict.is_new = found == self.new && !undone && !self.verb.reads;
                verdict.flaw = if acknowledged && found != self.new {
                    Some(format!(
                        "acknowledged and not there: {}",
                        found.differences(&self.new)
                    ))
                } else if acknowledged && self.verb.reads && !self.has_printed(place, output) {
                    Some("it reports a success and prints something else".to_owned())
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

    fn has_printed(&self, place: &Place, output: &Output) -> bool {
        from_here(place, &String::from_utf8_lossy(&output.stdout)) == self.printed
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
    fn look(&self, point: &Point, place: &Place, output: &Output) -> Result<(State, bool)> {
        let as_documented = match output.status.code() {
            Some(code) => point.fault != Fault::Kill && (0..=8).contains(&code),
            None => point.fault == Fault::Kill && output.status.signal() == Some(Signal::SIGKILL as i32),
        };
        if !as_documented {
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
        let found = state(place, self.verb)?;
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

/// The text with paths as they are from the place.
fn from_here(place: &Place, text: &str) -> String {
    text.replace(&place.root.display().to_string(), ".")
}

/// Everything the store at `place` holds, and the bundle that the verb makes, if there is one.
fn state(place: &Place, verb: &Verb) -> Result<State> {
    let mut state = place.state()?;
    let made = |bundle: &&Bundle| place.root.join(bundle.file).exists();
    if let Some(bundle) = verb.bundle.as_ref().filter(made) {
        let key = format!("--bundle-key-file={}", bundle.key_file);
        let arguments = [
            "import",
            bundle.file,
            &key,
            "--on-conflict=replace",
            "--dry-run",
            "--json",
        ];
        let mut held: serde_json::Value = serde_json::from_str(&place.must(&arguments, "")?)?;
        let held = held.get_mut("credentials").map(serde_json::Value::take);
        state.0.insert("bundle".to_owned(), held.unwrap_or_default());
    }
    Ok(state)
}

/// Makes the call at `place`, and has it fail at `point` if there is one. How it ended, and what it did. Nobody else
/// may do so as the same `worker`.
pub(super) fn traced(
    place: &Place,
    call: Call<'_>,
    worker: &str,
    point: Option<&Point>,
) -> Result<(Output, Vec<Step>)> {
    let drafts = Drafts::make(worker)?;
    let watched = [
        Watched {
            root: place.root.clone(),
            label: ".",
        },
        Watched {
            root: drafts.0.clone(),
            label: "draft",
        },
    ];
    let held: Vec<String> = tracer::HELD.iter().map(|word| (*word).to_owned()).collect();
    let mut command = place.command(&held, call.arguments);
    command.env("XDG_RUNTIME_DIR", &drafts.0);
    let mut child = command.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // Fits into the pipe.
        stdin.write_all(call.stdin.as_bytes())?;
    }
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let id = child.id();
    std::thread::scope(|scope| {
        let stdout = scope.spawn(move || all(stdout));
        let stderr = scope.spawn(move || all(stderr));
        let (ended, end) = mpsc::channel::<()>();
        scope.spawn(move || {
            if end.recv_timeout(LIMIT) == Err(mpsc::RecvTimeoutError::Timeout)
                && let Ok(id) = id.try_into()
            {
                let _ = kill(Pid::from_raw(id), Signal::SIGKILL);
            }
        });
        let followed = tracer::follow(id, &place.root, &watched, point);
        drop(ended);
        if followed.is_err() {
            // What it prints has to end.
            let _ = child.kill();
        }
        // The tracer has waited for it.
        let _ = child.try_wait();
        let stdout = stdout.join().map_err(|_| "nothing reads its output")??;
        let stderr = stderr.join().map_err(|_| "nothing reads its errors")??;
        let (status, steps) = followed?;
        let output = Output {
            status,
            stdout,
            stderr,
        };
        Ok((output, steps))
    })
}

fn all(stream: Option<impl Read>) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        stream.read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// Where the drafts of `edit` lie: in memory, as it demands, and gone with whatever a killed one left there.
struct Drafts(PathBuf);

impl Drafts {
    fn make(worker: &str) -> Result<Self> {
        let name = format!("nebula-faults-{}-{worker}", std::process::id());
        let drafts = Self(PathBuf::from("/dev/shm").join(name));
        fs::DirBuilder::new().mode(0o700).create(&drafts.0)?;
        Ok(drafts)
    }
}

impl Drop for Drafts {
    fn drop(&mut self) {
        // What is left lies in memory, and its name says whose it was.
        let _ = fs::remove_dir_all(&self.0);
    }
}
