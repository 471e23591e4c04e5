//! Functions measured in turns.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::stats::{Middle, median, quantile, sorted};
use crate::table::{Row, Table, Verdict};
use crate::{Bench, Error, Result};

/// A sample lasts at least this long: what the clock takes, and the entry into an async runtime, is then lost in it.
const SAMPLE: Duration = Duration::from_micros(100);
/// How long each function runs before the next has its turn: shorter than the phases of a busy machine.
const TURN: Duration = Duration::from_millis(4);
const ROUNDS: usize = 61;

/// Functions that do the same work, ours and its peers, measured in turns.
///
/// In each round every function takes many samples in one turn, in an order that reverses from round to round. A
/// round's figure is the median of its samples. What is printed is the median of these figures and, for each
/// comparison, the median of the ratios of two figures of the same round, with the middle half of them: a machine that
/// slows down slows both.
pub struct Race<'a> {
    bench: &'a mut Bench,
    title: String,
    rounds: usize,
    tails: bool,
    lanes: Vec<Lane<'a>>,
    comparisons: Vec<Comparison>,
}

type Prepare<'a> = Box<dyn FnMut() -> Result<()> + 'a>;
type Work<'a> = Box<dyn FnMut(u64) -> Result<()> + 'a>;

struct Lane<'a> {
    name: String,
    /// Called before each turn, and not timed.
    prepare: Prepare<'a>,
    work: Work<'a>,
    /// Calls to a sample.
    batch: u64,
    /// Samples to a turn.
    samples: usize,
    /// Seconds a call, one for each round.
    figures: Vec<f64>,
    /// Seconds a call, one for each sample.
    all: Vec<f64>,
}

struct Comparison {
    ours: usize,
    peer: usize,
    target: Option<f64>,
}

/// A lane of a race, to say what it is compared with.
#[derive(Debug, Clone, Copy)]
pub struct LaneId(usize);

/// A function for [`Race::lane`] that calls `work` and keeps the compiler from leaving anything out.
pub fn repeat<T, E: Into<Error>>(mut work: impl FnMut() -> Result<T, E>) -> impl FnMut(u64) -> Result<()> {
    move |times| {
        for _ in 0..times {
            black_box(work().map_err(Into::into)?);
        }
        Ok(())
    }
}

impl<'a> Race<'a> {
    pub(crate) fn new(bench: &'a mut Bench, title: String) -> Self {
        let rounds = bench.rounds().unwrap_or(ROUNDS);
        Self {
            bench,
            title,
            rounds,
            tails: false,
            lanes: Vec::new(),
            comparisons: Vec::new(),
        }
    }

    /// Adds a function, which does its work as many times as it is told.
    pub fn lane(&mut self, name: impl Into<String>, work: impl FnMut(u64) -> Result<()> + 'a) -> LaneId {
        self.lane_after(name, || Ok(()), work)
    }

    /// Adds a function with something to do before each of its turns, which is not timed.
    pub fn lane_after(
        &mut self,
        name: impl Into<String>,
        prepare: impl FnMut() -> Result<()> + 'a,
        work: impl FnMut(u64) -> Result<()> + 'a,
    ) -> LaneId {
        self.lanes.push(Lane {
            name: name.into(),
            prepare: Box::new(prepare),
            work: Box::new(work),
            batch: 1,
            samples: 1,
            figures: Vec::new(),
            all: Vec::new(),
        });
        LaneId(self.lanes.len() - 1)
    }

    /// Prints how many times `peer` the function `ours` takes.
    pub fn compare(&mut self, ours: LaneId, peer: LaneId) {
        self.expect(None, ours, peer);
    }

    /// Prints it, and whether it is at most `target` times.
    pub fn at_most(&mut self, target: f64, ours: LaneId, peer: LaneId) {
        self.expect(Some(target), ours, peer);
    }

    /// One of the two: with a target or without.
    pub fn expect(&mut self, target: Option<f64>, LaneId(ours): LaneId, LaneId(peer): LaneId) {
        self.comparisons.push(Comparison { ours, peer, target });
    }

    /// Prints the 99th percentile and the longest sample too. For functions that take longer than a sample must.
    pub fn tails(&mut self) {
        self.tails = true;
    }

