//! Runs a program, notes each call that it makes on the files that are watched, and has one of them fail.
//!
//! A tracer of its own, since strace counts the calls of every thread alike and cannot be told which of the threads to
//! strike, cannot have a write take a part of its bytes, and lets a thread be cut off wherever the end of the process
//! happens to meet it. Here the same program makes the same calls each time: the process ends when its threads have.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Event, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::arguments::{creates, descriptor, known, plain, text};
use super::calls::{At, Call, Kind};
use super::points::{Counts, Fault, Point, Site};
use crate::Result;

/// How long the end of the process waits for its other threads. Those of the store write what is left to write and
/// end, in milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often to look, meanwhile, whether they have.
const LOOK: Duration = Duration::from_micros(200);

/// What has the shell that starts the program wait until it is traced.
pub(super) const HELD: &[&str] = &["sh", "-c", "kill -STOP $$; exec \"$@\"", "sh"];

/// The files whose calls are noted: all below a directory.
#[derive(Debug, Clone)]
pub(super) struct Watched {
    pub(super) root: PathBuf,
    /// What they are called: the root itself by this, what is below it by this and its path.
    pub(super) label: &'static str,
}

/// One call on a watched file.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) site: Site,
    /// Whether the file is made if it is not there.
    pub(super) creates: bool,
    /// How many bytes it was to take, for calls that say so.
    pub(super) length: u64,
    /// What it returned; nothing if it never did.
    pub(super) result: Option<i64>,
    pub(super) is_struck: bool,
}

impl Step {
    pub(super) fn succeeded(&self) -> bool {
        self.result.is_some_and(|result| result >= 0)
    }
}

/// Follows the program that is stopped in [`HELD`] to its end, however that comes. The thread that started it must be
/// the one that calls this, and have no other child.
pub(super) fn follow(
    program: u32,
    directory: &Path,
    watched: &[Watched],
    point: Option<&Point>,
) -> Result<(ExitStatus, Vec<Step>)> {
    let leader = Pid::from_raw(program.try_into()?);
    match waitpid(leader, Some(WaitPidFlag::WUNTRACED))? {
        WaitStatus::Stopped(..) => {}
        other => return Err(format!("the program did not wait to be traced: {other:?}").into()),
    }
    ptrace::seize(
        leader,
        Options::PTRACE_O_TRACESYSGOOD
            | Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_TRACEEXEC
            | Options::PTRACE_O_EXITKILL,
    )?;
    kill(leader, Signal::SIGCONT)?;
    let mut tracer = Tracer {
        leader,
        directory,
        watched,
        point,
        has_begun: false,
        threads: BTreeMap::from([(leader, Thread::default())]),
        early: BTreeSet::new(),
        made: 0,
        descriptors: BTreeMap::new(),
        counts: Counts::default(),
        full: None,
        ending: None,
        steps: Vec::new(),
    };
    let status = tracer.follow()?;
    Ok((status, tracer.steps))
}

/// Whether a program can be followed here.
pub(super) fn works() -> Result<bool> {
    let [shell, arguments @ ..] = HELD else {
        return Ok(false);
    };
    let mut child = Command::new(shell).args(arguments).arg("true").spawn()?;
    let followed = follow(child.id(), Path::new("/"), &[], None);
    if followed.is_err() {
        let _ = child.kill();
    }
    // The tracer has waited for it.
    let _ = child.try_wait();
    Ok(followed?.0.success())
}

#[derive(Default)]
struct Thread {
    number: usize,
    inside: Option<Inside>,
}

/// A call that has begun and not ended.
#[derive(Default)]
struct Inside {
    /// Which of the steps it is, if it is one.
    step: Option<usize>,
    /// What it is made to return.
    forced: Option<i64>,
    then: Then,
}

/// What its success means for the descriptors.
#[derive(Default)]
enum Then {
    #[default]
    Nothing,
    /// The one it returns is of this file.
    Opened(PathBuf),
}

