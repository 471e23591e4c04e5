//! The other process: this program, started again, writing to the same store whenever it is told to.

use std::cell::RefCell;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

use nebula_credential_benches::{Error, Result, fixture};
use nebula_credential_core::{OpContext, Principal, Sealed, SecretStore as _, SystemClock};
use nebula_credential_provider_local::LocalStorage;

const ARGUMENT: &str = "--neighbour";
/// Its credentials are numbered from here.
const FIRST: usize = 500_000;

/// Lines from parent to child.
const RESUME: &str = "resume";
const PAUSE: &str = "pause";

/// What the other process did.
pub(crate) struct Tally {
    /// Puts a second while it was writing.
    pub(crate) rate: f64,
    /// Puts that failed.
    pub(crate) errors: u64,
}

/// The other process, seen from this one; it ends when its input does.
pub(crate) struct Neighbour {
    child: RefCell<Child>,
    pipes: RefCell<(ChildStdin, BufReader<ChildStdout>)>,
}

impl Neighbour {
    pub(crate) fn start(store: &Path) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(ARGUMENT)
            .arg(store)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("the other process has no pipes".into());
        };
        Ok(Self {
            child: RefCell::new(child),
            pipes: RefCell::new((input, BufReader::new(output))),
        })
    }

    pub(crate) fn resume(&self) -> Result<()> {
        self.tell(RESUME)
    }

    /// Returns when its last put is done.
    pub(crate) fn pause(&self) -> Result<()> {
        self.tell(PAUSE)
    }

    fn tell(&self, word: &str) -> Result<()> {
        let (input, output) = &mut *self.pipes.borrow_mut();
        writeln!(input, "{word}")?;
        let mut echo = String::new();
        output.read_line(&mut echo)?;
        if echo.trim_end() == word {
            Ok(())
        } else {
            Err("the other process does not answer".into())
        }
    }

    pub(crate) fn stop(self) -> Result<Tally> {
        let (input, mut output) = self.pipes.into_inner();
        drop(input);
        let mut line = String::new();
        output.read_line(&mut line)?;
        self.child.into_inner().wait()?;
        let mut numbers = line.split_whitespace().map(str::parse::<f64>);
        match (numbers.next(), numbers.next(), numbers.next()) {
            (Some(Ok(puts)), Some(Ok(seconds)), Some(Ok(errors))) => Ok(Tally {
                rate: puts / seconds,
                errors: errors as u64,
            }),
            _ => Err("the other process does not say what it did".into()),
        }
    }
}

/// Does the other process's part, if that is what this program was started for.
pub(crate) fn main() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? != ARGUMENT {
        return None;
    }
    let store = arguments.next()?;
    Some(match run(Path::new(&store)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    })
}

fn run(store: &Path) -> Result<()> {
    let (words, heard) = channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(std::io::Result::ok) {
            if words.send(line).is_err() {
                return;
            }
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(write(LocalStorage::existing(store), &heard))
}

async fn write(store: LocalStorage, heard: &Receiver<String>) -> Result<()> {
    let ctx = OpContext::new(Principal::Process, Arc::new(SystemClock));
    let envelope = Sealed::envelope(
        nebula_credential_core::ENVELOPE_MAGIC
            .into_iter()
            .chain(std::iter::repeat_n(0, 1500))
            .collect::<Vec<u8>>(),
    )?;
    let (mut puts, mut errors, mut spent) = (0_u64, 0_u64, Duration::ZERO);
    let mut since: Option<Instant> = None;
    loop {
        // While it writes it only looks; while it rests it waits.
        let word = match since {
            Some(_) => heard.try_recv(),
            None => heard.recv().map_err(|_| TryRecvError::Disconnected),
        };
        match word {
            Ok(word) => {
                spent += since.take().map_or(Duration::ZERO, |since| since.elapsed());
                since = (word == RESUME).then(Instant::now);
                say(&word)?;
            }
            Err(TryRecvError::Empty) => {
                let id = fixture::address(FIRST + usize::try_from(puts)?)?;
                let put = fixture::put(&id, 1, &envelope)?;
                match store.put(&ctx, put).await {
                    Ok(_) => puts += 1,
                    Err(_) => errors += 1,
                }
            }
            Err(TryRecvError::Disconnected) => break,
        }
    }
    say(&format!("{puts} {} {errors}", spent.as_secs_f64()))
}

fn say(line: &str) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
