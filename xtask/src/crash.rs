//! `crash`: real `ncred` processes killed at random moments.
//!
//! Each cycle starts one verb that changes something and kills it somewhere between its start and a little past its
//! usual end. Then everything is read: a verb that reported success must have done all of it; one that was killed has
//! done it or not; nothing else may have changed, and every version of every record must open.

mod steps;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use self::steps::{Random, Step};
use crate::Result;
use crate::cargo::Metadata;
use crate::ncred::{Place, State, Workshop};

/// How many cycles there are, unless `--cycles` or the environment says otherwise.
const CYCLES: u64 = 50;
pub(crate) const CYCLES_VARIABLE: &str = "NEBULA_CRASH_CYCLES";

pub(crate) fn run(arguments: &[&str]) -> Result<bool> {
    let cycles = parse(arguments, std::env::var(CYCLES_VARIABLE).ok().as_deref())?;
    check(&Metadata::load()?, cycles)
}

fn parse(arguments: &[&str], default: Option<&str>) -> Result<u64> {
    let text = match arguments {
        [] => default,
        ["--cycles", text] => Some(*text),
        other => return Err(format!("crash does not take `{}`", other.join(" ")).into()),
    };
    match text.map(str::parse) {
        None => Ok(CYCLES),
        Some(Ok(cycles)) if cycles > 0 => Ok(cycles),
        Some(_) => Err("a count of cycles is a whole number from 1".into()),
    }
}

/// Kills `cycles` processes and prints what was found.
pub(crate) fn check(metadata: &Metadata, cycles: u64) -> Result<bool> {
    let workshop = Workshop::open(metadata, "crash")?;
    let place = workshop.place("place")?;
    let start = Instant::now();
    place.must(&["init"], "")?;
    let first = start.elapsed();
    steps::seal_bundle(&workshop, &place)?;
    let seed = u64::from(std::process::id());
    println!("crash: seed {seed}");
    let mut random = Random(seed);
    let mut state = place.state()?;
    let mut usual = Usual {
        first,
        times: BTreeMap::new(),
    };
    let mut counts = BTreeMap::<&str, Counts>::new();
    let mut flaws = Vec::new();
    for cycle in 0..cycles {
        let step = Step::choose(&state, cycle, &mut random);
        let new = step.applied(&state);
        let end = killed(&place, &step, usual.share(step.verb, cycle, &mut random))?;
        usual.learn(step.verb, &end);
        let counts = counts.entry(step.verb).or_default();
        counts.killed += u64::from(end.killed);
        counts.acknowledged += u64::from(end.acknowledged);
        let mut note = |what: String| flaws.push(format!("cycle {cycle}: {step}: {what}"));
        if !end.killed && !end.acknowledged {
            note(format!("refused: {}", end.words.trim()));
        }
        let start = Instant::now();
        let found = match place.state() {
            Ok(found) => found,
            Err(error) => {
                note(format!("unreadable: {error}"));
                break;
            }
        };
        if let Some(what) = flaw(&step, end.acknowledged, &state, &new, &found) {
            note(what);
        }
        counts.done += u64::from(!end.acknowledged && found == new && found != state);
        counts.read = counts.read.max(start.elapsed());
        state = found;
    }
    let mut sum = Counts::default();
    for (verb, counts) in &counts {
        println!("crash: {verb}: {counts}");
        sum.add(counts);
    }
    for flaw in &flaws {
        println!("  FLAW {flaw}");
    }
    println!(
        "crash: all: {sum}; {} flaws (an acknowledged write lost, something unreadable, a verb refused)",
        flaws.len()
    );
    Ok(flaws.is_empty() && sum.killed > 0)
}

/// What is wrong with what a step left, where there was `old` before it and it makes `new` of that.
fn flaw(step: &Step, acknowledged: bool, old: &State, new: &State, found: &State) -> Option<String> {
    let is_between = || found.is_between(old, new);
    if acknowledged {
        let is_there = found == new || step.may_wait && is_between();
        return (!is_there).then(|| format!("acknowledged and not there: {}", found.differences(new)));
    }
    let is_whole = found == old || found == new || step.in_steps && is_between();
    (!is_whole).then(|| {
        let (old, new) = (found.differences(old), found.differences(new));
        format!("neither old nor new; of the old differ: {old}; of the new: {new}")
    })
}

