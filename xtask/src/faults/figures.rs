//! The counts of points, and what went wrong at which.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use super::Verdict;
use super::points::{Fault, Point};

/// How many flaws are shown in full.
const SHOWN: usize = 40;

#[derive(Default)]
pub(super) struct Figures {
    /// Points that were struck, by call and fault.
    struck: BTreeMap<(&'static str, Fault), u64>,
    /// Reported as a failure, and nothing or only a part was done.
    old: u64,
    /// Reported as a failure or cut short, and all was done.
    new: u64,
    /// Reported as a success: what failed was not needed.
    acknowledged: u64,
    failed_syncs: u64,
    /// Writes of a half that were not reached: another, longer file met the limit first. They fail in other ways.
    masked: u64,
    /// Points whose call no thread made again.
    missed: Vec<String>,
    flaws: Vec<String>,
}

impl Figures {
    pub(super) fn add(&mut self, verb: &str, point: &Point, verdict: Option<Verdict>) {
        let Some(verdict) = verdict else {
            if point.fault == Fault::Half {
                self.masked += 1;
            } else {
                self.missed.push(format!("{verb}: {point}"));
            }
            return;
        };
        *self.struck.entry((point.call, point.fault)).or_default() += 1;
        self.failed_syncs += u64::from(point.is_failed_sync());
        match (&verdict.flaw, verdict.acknowledged, verdict.is_new) {
            (Some(flaw), ..) => self.flaws.push(format!("{verb}: {point}: {flaw}")),
            (None, true, _) => self.acknowledged += 1,
            (None, false, true) => self.new += 1,
            (None, false, false) => self.old += 1,
        }
    }

    fn total(&self) -> u64 {
        self.struck.values().sum()
    }

    /// Whether anything was tried and nothing is wrong.
    pub(super) fn hold(&self) -> bool {
        self.flaws.is_empty() && self.total() > 0
    }

    pub(super) fn print(&self, verb: &str) {
        println!("faults: {verb}: {}", self.sum());
        let mut calls = BTreeMap::<&str, Vec<String>>::new();
        for ((call, fault), count) in &self.struck {
            calls.entry(call).or_default().push(format!("{fault} {count}"));
        }
        for (call, faults) in calls {
            println!("  {call:10} {}", faults.join(", "));
        }
        for flaw in self.flaws.iter().take(SHOWN) {
            println!("  FLAW {flaw}");
        }
        if self.flaws.len() > SHOWN {
            println!("  and {} more", self.flaws.len() - SHOWN);
        }
        for missed in &self.missed {
            println!("  not met: {missed}");
        }
    }

    pub(super) fn print_sum(&self) {
        println!("faults: all: {}", self.sum());
    }

    fn sum(&self) -> String {
        format!(
            "{} points: {} old, {} new though not acknowledged, {} acknowledged and there, {} flaws; {} failed syncs; \
             {} masked, {} not met",
            self.total(),
            self.old,
            self.new,
            self.acknowledged,
            self.flaws.len(),
            self.failed_syncs,
            self.masked,
            self.missed.len()
        )
    }
}

impl AddAssign for Figures {
    fn add_assign(&mut self, other: Self) {
        for (what, count) in other.struck {
            *self.struck.entry(what).or_default() += count;
        }
        self.old += other.old;
        self.new += other.new;
        self.acknowledged += other.acknowledged;
        self.failed_syncs += other.failed_syncs;
        self.masked += other.masked;
        self.missed.extend(other.missed);
        self.flaws.extend(other.flaws);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_flaw_is_enough_and_nothing_tried_shows_nothing() {
        let point = Point {
            path: "f",
            call: "fsync",
            nth: 1,
            fault: Fault::Eio,
            limit: 0,
        };
        let verdict = |flaw: Option<&str>| Verdict {
            acknowledged: false,
            is_new: false,
            flaw: flaw.map(str::to_owned),
        };
        let mut figures = Figures::default();
        figures.add("v", &point, None);
        assert!(!figures.hold());
        figures.add("v", &point, Some(verdict(None)));
        assert!(figures.hold());
        let mut other = Figures::default();
        other.add("v", &point, Some(verdict(Some("bad"))));
        figures += other;
        assert!(!figures.hold());
        assert_eq!(
            figures.sum(),
            "2 points: 1 old, 0 new though not acknowledged, 0 acknowledged and there, 1 flaws; 2 failed syncs; \
             0 masked, 1 not met"
        );
    }
}