struct Tracer<'a> {
    leader: Pid,
    directory: &'a Path,
    watched: &'a [Watched],
    point: Option<&'a Point>,
    /// Whether the program has taken the place of the shell.
    has_begun: bool,
    threads: BTreeMap<Pid, Thread>,
    /// Threads that were seen before the call that made them returned.
    early: BTreeSet<Pid>,
    /// How many threads the first one and the others have made.
    made: usize,
    /// The files behind the descriptors, which the threads share.
    descriptors: BTreeMap<u64, PathBuf>,
    counts: Counts,
    /// The file into which nothing more fits.
    full: Option<String>,
    /// Since when the first thread waits to end the process.
    ending: Option<Instant>,
    steps: Vec<Step>,
}

impl Tracer<'_> {
    fn follow(&mut self) -> Result<ExitStatus> {
        loop {
            // Only what this thread of the harness started.
            let mut flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
            flags.set(WaitPidFlag::WNOHANG, self.ending.is_some());
            match waitpid(None, Some(flags))? {
                WaitStatus::StillAlive => std::thread::sleep(LOOK),
                WaitStatus::Exited(id, code) if id == self.leader => {
                    return Ok(ExitStatus::from_raw(code << 8));
                }
                WaitStatus::Signaled(id, signal, _) if id == self.leader => {
                    return Ok(ExitStatus::from_raw(signal as i32));
                }
                WaitStatus::Exited(id, _) | WaitStatus::Signaled(id, ..) => {
                    self.threads.remove(&id);
                    self.early.remove(&id);
                }
                WaitStatus::PtraceSyscall(id) => {
                    if !self.has_begun || self.at_call(id).or_else(ended)? {
                        resume(id, None)?;
                    }
                }
                WaitStatus::PtraceEvent(id, _, event) => self.at_event(id, event)?,
                WaitStatus::Stopped(id, signal) => resume(id, Some(signal))?,
                WaitStatus::Continued(_) => {}
            }
            let is_alone = self.threads.len() == 1;
            if self
                .ending
                .is_some_and(|since| is_alone || since.elapsed() > PATIENCE)
            {
                self.ending = None;
                resume(self.leader, None)?;
            }
        }
    }

    fn at_event(&mut self, id: Pid, event: i32) -> Result<()> {
        if event == Event::PTRACE_EVENT_CLONE as i32 {
            let new = Pid::from_raw(ptrace::getevent(id).unwrap_or_default().try_into()?);
            self.made += 1;
            let thread = Thread {
                number: self.made,
                inside: None,
            };
            self.threads.insert(new, thread);
            if self.early.remove(&new) {
                resume(new, None)?;
            }
        } else if event == Event::PTRACE_EVENT_EXEC as i32 {
            // Of the shell: this call ends in the program.
            self.has_begun = true;
            if let Some(thread) = self.threads.get_mut(&id) {
                thread.inside = Some(Inside::default());
            }
        } else if !self.threads.contains_key(&id) {
            self.early.insert(id);
            return Ok(());
        }
        resume(id, None)
    }

    /// A thread is before or behind a call. Whether it goes on now.
    fn at_call(&mut self, id: Pid) -> nix::Result<bool> {
        let Some(thread) = self.threads.get_mut(&id) else {
            return Ok(true);
        };
        match thread.inside.take() {
            Some(inside) => self.behind(id, inside).map(|()| true),
            None => {
                let number = thread.number;
                let (inside, goes_on) = self.before(id, number)?;
                if let Some(thread) = self.threads.get_mut(&id) {
                    thread.inside = Some(inside);
                }
                Ok(goes_on)
            }
        }
    }

    fn before(&mut self, id: Pid, thread: usize) -> nix::Result<(Inside, bool)> {
        let mut registers = ptrace::getregs(id)?;
        let number = registers.orig_rax.cast_signed();
        let arguments = [registers.rdi, registers.rsi, registers.rdx, registers.r10];
        let first = descriptor(arguments[0]);
        let mut inside = Inside::default();
        if number == libc::SYS_exit_group && id == self.leader && self.threads.len() > 1 {
            self.ending = Some(Instant::now());
            return Ok((inside, false));
        }
        match number {
            libc::SYS_close => {
                self.descriptors.remove(&first);
            }
            libc::SYS_dup | libc::SYS_dup2 | libc::SYS_dup3 | libc::SYS_fcntl => {
                let copies = [libc::F_DUPFD, libc::F_DUPFD_CLOEXEC].map(i64::from);
                let is_copy = number != libc::SYS_fcntl || copies.contains(&arguments[1].cast_signed());
                if let Some(file) = self.descriptors.get(&first).filter(|_| is_copy) {
                    inside.then = Then::Opened(file.clone());
                }
            }
            _ => {}
        }
        let Some(call) = Call::of(number) else {
            return Ok((inside, true));
        };
        let Some(file) = self.file(id, call, arguments)? else {
            return Ok((inside, true));
        };
        if let Some(path) = self.label(&file) {
            let site = self.counts.next(thread, call, &path);
            let is_struck = self.point.is_some_and(|point| point.site == site);
            let length = if call.has_length() { arguments[2] } else { 0 };
            if is_struck && let Some(point) = self.point {
                match point.fault {
                    Fault::Eio => inside.forced = Some(-i64::from(libc::EIO)),
                    Fault::Enospc => inside.forced = Some(-i64::from(libc::ENOSPC)),
                    Fault::Nothing => inside.forced = Some(0),
                    Fault::Kill => kill(self.leader, Signal::SIGKILL)?,
                    Fault::Short | Fault::Full => {
                        registers.rdx = length / 2;
                        ptrace::setregs(id, registers)?;
                        self.full = (point.fault == Fault::Full).then(|| path.clone());
                    }
                }
            } else if call.kind == Kind::Write && self.full.as_deref() == Some(&path) {
                inside.forced = Some(-i64::from(libc::ENOSPC));
            }
            inside.step = Some(self.steps.len());
            self.steps.push(Step {
                site,
                creates: creates(call, arguments),
                length,
                result: None,
                is_struck,
            });
        }
        if inside.forced.is_some() {
            // No call has this number: the kernel does nothing.
            registers.orig_rax = u64::MAX;
            ptrace::setregs(id, registers)?;
        } else if call.kind == Kind::Open {
            inside.then = Then::Opened(file);
        }
        Ok((inside, true))
    }

    fn behind(&mut self, id: Pid, inside: Inside) -> nix::Result<()> {
        let mut registers = ptrace::getregs(id)?;
        if let Some(result) = inside.forced {
            registers.rax = result.cast_unsigned();
            ptrace::setregs(id, registers)?;
        }
        let result = registers.rax.cast_signed();
        if let Then::Opened(file) = inside.then
            && result >= 0
        {
            self.descriptors.insert(registers.rax, file);
        }
        if let Some(step) = inside.step.and_then(|step| self.steps.get_mut(step)) {
            step.result = Some(result);
        }
        Ok(())
    }

    /// The file that the call is about; nothing for pipes and the like.
    fn file(&self, id: Pid, call: &Call, arguments: [u64; 4]) -> nix::Result<Option<PathBuf>> {
        let argument = |index: usize| arguments.get(index).copied().unwrap_or_default();
        let (from, path) = match call.at {
            At::Descriptor => return Ok(self.descriptors.get(&descriptor(argument(0))).cloned()),
            At::Path(path) => (None, path),
            At::Within(from, path) => (Some(argument(from)), path),
        };
        let path = text(id, argument(path))?;
        let here = from.and_then(|from| self.descriptors.get(&descriptor(from)));
        Ok(Some(plain(&here.map_or(self.directory, |here| here).join(path))))
    }

    fn label(&self, file: &Path) -> Option<String> {
        self.watched.iter().find_map(|watched| {
            let below = file.strip_prefix(&watched.root).ok()?;
            let parts = below.iter().map(|part| known(&part.to_string_lossy()));
            let parts: Vec<String> = [watched.label.to_owned()].into_iter().chain(parts).collect();
            Some(parts.join("/"))
        })
    }
}

/// Lets a thread go on to its next call. One that was killed meanwhile is told of by the next wait.
fn resume(id: Pid, signal: Option<Signal>) -> Result<()> {
    ptrace::syscall(id, signal).or_else(|error| ended(error).map(|_| ()))?;
    Ok(())
}

/// A thread that was killed while it was stopped cannot be asked any more.
fn ended(error: Errno) -> nix::Result<bool> {
    if error == Errno::ESRCH {
        Ok(true)
    } else {
        Err(error)
    }
}

#[cfg(test)]
mod tests;
