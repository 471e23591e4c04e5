//! The counts of points, and what went wrong at which.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use super::points::{Fault, Point};
use super::trial::Verdict;

/// How many flaws are shown in full.
const SHOWN: usize = 40;

#[derive(Default)]
pub(super) struct Figures {
    /// Points that were met, by call and fault.
    met: BTreeMap<(&'static str, Fault), u64>,
    /// Reported as a failure, and nothing or only a part was done.
    old: u64,
    /// Reported as a failure or cut short, and all was done.
    new: u64,
    /// Reported as a success: what failed was not needed.
    acknowledged: u64,
    failed_syncs: u64,
    /// Points whose call was not made again.
    missed: Vec<String>,
    flaws: Vec<String>,
}

impl Figures {
    pub(super) fn add(&mut self, verb: &str, point: &Point, verdict: Option<Verdict>) {
        let Some(verdict) = verdict else {
            self.missed.push(format!("{verb}: {point}"));
            return;
        };
        *self.met.entry((point.site.call.name, point.fault)).or_default() += 1;
        self.failed_syncs += u64::from(point.is_failed_sync());
        match (&verdict.flaw, verdict.acknowledged, verdict.is_new) {
            (Some(flaw), ..) => self.flaws.push(format!("{verb}: {point}: {flaw}")),
            (None, true, _) => self.acknowledged += 1,
            (None, false, true) => self.new += 1,
            (None, false, false) => self.old += 1,
        }
    }

    fn met(&self) -> u64 {
        self.met.values().sum()
    }

    /// Whether anything was tried, every point was met, and nothing is wrong.
    pub(super) fn hold(&self) -> bool {
        self.flaws.is_empty() && self.missed.is_empty() && self.met() > 0
    }

    pub(super) fn print(&self, verb: &str) {
        println!("faults: {verb}: {}", self.sum());
        let mut calls = BTreeMap::<&str, Vec<String>>::new();
        for ((call, fault), count) in &self.met {
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
        let (met, missed) = (self.met(), self.missed.len());
        format!(
            "{} points, {met} met, {missed} not met: {} old, {} new though not acknowledged, {} acknowledged and \
             there, {} flaws; {} failed syncs",
            met + missed as u64,
            self.old,
            self.new,
            self.acknowledged,
            self.flaws.len(),
            self.failed_syncs,
        )
    }
}

impl AddAssign for Figures {
    fn add_assign(&mut self, other: Self) {
        for (what, count) in other.met {
            *self.met.entry(what).or_default() += count;
        }
        self.old += other.old;
        self.new += other.new;
        self.acknowledged += other.acknowledged;
        self.failed_syncs += other.failed_syncs;
        self.missed.extend(other.missed);
        self.flaws.extend(other.flaws);
    }
}

#[cfg(test)]
mod tests {
    use nix::libc;

    use super::*;
    use crate::faults::calls::Call;
    use crate::faults::points::Counts;

    #[test]
    fn one_flaw_is_enough_and_nothing_tried_shows_nothing() {
        let point = Point {
            site: Counts::default().next(0, Call::of(libc::SYS_fsync).unwrap(), "f"),
            fault: Fault::Eio,
        };
        let verdict = |flaw: Option<&str>| Verdict {
            acknowledged: false,
            is_new: false,
            flaw: flaw.map(str::to_owned),
        };
        let mut figures = Figures::default();
        assert!(!figures.hold());
        figures.add("v", &point, Some(verdict(None)));
        assert!(figures.hold());
        let mut missed = Figures::default();
        missed.add("v", &point, None);
        missed += figures;
        assert!(!missed.hold());
        let mut flawed = Figures::default();
        flawed.add("v", &point, Some(verdict(Some("bad"))));
        assert!(!flawed.hold());
        missed += flawed;
        assert_eq!(
            missed.sum(),
            "3 points, 2 met, 1 not met: 1 old, 0 new though not acknowledged, 0 acknowledged and there, 1 flaws; 2 \
             failed syncs"
        );
    }
}