/// How long each verb takes to its end.
struct Usual {
    /// What is thought of a verb that was not seen to end yet.
    first: Duration,
    times: BTreeMap<&'static str, Duration>,
}

impl Usual {
    /// Up to a little more than a verb takes: at random within each tenth in turn, so that a few cycles see all of them.
    fn share(&self, verb: &str, cycle: u64, random: &mut Random) -> Duration {
        let share = cycle % 10 * 130 + random.below(130);
        let usual = self.times.get(verb).unwrap_or(&self.first);
        usual.mul_f64(share as f64 / 1000.0)
    }

    fn learn(&mut self, verb: &'static str, end: &End) {
        let usual = self.times.entry(verb).or_insert(self.first);
        *usual = if end.acknowledged {
            (*usual * 3 + end.took) / 4
        } else {
            // A busy machine is slower than it was.
            usual.mul_f64(1.02)
        };
    }
}

#[derive(Default)]
struct Counts {
    killed: u64,
    acknowledged: u64,
    /// Killed, and had done all of its work.
    done: u64,
    /// The longest time that reading everything took.
    read: Duration,
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.killed += other.killed;
        self.acknowledged += other.acknowledged;
        self.done += other.done;
        self.read = self.read.max(other.read);
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} killed ({} of them when the work was done), {} acknowledged first, all read anew in at most {:?}",
            self.killed, self.done, self.acknowledged, self.read
        )
    }
}

/// How a process ended.
struct End {
    killed: bool,
    acknowledged: bool,
    took: Duration,
    words: String,
}

fn killed(place: &Place, step: &Step, patience: Duration) -> Result<End> {
    let arguments: Vec<&str> = step.arguments.iter().map(String::as_str).collect();
    let start = Instant::now();
    let mut child = place.command(&[], &arguments).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        let _ = stdin.write_all(step.stdin.as_bytes());
    }
    // What it prints fits into the pipes.
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        let left = patience.saturating_sub(start.elapsed());
        if left.is_zero() {
            child.kill()?;
            break child.wait()?;
        }
        std::thread::sleep(left.min(Duration::from_millis(1)));
    };
    let took = start.elapsed();
    let mut words = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_string(&mut words)?;
    }
    Ok(End {
        killed: status.signal() == Some(9),
        acknowledged: status.success(),
        took,
        words,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cycles_may_be_given() {
        assert_eq!(parse(&[], None).unwrap(), CYCLES);
        assert_eq!(parse(&[], Some("7")).unwrap(), 7);
        assert_eq!(parse(&["--cycles", "5"], Some("7")).unwrap(), 5);
        assert!(parse(&["--cycles", "0"], None).is_err());
        assert!(parse(&["5"], None).is_err());
    }

    #[test]
    fn what_is_lost_or_half_done_is_a_flaw() {
        let mut random = Random(1);
        let old = State([("key 1".to_owned(), serde_json::json!("primary"))].into());
        let bundle = (0..)
            .map(|cycle| Step::choose(&old, cycle, &mut random))
            .find(|step| step.verb == "import of a bundle")
            .unwrap();
        let new = bundle.applied(&old);
        let mut half = new.clone();
        half.0.pop_last();
        assert!(bundle.in_steps && half != old);
        let mut lost = new.clone();
        lost.0.insert("key 1".to_owned(), serde_json::json!("lost"));
        let judged = |acknowledged, found| flaw(&bundle, acknowledged, &old, &new, found).is_some();
        assert!(!judged(false, &old) && !judged(false, &half) && !judged(false, &new));
        assert!(judged(true, &old) && judged(true, &half) && !judged(true, &new));
        assert!(judged(false, &lost) && judged(true, &lost));
    }
}
