//! A question at the terminal whose answer does not echo, whatever signal comes meanwhile.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use nebula_credential::{SecretString, limits};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::OFlags;
use rustix::termios::{LocalModes, OptionalActions, QueueSelector, SpecialCodeIndex, Termios};
use signal_hook::consts::{SIGCONT, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
use zeroize::Zeroizing;

/// What ends or stops a program that asks, and must find the echo switched on; and, last, what makes it go on: by then a
/// shell has switched it on. A hang-up is left alone: the terminal goes with it, and `nohup` stays in force.
const SIGNALS: [i32; 5] = [SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGCONT];

/// Whether signals end the process at once, and stop it at once, as they do by default.
static ENDS: AtomicBool = AtomicBool::new(true);
static STOPS: AtomicBool = AtomicBool::new(true);

/// From now on signals that end a process do nothing here: the caller handles them.
pub(crate) fn leave_signals() {
    ENDS.store(false, Ordering::SeqCst);
}

/// Asks `question`, and reads a line of at most [`limits::SECRET_BYTES_MAX`] bytes.
///
/// # Errors
/// [`ErrorKind::UnexpectedEof`] if no answer is given, [`ErrorKind::InvalidData`] if it is no text or too long, and
/// whatever opening `/dev/tty` gives where there is no terminal.
pub(crate) fn secret(question: &str) -> io::Result<SecretString> {
    let terminal = File::options().read(true).write(true).open("/dev/tty")?;
    // Ctrl-Z and its like take away the keys before them: what was there to read may be gone, and must not be waited for.
    let keys = File::open("/dev/tty")?;
    rustix::fs::fcntl_setfl(&keys, OFlags::NONBLOCK)?;
    let heard = Heard::listen()?;
    loop {
        heard.forget();
        let answer = {
            let hidden = Hidden::new(&terminal)?;
            (&terminal).write_all(question.as_bytes())?;
            let answer = hidden.line(&keys, heard);
            if !matches!(answer, Ok(Some(_))) {
                // What was typed ahead must not become a command of the shell.
                rustix::termios::tcflush(&terminal, QueueSelector::IFlush)?;
            }
            answer
        };
        (&terminal).write_all(b"\n")?;
        // Ends this process; if it was only stopped, it asks again when it goes on.
        heard.obey()?;
        if let Some(answer) = answer? {
            return Ok(answer);
        }
    }
}

/// The signals that came while the echo was off.
struct Heard(Vec<(i32, UnixStream)>);

impl Heard {
    /// Signals are heard from the first question on, for the rest of the process.
    fn listen() -> io::Result<&'static Self> {
        static HEARD: OnceLock<Heard> = OnceLock::new();
        if let Some(heard) = HEARD.get() {
            return Ok(heard);
        }
        let mut pipes = Vec::with_capacity(SIGNALS.len());
        for signal in SIGNALS {
            let (reader, writer) = UnixStream::pair()?;
            reader.set_nonblocking(true)?;
            let at_once = match signal {
                SIGTSTP | SIGCONT => &STOPS,
                _ => &ENDS,
            };
            signal_hook::flag::register_conditional_default(signal, at_once)?;
            signal_hook::low_level::pipe::register(signal, writer)?;
            pipes.push((signal, reader));
        }
        Ok(HEARD.get_or_init(|| Self(pipes)))
    }

    /// Waits for a key; false if a signal came.
    fn is_silent_until(&self, keys: &File) -> io::Result<bool> {
        let mut waited = vec![PollFd::new(keys, PollFlags::IN)];
        waited.extend(self.0.iter().map(|(_, pipe)| PollFd::new(pipe, PollFlags::IN)));
        loop {
            match rustix::event::poll(&mut waited, None) {
                Ok(_) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(flaw) => return Err(flaw.into()),
            }
        }
        Ok(waited.iter().skip(1).all(|pipe| pipe.revents().is_empty()))
    }

    /// Which signals were heard since this was last called.
    fn take(&self) -> impl Iterator<Item = i32> {
        self.0.iter().filter_map(|(signal, pipe)| {
            let mut pipe: &UnixStream = pipe;
            let heard = pipe.read(&mut [0; 64]).is_ok_and(|count| count > 0);
            heard.then_some(*signal)
        })
    }

    /// Those that came between questions were obeyed at once.
    fn forget(&self) {
        self.take().for_each(drop);
    }

    /// Does what the signals that were heard do by default.
    fn obey(&self) -> io::Result<()> {
        for signal in self.take() {
            signal_hook::low_level::emulate_default_handler(signal)?;
        }
        Ok(())
    }
}

/// A terminal that does not echo and gives every key at once; as it was before when this is dropped.
struct Hidden<'a> {
    terminal: &'a File,
    before: Termios,
    ends: bool,
    stops: bool,
}

impl<'a> Hidden<'a> {
    fn new(terminal: &'a File) -> io::Result<Self> {
        let before = rustix::termios::tcgetattr(terminal)?;
        let mut silent = before.clone();
        // A line of the terminal's own ends after 4,095 bytes, and what follows is lost.
        silent
            .local_modes
            .remove(LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON);
        silent.special_codes[SpecialCodeIndex::VMIN] = 1;
        silent.special_codes[SpecialCodeIndex::VTIME] = 0;
        let hidden = Self {
            terminal,
            before,
            ends: ENDS.swap(false, Ordering::SeqCst),
            stops: STOPS.swap(false, Ordering::SeqCst),
        };
        rustix::termios::tcsetattr(terminal, OptionalActions::Now, &silent)?;
        Ok(hidden)
    }

