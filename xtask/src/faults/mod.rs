//! `faults`: each write, sync, rename, opening and truncation of each verb fails in turn.
//!
//! The faults come from outside, call by call, so that nothing in the program is made for them. A verb is traced
//! without faults, twice, and by strace, if it is there, a third time. Each call found there on a file of the store, on
//! a key file, a bundle or a draft is a point for each way in which it may fail, and the verb is run anew for each
//! point, on a copy of the same store. Afterwards a new process must find what was there before or what the verb
//! leaves, and be able to write; a verb that reported success must have left all of it, and none may after a sync
//! failed whose work was not done again. A point that is not met is as bad as a flaw.

mod arguments;
mod calls;
mod figures;
mod points;
mod syncs;
mod tracer;
mod trial;
mod verbs;
mod witness;

use self::figures::Figures;
use self::points::Point;
use self::trial::Trial;
use self::verbs::{VERBS, Verb};
use crate::Result;
use crate::cargo::Metadata;
use crate::ncred::Workshop;

pub(crate) fn run(arguments: &[&str]) -> Result<bool> {
    let (verb, every) = parse(arguments)?;
    if !available() {
        return Err("processes cannot be traced here; allow ptrace".into());
    }
    check(&Metadata::load()?, verb, every)
}

/// Whether processes can be traced.
pub(crate) fn available() -> bool {
    tracer::works().unwrap_or(false)
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
    let long = verbs::long(&workshop, &template)?;
    let mut all = Figures::default();
    for verb in chosen {
        let from = match verb.name {
            verbs::INIT => &empty,
            verbs::PUT_FIRST => &fresh,
            verbs::PUT_LAST => &long,
            _ => &template,
        };
        let trial = Trial::of(&workshop, from, verb)?;
        let points: Vec<Point> = trial.points()?.into_iter().step_by(every).collect();
        let figures = trial.run(&points)?;
        figures.print(verb.name);
        all += figures;
    }
    println!(
        "faults: {}",
        if witness::is_there() {
            "strace sees the same calls"
        } else {
            "strace, which would confirm the calls, is not there"
        }
    );
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
