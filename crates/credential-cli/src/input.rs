//! Where secrets come in: standard input, a prompt that does not echo, a file descriptor. Never the arguments.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _};

use nebula_credential::{SecretString, limits};
use zeroize::Zeroizing;

use crate::exit::{Failure, Outcome};
use crate::prompt;

/// Longest passphrase, in bytes.
const PASSPHRASE_BYTES: usize = 4096;

/// Whether a person sits at standard input.
pub(crate) fn is_interactive() -> bool {
    io::stdin().is_terminal()
}

/// All of standard input, at most [`limits::SECRET_BYTES_MAX`] bytes; wiped on drop.
pub(crate) fn stdin() -> Outcome<Zeroizing<Vec<u8>>> {
    let unreadable = |_| {
        Failure::system(
            "standard input cannot be read",
            "pipe the value in, such as `ncred put NAME --type TYPE < value.json`",
        )
    };
    read_limited(&mut Unbuffered, limits::SECRET_BYTES_MAX)
        .map_err(unreadable)?
        .ok_or_else(|| {
            Failure::usage(
                format!(
                    "standard input holds more than {} bytes",
                    limits::SECRET_BYTES_MAX
                ),
                "store a smaller value; large files belong in a file store, and their key here",
            )
        })
}

/// Standard input past the buffer of the standard library, which is never wiped.
pub(crate) struct Unbuffered;

impl io::Read for Unbuffered {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(io::stdin(), into)?)
    }
}

/// Reads to the end; `None` when there is more than `max`. The buffer never moves without being wiped.
pub(crate) fn read_limited(from: &mut impl io::Read, max: usize) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let mut all = Zeroizing::new(Vec::with_capacity(4096));
    let mut chunk = Zeroizing::new([0; 4096]);
    loop {
        let count = match from.read(chunk.as_mut_slice()) {
            Ok(0) => return Ok(Some(all)),
            Ok(count) => count,
            Err(flaw) if flaw.kind() == io::ErrorKind::Interrupted => continue,
            Err(flaw) => return Err(flaw),
        };
        let read = chunk.get(..count).unwrap_or_default();
        if all.len() + read.len() > max {
            return Ok(None);
        }
        if all.len() + read.len() > all.capacity() {
            let mut wider = Zeroizing::new(Vec::with_capacity(all.capacity() * 2));
            wider.extend_from_slice(&all);
            all = wider;
        }
        all.extend_from_slice(read);
    }
}

/// Asks for a secret at the terminal, without echo.
pub(crate) fn prompt(question: &str) -> Outcome<SecretString> {
    prompt::secret(question).map_err(|flaw| match flaw.kind() {
        io::ErrorKind::UnexpectedEof => Failure::usage("there was no answer", "type it, and press Enter"),
        io::ErrorKind::InvalidData => Failure::usage(
            format!(
                "the answer is no UTF-8 text, or longer than {} bytes",
                limits::SECRET_BYTES_MAX
            ),
            "pipe the value to standard input, or name a file",
        ),
        _ => no_terminal(),
    })
}

/// Asks for something that is no secret, with echo; `None` for an empty line.
pub(crate) fn ask(question: &str) -> Outcome<Option<String>> {
    use std::io::Write as _;
    io::stderr()
        .write_all(question.as_bytes())
        .map_err(|_| no_terminal())?;
    let mut line = String::new();
    io::stdin().read_line(&mut line).map_err(|_| no_terminal())?;
    let line = line.trim();
    Ok((!line.is_empty()).then(|| line.to_owned()))
}

fn no_terminal() -> Failure {
    Failure::usage(
        "there is no terminal to ask at",
        "pipe the value to standard input, or name a file",
    )
}

/// Asks for a new passphrase, twice.
pub(crate) fn new_passphrase() -> Outcome<SecretString> {
    use nebula_credential::ExposeSecret as _;
    let first = prompt("New passphrase: ")?;
    if first.expose_secret().is_empty() {
        return Err(Failure::usage(
            "the passphrase is empty",
            "choose at least four random words",
        ));
    }
    if first.expose_secret() != prompt("The same again: ")?.expose_secret() {
        return Err(Failure::usage("the two passphrases differ", "try again"));
    }
    Ok(first)
}

/// Closes a file descriptor that was inherited, so that no program started from here inherits it in turn.
pub(crate) fn close(number: u32) {
    // The standard streams stay: whoever opens a file next would get their number.
    if let Ok(number @ 3..) = i32::try_from(number) {
        // It was open; if not, there is nothing to close.
        let _ = nix::unistd::close(number);
    }
}

/// The first line that file descriptor `number` gives: what follows it is left there.
pub(crate) fn passphrase_from_fd(number: u32) -> Outcome<SecretString> {
    let closed = |_| {
        Failure::locked(
            format!("file descriptor {number} cannot be read"),
            format!("open it for this command, such as `{number}< passphrase.txt`"),
        )
    };
    let is_terminal;
    let mut from: Box<dyn io::Read> = if number == 0 {
        // Opened anew, a file would be read from its beginning by whoever reads on.
        is_terminal = is_interactive();
        Box::new(Unbuffered)
    } else {
        // The path of an open descriptor, on Linux and macOS; taking the number itself would need unsafe code.
        let file = File::open(format!("/dev/fd/{number}")).map_err(closed)?;
        is_terminal = file.is_terminal();
        Box::new(file)
    };
    if is_terminal {
        return Err(Failure::usage(
            format!("file descriptor {number} is a terminal, which shows what is typed"),
            "have the passphrase asked for, with --ask-passphrase or --ask-new-passphrase",
        ));
    }
    let mut line = Zeroizing::new(Vec::with_capacity(PASSPHRASE_BYTES));
    let mut byte = Zeroizing::new([0; 1]);
    loop {
        match from.read(byte.as_mut_slice()) {
            Ok(1) if *byte != *b"\n" => {}
            Ok(_) => break,
            Err(flaw) if flaw.kind() == io::ErrorKind::Interrupted => continue,
            Err(flaw) => return Err(closed(flaw)),
        }
        if line.len() == PASSPHRASE_BYTES {
            return Err(Failure::usage(
                format!("the passphrase has more than {PASSPHRASE_BYTES} bytes"),
                "check what the file descriptor leads to",
            ));
        }
        line.extend_from_slice(byte.as_slice());
    }
    let line = line.strip_suffix(b"\r").unwrap_or(&line);
    let text = std::str::from_utf8(line)
        .ok()
        .filter(|text| !text.is_empty())
        .ok_or_else(|| {
            Failure::locked(
                format!("file descriptor {number} gives no passphrase"),
                "write it there as one line of UTF-8 text",
            )
        })?;
    Ok(SecretString::from(Box::<str>::from(text)))
}
