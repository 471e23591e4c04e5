//! Live handles: on one thread beside `ArcSwap`, and on two cores beside one.

use std::convert::Infallible;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use arc_swap::ArcSwap;
use nebula_credential_benches::{Bench, Result, fixture, repeat};
use nebula_credential_cache::CredentialHandle;
use nebula_credential_core::Version;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Reads to a call where threads are told to read: they take a hundred times as long as waking up.
const READS: u64 = 400_000;

fn value() -> String {
    "t".repeat(192)
}

pub(crate) fn load(bench: &mut Bench) -> Result<()> {
    let (handle, _updater) = CredentialHandle::new(fixture::address(0)?, Version::FIRST, value());
    let swap = ArcSwap::from_pointee(value());
    let mut race = bench.race("a live handle");
    let peer = race.lane(
        "ArcSwap::load and Arc::clone",
        repeat(|| Ok::<_, Infallible>(Arc::clone(&swap.load()))),
    );
    let load = race.lane("CredentialHandle::load", repeat(|| handle.load()));
    let with = race.lane("CredentialHandle::with", repeat(|| handle.with(String::len)));
    race.at_most(2.0, load, peer);
    race.compare(with, peer);
    race.run()
}

/// Each core has a thread of its own: left to the system, two threads often share one.
pub(crate) fn two_cores(bench: &mut Bench) -> Result<()> {
    let (handle, _updater) = CredentialHandle::new(fixture::address(0)?, Version::FIRST, value());
    let (borrowed, owned) = (handle.clone(), handle);
    let works: [(&str, Work); 3] = [
        (
            "CredentialHandle::with",
            times(move || borrowed.with(String::len)),
        ),
        ("CredentialHandle::load", times(move || owned.load())),
        ("nothing shared", times(|| black_box(7_u64).rotate_left(3))),
    ];
    let own = sched_getaffinity(None)?;
    let mut cores = (0..CpuSet::MAX_CPU).filter(|core| own.is_set(*core));
    let (Some(first), Some(second)) = (cores.next(), cores.next()) else {
        return Err("there is one core only".into());
    };
    let readers = [Reader::start(first)?, Reader::start(second)?];

    let mut race = bench.race(format!(
        "{READS} reads on each core; as fast on two as on one is 1"
    ));
    for (name, work) in &works {
        let one = race.lane(format!("{name}, one core"), |times| {
            read(readers.get(..1).unwrap_or_default(), work, times)
        });
        let two = race.lane(format!("{name}, two cores"), |times| read(&readers, work, times));
        // 1.8 times as many reads in the same time.
        race.expect((*name == "CredentialHandle::with").then_some(1.11), two, one);
    }
    race.run()
}

type Work = Arc<dyn Fn(u64) + Send + Sync>;

fn times<T>(work: impl Fn() -> T + Send + Sync + 'static) -> Work {
    Arc::new(move |times| (0..times).for_each(|_| drop(black_box(work()))))
}

fn read(readers: &[Reader], work: &Work, times: u64) -> Result<()> {
    for reader in readers {
        reader.orders.send((Arc::clone(work), times * READS))?;
    }
    for reader in readers {
        reader.done.recv()?;
    }
    Ok(())
}

/// A thread that stays on one core.
struct Reader {
    orders: Sender<(Work, u64)>,
    done: Receiver<()>,
    _thread: JoinHandle<()>,
}

impl Reader {
    fn start(core: usize) -> Result<Self> {
        let (orders, next) = channel::<(Work, u64)>();
        let (end, done) = channel();
        let mut set = CpuSet::new();
        set.set(core);
        let thread = thread::Builder::new().spawn(move || {
            if sched_setaffinity(None, &set).is_err() {
                return;
            }
            for (work, times) in next {
                work(times);
                if end.send(()).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self {
            orders,
            done,
            _thread: thread,
        })
    }
}