    /// Takes a multiple of the usual number of rounds, or a fraction.
    pub fn scale_rounds(&mut self, factor: f64) {
        self.rounds = ((self.rounds as f64 * factor) as usize).max(3);
    }

    /// Measures and prints.
    ///
    /// # Errors
    /// Those of the functions.
    pub fn run(mut self) -> Result<()> {
        for lane in &mut self.lanes {
            lane.calibrate()?;
        }
        for round in 0..self.rounds {
            let order: Box<dyn Iterator<Item = &mut Lane<'_>>> = if round % 2 == 0 {
                Box::new(self.lanes.iter_mut())
            } else {
                Box::new(self.lanes.iter_mut().rev())
            };
            for lane in order {
                lane.turn()?;
            }
        }
        self.print();
        Ok(())
    }

    fn print(self) {
        let Self {
            bench,
            title,
            rounds,
            tails,
            lanes,
            comparisons,
        } = self;
        let mut rows: Vec<Row> = lanes
            .iter()
            .map(|lane| {
                let all = sorted(lane.all.clone());
                Row {
                    name: lane.name.clone(),
                    median: median(lane.figures.clone()),
                    tails: tails.then(|| (quantile(&all, 0.99), quantile(&all, 1.0))),
                    verdicts: Vec::new(),
                }
            })
            .collect();
        for Comparison { ours, peer, target } in comparisons {
            let (Some(us), Some(them), Some(row)) = (lanes.get(ours), lanes.get(peer), rows.get_mut(ours))
            else {
                continue;
            };
            let ratio = Middle::ratio(&us.figures, &them.figures);
            let target = target.map(|limit| (limit, ratio.median <= limit));
            if let Some((_, met)) = target {
                bench.judge(met);
            }
            row.verdicts.push(Verdict {
                peer: them.name.clone(),
                ratio,
                target,
            });
        }
        Table { title, rounds, rows }.print();
    }
}

impl Lane<'_> {
    /// Finds how many calls make a sample. The first turn only warms up: files are opened in it, and caches filled.
    fn calibrate(&mut self) -> Result<()> {
        (self.prepare)()?;
        let begin = Instant::now();
        while begin.elapsed() < TURN {
            self.time()?;
        }
        let mut taken = self.time()?;
        while taken < SAMPLE && self.batch < 1 << 30 {
            self.batch *= 2;
            taken = self.time()?;
        }
        let samples = TURN.as_secs_f64() / taken.as_secs_f64();
        self.samples = (samples as usize).clamp(1, 100);
        Ok(())
    }

    fn turn(&mut self) -> Result<()> {
        (self.prepare)()?;
        let mut samples = Vec::with_capacity(self.samples);
        for _ in 0..self.samples {
            samples.push(self.time()?.as_secs_f64() / self.batch as f64);
        }
        self.all.extend_from_slice(&samples);
        self.figures.push(median(samples));
        Ok(())
    }

    fn time(&mut self) -> Result<Duration> {
        let begin = Instant::now();
        (self.work)(self.batch)?;
        Ok(begin.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lane_has_one_figure_for_each_round_and_an_error_stops_the_race() {
        let mut bench = Bench {
            rounds: Some(4),
            missed: 0,
        };
        let mut calls = 0;
        let mut race = bench.race("test");
        let slow = race.lane("slow", |_| {
            std::thread::sleep(SAMPLE);
            Ok(())
        });
        let fast = race.lane("fast", |times| {
            for _ in 0..times {
                calls = black_box(calls + 1);
            }
            Ok(())
        });
        race.at_most(f64::INFINITY, fast, slow);
        race.at_most(0.0, fast, slow);
        for lane in &mut race.lanes {
            lane.calibrate().unwrap();
            for _ in 0..4 {
                lane.turn().unwrap();
            }
        }
        assert!(race.lanes.iter().all(|lane| lane.figures.len() == 4));
        race.print();
        assert!(calls > 4);
        assert_eq!(bench.missed, 1);

        let mut race = bench.race("fails");
        race.lane("fails", |_| Err("no".into()));
        assert_eq!(race.run().unwrap_err().to_string(), "no");
    }
}
