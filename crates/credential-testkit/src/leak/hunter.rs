use std::error::Error;
use std::fmt;
use std::io;
use std::path::Path;

use memchr::memmem;
use zeroize::Zeroizing;

use super::Canary;
use super::forms::{Form, forms};

/// How many bytes of a form are looked for at once; the rest is compared where they are found. So few, that they do
/// not count as a copy.
const FRAGMENT: usize = 8;

/// A place where a canary was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leak {
    /// The name the canary was given.
    pub canary: String,
    /// How it was written: `plain`, `base64`, `hex`, `JSON`, ..., or only its `beginning` or `end`.
    pub form: &'static str,
    /// Where it begins: in what was searched, or in memory.
    pub offset: u64,
}

impl fmt::Display for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}) at {:#x}", self.canary, self.form, self.offset)
    }
}

/// Looks for canaries where no secret may be.
///
/// The `check` methods panic, as assertions do, with the place and the form of what they found, never with the secret.
#[derive(Default)]
pub struct LeakHunter {
    pub(super) needles: Vec<Needle>,
}

pub(super) struct Needle {
    canary: String,
    form: Form,
    at: usize,
    fragment: [u8; FRAGMENT],
}

impl Needle {
    fn new(canary: &str, form: Form) -> Self {
        // Its middle: the beginning of a form may be common, such as that of a base64 text.
        let at = (form.text.len() - FRAGMENT) / 2;
        let mut fragment = [0; FRAGMENT];
        for (byte, found) in fragment.iter_mut().zip(form.text.iter().skip(at)) {
            *byte = found;
        }
        Self {
            canary: canary.to_owned(),
            form,
            at,
            fragment,
        }
    }

    pub(super) fn is(&self, canary: &str, form: &str) -> bool {
        self.canary == canary && self.form.name == form
    }

    pub(super) fn len(&self) -> usize {
        self.form.text.len()
    }

    /// Every place in `bytes` where this form stands.
    pub(super) fn find<'a>(&'a self, bytes: &'a [u8]) -> impl Iterator<Item = usize> {
        memmem::find_iter(bytes, &self.fragment)
            .filter_map(|found| found.checked_sub(self.at))
            .filter(|start| {
                bytes
                    .get(*start..)
                    .is_some_and(|rest| self.form.text.begins(rest))
            })
    }

    pub(super) fn leak(&self, offset: u64) -> Leak {
        Leak {
            canary: self.canary.clone(),
            form: self.form.name,
            offset,
        }
    }
}

impl LeakHunter {
    /// A hunter that looks for nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks for `canary` too, under `name`.
    #[must_use]
    pub fn hunt(mut self, name: &str, canary: &Canary) -> Self {
        self.add(name, canary);
        self
    }

    /// Looks for `canary` too, under `name`.
    pub fn add(&mut self, name: &str, canary: &Canary) {
        let secret = canary.secret.reveal();
        self.needles
            .extend(forms(&secret).into_iter().map(|form| Needle::new(name, form)));
    }

    /// Every canary in `bytes`, in any form, by offset. Wrapped or indented text is searched once more without its
    /// white space; offsets of what is found only so do not count it.
    pub fn search(&self, bytes: impl AsRef<[u8]>) -> Vec<Leak> {
        let bytes = bytes.as_ref();
        let mut leaks = self.search_as_it_is(bytes);
        if bytes.iter().any(u8::is_ascii_whitespace) {
            let mut bare = Zeroizing::new(Vec::with_capacity(bytes.len()));
            bare.extend(bytes.iter().copied().filter(|byte| !byte.is_ascii_whitespace()));
            for leak in self.search_as_it_is(&bare) {
                if !leaks
                    .iter()
                    .any(|known| (&known.canary, known.form) == (&leak.canary, leak.form))
                {
                    leaks.push(leak);
                }
            }
        }
        leaks
    }

    fn search_as_it_is(&self, bytes: &[u8]) -> Vec<Leak> {
        let mut leaks = Vec::new();
        for needle in &self.needles {
            let places = needle.find(bytes);
            leaks.extend(places.map(|at| needle.leak(u64::try_from(at).unwrap_or(u64::MAX))));
        }
        leaks.sort_by_key(|leak| leak.offset);
        leaks
    }

    /// No canary is in `bytes`; `what` says where they are from.
    ///
    /// # Panics
    /// When one is; likewise below.
    #[track_caller]
    pub fn check(&self, what: &str, bytes: impl AsRef<[u8]>) {
        assert!(
            !self.needles.is_empty(),
            "{what}: a hunter without canaries finds nothing"
        );
        none(what, &self.search(bytes));
    }

    /// No canary is in the `Debug` of `value`, on one line or on many.
    #[track_caller]
    pub fn check_debug(&self, what: &str, value: &(impl fmt::Debug + ?Sized)) {
        self.check(what, format!("{value:?}"));
        self.check(what, format!("{value:#?}"));
    }

    /// No canary is in the `Display` of `value`.
    #[track_caller]
    pub fn check_display(&self, what: &str, value: &(impl fmt::Display + ?Sized)) {
        self.check(what, value.to_string());
        self.check(what, format!("{value:#}"));
    }

    /// No canary is in what `error`, or any error behind it, displays or shows as `Debug`.
    #[track_caller]
    pub fn check_error(&self, what: &str, error: &(dyn Error + 'static)) {
        let mut next = Some(error);
        while let Some(error) = next {
            self.check_display(what, error);
            self.check_debug(what, error);
            next = error.source();
        }
    }

    /// Every canary in the files under `path`, by file, and in their names; says how many files were read.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn search_files(
        &self,
        path: impl AsRef<Path>,
    ) -> io::Result<(usize, Vec<(std::path::PathBuf, Leak)>)> {
        let (mut files, mut leaks) = (0, Vec::new());
        let mut left = vec![path.as_ref().to_owned()];
        while let Some(path) = left.pop() {
            let kind = std::fs::symlink_metadata(&path)?.file_type();
            let name = path.file_name().unwrap_or_default().as_encoded_bytes();
            leaks.extend(self.search(name).into_iter().map(|leak| (path.clone(), leak)));
            if kind.is_dir() {
                for entry in std::fs::read_dir(&path)? {
                    left.push(entry?.path());
                }
            } else if kind.is_file() {
                files += 1;
                let bytes = Zeroizing::new(std::fs::read(&path)?);
                leaks.extend(self.search(&*bytes).into_iter().map(|leak| (path.clone(), leak)));
            }
        }
        Ok((files, leaks))
    }

    /// No canary is in the files under `path`, of which there is at least one.
    #[track_caller]
    pub fn check_files(&self, what: &str, path: impl AsRef<Path>) {
        match self.search_files(path) {
            Ok((files, leaks)) => {
                assert!(files > 0, "{what}: there is no file to search");
                let places: Vec<_> = leaks
                    .iter()
                    .map(|(file, leak)| format!("{}: {leak}", file.display()))
                    .collect();
                assert!(places.is_empty(), "{what} leaks: {}", places.join("; "));
            }
            Err(error) => assert_eq!(None, Some(error.kind()), "{what} cannot be searched"),
        }
    }
}

#[track_caller]
fn none(what: &str, leaks: &[Leak]) {
    let places: Vec<_> = leaks.iter().map(Leak::to_string).collect();
    assert!(places.is_empty(), "{what} leaks: {}", places.join("; "));
}

impl fmt::Debug for LeakHunter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LeakHunter({} forms)", self.needles.len())
    }
}
