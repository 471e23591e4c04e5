//! What is imported, as bytes: a file or standard input.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use nebula_credential::crypto::{BUNDLE_BYTES_MAX, Bundle};
use zeroize::Zeroizing;

use crate::exit::{Failure, Outcome};
use crate::import::INPUT_BYTES_MAX;
use crate::input;

/// What a file turned out to be.
pub(super) enum Source {
    Text(Zeroizing<String>),
    /// A sealed bundle; nothing in it is secret without its key.
    Bundle(Zeroizing<Vec<u8>>),
}

impl Source {
    /// Reads a whole file, or standard input. What begins as a bundle is one; no text does.
    pub(super) fn read(path: &Path) -> Outcome<Self> {
        refuse_terminal(path)?;
        let bytes = open(path).and_then(|mut from| {
            // As long as the magic of a bundle, and never moved.
            let mut head = Zeroizing::new([0; 8]);
            let mut filled = 0;
            while let Some(rest) = head.get_mut(filled..).filter(|rest| !rest.is_empty()) {
                match from.read(rest) {
                    Ok(0) => break,
                    Ok(count) => filled += count,
                    Err(flaw) if flaw.kind() == io::ErrorKind::Interrupted => {}
                    Err(flaw) => return Err(flaw),
                }
            }
            let head = head.get(..filled).unwrap_or_default();
            let is_bundle = Bundle::is_sealed(head);
            let max = if is_bundle {
                BUNDLE_BYTES_MAX
            } else {
                INPUT_BYTES_MAX
            };
            let bytes = input::read_limited(&mut head.chain(from), max)?;
            Ok((is_bundle, max, bytes))
        });
        let (is_bundle, max, bytes) = bytes.map_err(|flaw| unreadable(path, &flaw))?;
        match bytes {
            Some(bytes) if is_bundle => Ok(Self::Bundle(bytes)),
            Some(bytes) => text(path, bytes).map(Self::Text),
            None if is_bundle => {
                Err(too_long(path, max).with_help("have it exported in parts, by names or with --tag"))
            }
            None => Err(too_long(path, max)),
        }
    }
}

/// A whole text file, or standard input.
pub(in crate::verbs) fn read(path: &Path, max: usize) -> Outcome<Zeroizing<String>> {
    refuse_terminal(path)?;
    let bytes = open(path).and_then(|mut from| input::read_limited(&mut from, max));
    let bytes = bytes.map_err(|flaw| unreadable(path, &flaw))?;
    text(path, bytes.ok_or_else(|| too_long(path, max))?)
}

/// Values that are typed line by line would stand on the screen.
fn refuse_terminal(path: &Path) -> Outcome {
    if path == Path::new("-") && input::is_interactive() {
        return Err(Failure::usage(
            "standard input is a terminal, which shows what is typed",
            "name a file, or pipe the input in",
        ));
    }
    Ok(())
}

fn open(path: &Path) -> io::Result<Box<dyn io::Read>> {
    Ok(if path == Path::new("-") {
        Box::new(input::Unbuffered)
    } else {
        Box::new(File::open(path)?)
    })
}

fn unreadable(path: &Path, flaw: &io::Error) -> Failure {
    let shown = Shown(path);
    match flaw.kind() {
        io::ErrorKind::NotFound => Failure::not_found(
            format!("there is no file {shown}"),
            "check the path, or pipe the input in and name the file `-`",
        ),
        _ => Failure::system(
            format!("{shown} cannot be read"),
            "check that it is a file and that you may read it",
        ),
    }
}

fn too_long(path: &Path, max: usize) -> Failure {
    Failure::usage(
        format!("{} is longer than {max} bytes", Shown(path)),
        "split it; large files belong in a file store, and their key here",
    )
}

fn text(path: &Path, mut bytes: Zeroizing<Vec<u8>>) -> Outcome<Zeroizing<String>> {
    match String::from_utf8(std::mem::take(&mut *bytes)) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(flaw) => {
            let valid = flaw.utf8_error().valid_up_to();
            let bytes = Zeroizing::new(flaw.into_bytes());
            let lines = bytes.iter().take(valid).filter(|byte| **byte == b'\n').count();
            Err(Failure::usage(
                format!("line {} of {} is not UTF-8", lines + 1, Shown(path)),
                "convert it, such as `iconv -t UTF-8`",
            ))
        }
    }
}

/// Whether others than the owner may read a file.
pub(super) fn is_open_to_others(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    path.metadata()
        .is_ok_and(|metadata| metadata.is_file() && metadata.mode() & 0o044 != 0)
}

struct Shown<'a>(&'a Path);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 == Path::new("-") {
            f.write_str("standard input")
        } else {
            self.0.display().fmt(f)
        }
    }
}