    /// What is typed up to the end of the line; `None` if a signal comes first.
    fn line(&self, mut keys: &File, heard: &Heard) -> io::Result<Option<SecretString>> {
        let mut typed = Typed::default();
        // One at a time: what follows the line is for whoever reads next.
        let mut key = Zeroizing::new([0; 1]);
        loop {
            if !heard.is_silent_until(keys)? {
                return Ok(None);
            }
            match keys.read(key.as_mut_slice()) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(flaw) if matches!(flaw.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {
                    continue;
                }
                Err(flaw) => return Err(flaw),
            }
            let [byte] = *key;
            if typed.press(byte)? {
                return typed.finish().map(Some);
            }
        }
    }
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        // Nothing is left to try if the terminal is gone.
        let _ = rustix::termios::tcsetattr(self.terminal, OptionalActions::Now, &self.before);
        ENDS.store(self.ends, Ordering::SeqCst);
        STOPS.store(self.stops, Ordering::SeqCst);
    }
}

/// A line as it is typed, with the keys that correct it.
#[derive(Default)]
struct Typed {
    line: Zeroizing<Vec<u8>>,
    escape: Escape,
}

/// Keys such as arrows come as several bytes, which are no part of a secret.
#[derive(Default)]
enum Escape {
    #[default]
    None,
    Begun,
    Sequence,
}

impl Typed {
    /// Takes a byte; true if it ends the line.
    fn press(&mut self, key: u8) -> io::Result<bool> {
        match (&self.escape, key) {
            (Escape::Begun, b'[' | b'O') => self.escape = Escape::Sequence,
            (Escape::Sequence, 0x20..0x40) => {}
            (Escape::Begun | Escape::Sequence, 0x20..) => self.escape = Escape::None,
            (_, b'\n' | b'\r') => return Ok(true),
            (_, 0x1b) => self.escape = Escape::Begun,
            // The end of input, at the beginning of a line.
            (_, 0x04) if self.line.is_empty() => return Err(ErrorKind::UnexpectedEof.into()),
            // Backspace takes a character, Ctrl-U the line, Ctrl-W the last word.
            (_, 0x08 | 0x7f) => while self.line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {},
            (_, 0x15) => self.line.clear(),
            (_, 0x17) => {
                let words = self.line.trim_ascii_end();
                let keep = words
                    .iter()
                    .rposition(|byte| *byte == b' ')
                    .map_or(0, |at| at + 1);
                self.line.truncate(keep);
            }
            (_, 0..0x20) => {}
            (_, key) => self.push(key)?,
        }
        Ok(false)
    }

    fn push(&mut self, byte: u8) -> io::Result<()> {
        if self.line.len() == limits::SECRET_BYTES_MAX {
            return Err(ErrorKind::InvalidData.into());
        }
        if self.line.len() == self.line.capacity() {
            // What it outgrows is wiped.
            let mut wider = Zeroizing::new(Vec::with_capacity((2 * self.line.len()).max(256)));
            wider.extend_from_slice(&self.line);
            self.line = wider;
        }
        self.line.push(byte);
        Ok(())
    }

    fn finish(self) -> io::Result<SecretString> {
        let text = std::str::from_utf8(&self.line).map_err(|_| ErrorKind::InvalidData)?;
        Ok(SecretString::from(Box::<str>::from(text)))
    }
}

#[cfg(test)]
mod tests {
    use nebula_credential::ExposeSecret as _;

    use super::Typed;

    fn typed(keys: &[u8]) -> Option<String> {
        let mut typed = Typed::default();
        for key in keys {
            if typed.press(*key).ok()? {
                break;
            }
        }
        Some(typed.finish().ok()?.expose_secret().to_owned())
    }

    #[test]
    fn keys_that_correct_are_obeyed_and_others_are_no_part_of_a_secret() {
        let cases: &[(&[u8], Option<&str>)] = &[
            (b"secret\nnext", Some("secret")),
            (b"secret\rnext", Some("secret")),
            (b"\n", Some("")),
            (b"typp\x7fo\n", Some("typo")),
            ("é\u{1f511}\x7f\x08\x7fx\n".as_bytes(), Some("x")),
            (b"one two  \x17three\n", Some("one three")),
            (b"all wrong\x15right\n", Some("right")),
            (b"\x17\x15\x7fx\n", Some("x")),
            // Arrows, Delete, F1, Alt and a letter, and an escape at the end.
            (b"a\x1b[Ab\x1b[3~c\x1bOPd\x1bxe\x1b\n", Some("abcde")),
            (b"a\x00\tb\x04\n", Some("ab")),
            (b"\x04", None),
            (b"\xff\n", None),
        ];
        for (keys, line) in cases {
            assert_eq!(typed(keys).as_deref(), *line, "{keys:?}");
        }
        let long = "x".repeat(10_000);
        assert_eq!(typed(long.as_bytes()), Some(long));
    }
}
