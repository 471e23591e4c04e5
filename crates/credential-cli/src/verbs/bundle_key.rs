//! What opens a bundle: named when it is exported, and when it is imported. Never what opens a store.

use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use nebula_credential::crypto::{KeyFile, Passphrase, PassphraseAndKeyFile, Protector, SlotKind};

use crate::args::parse;
use crate::exit::{Failure, Outcome};
use crate::input;
use crate::output::Output;
use crate::unlock::{is_missing, long_enough};

/// What a new bundle is sealed for.
#[derive(Debug, Args)]
#[command(next_help_heading = "Key of the bundle")]
pub(super) struct ForKey {
    /// A key file that will open the bundle; it is made if it does not exist. With a passphrase, both are needed
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    for_key_file: Option<PathBuf>,
    /// A file of mode 0600 that holds the passphrase of the bundle
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    for_passphrase_file: Option<PathBuf>,
    /// A file descriptor whose first line is the passphrase of the bundle
    #[arg(long, value_name = "N", value_parser = parse::descriptor, conflicts_with = "for_passphrase_file")]
    for_passphrase_fd: Option<u32>,
}

/// What opens a bundle that is there.
#[derive(Debug, Args)]
#[command(next_help_heading = "Key of a bundle")]
pub(super) struct BundleKey {
    /// The key file the bundle was exported for
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    bundle_key_file: Option<PathBuf>,
    /// A file of mode 0600 that holds the passphrase of the bundle
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    bundle_passphrase_file: Option<PathBuf>,
    /// A file descriptor whose first line is the passphrase of the bundle
    #[arg(long, value_name = "N", value_parser = parse::descriptor, conflicts_with = "bundle_passphrase_file")]
    bundle_passphrase_fd: Option<u32>,
}

impl ForKey {
    /// Refuses what names nothing where nobody can be asked.
    pub(super) fn check(&self) -> Outcome {
        let is_named = self.for_key_file.is_some()
            || self.for_passphrase_file.is_some()
            || self.for_passphrase_fd.is_some();
        if is_named || input::is_interactive() {
            return Ok(());
        }
        Err(Failure::usage(
            "it is not said what the bundle opens with",
            "name the other side's key with --for-key-file, --for-passphrase-file or --for-passphrase-fd",
        ))
    }

    /// What the bundle is sealed for; a passphrase is asked for twice if nothing is named. `store_key` is the key file
    /// of the store.
    pub(super) fn protector(&self, store_key: Option<&Path>, output: &Output) -> Outcome<Box<dyn Protector>> {
        self.check()?;
        let given = passphrase(self.for_passphrase_file.as_deref(), self.for_passphrase_fd)?;
        let text = match given {
            None if self.for_key_file.is_none() => Some(Passphrase::new(input::new_passphrase()?)),
            given => given,
        };
        if let Some(text) = &text {
            long_enough(text, self.for_key_file.is_some())?;
        }
        let key_file = match &self.for_key_file {
            Some(path) => Some(key_file(path, store_key, output)?),
            None => None,
        };
        both(text, key_file)
    }
}

impl BundleKey {
    /// What opens a bundle of this kind; a passphrase is asked for if it needs one and none is named.
    pub(super) fn protector(&self, kind: SlotKind) -> Outcome<Box<dyn Protector>> {
        let given = passphrase(self.bundle_passphrase_file.as_deref(), self.bundle_passphrase_fd)?;
        let takes_text = matches!(kind, SlotKind::Passphrase | SlotKind::PassphraseAndKeyFile);
        let takes_file = matches!(kind, SlotKind::KeyFile | SlotKind::PassphraseAndKeyFile);
        let needs_text = takes_text && given.is_none();
        let needs_file = takes_file && self.bundle_key_file.is_none();
        let asks = needs_text && !needs_file && input::is_interactive();
        if needs_file || (needs_text && !asks) || !(takes_text || takes_file) {
            return Err(Failure::locked(
                format!("the bundle opens with a {}, which is not named", kind.as_str()),
                match kind {
                    SlotKind::Passphrase => "name it with --bundle-passphrase-file or --bundle-passphrase-fd",
                    SlotKind::KeyFile => "name it with --bundle-key-file",
                    SlotKind::PassphraseAndKeyFile => {
                        "name both, with --bundle-key-file and --bundle-passphrase-file or --bundle-passphrase-fd"
                    }
                    _ => "import it with a program that has that key provider",
                },
            ));
        }
        let text = match given {
            None if asks => Some(Passphrase::new(input::prompt("Passphrase of the bundle: ")?)),
            given => given,
        };
        let key_file = self.bundle_key_file.as_ref().map(KeyFile::open).transpose()?;
        both(text, key_file)
    }

    /// A key for what needs none was meant for something else.
    pub(super) fn refuse_for_text(&self) -> Outcome {
        let given = [
            ("--bundle-key-file", self.bundle_key_file.is_some()),
            ("--bundle-passphrase-file", self.bundle_passphrase_file.is_some()),
            ("--bundle-passphrase-fd", self.bundle_passphrase_fd.is_some()),
        ];
        match given.iter().find(|(_, is_given)| *is_given) {
            Some((option, _)) => Err(Failure::usage(
                format!("this is no bundle, and {option} is for bundles"),
                format!("leave out {option}, or name the file that `ncred export` wrote"),
            )),
            None => Ok(()),
        }
    }
}

fn passphrase(file: Option<&Path>, descriptor: Option<u32>) -> Outcome<Option<Passphrase>> {
    Ok(match (file, descriptor) {
        (Some(path), _) => Some(Passphrase::open(path)?),
        (None, Some(number)) => Some(Passphrase::new(input::passphrase_from_fd(number)?)),
        (None, None) => None,
    })
}

fn key_file(path: &Path, store_key: Option<&Path>, output: &Output) -> Outcome<KeyFile> {
    let is_new = is_missing(path);
    let (key, _) = KeyFile::open_or_create(path)?;
    if is_new {
        output.warn(format!(
            "made the key file {}; bring it to the other side by another way than the bundle",
            path.display()
        ));
    }
    let real = |path: &Path| path.canonicalize().ok();
    if store_key.is_some_and(|store_key| real(store_key) == real(path)) {
        output.warn(format!(
            "{} opens this store too: hand the bundle to nobody who may not read all of it",
            path.display()
        ));
    }
    Ok(key)
}

fn both(text: Option<Passphrase>, key_file: Option<KeyFile>) -> Outcome<Box<dyn Protector>> {
    match (text, key_file) {
        (Some(text), Some(key_file)) => Ok(Box::new(PassphraseAndKeyFile::new(text, key_file))),
        (Some(text), None) => Ok(Box::new(text)),
        (None, Some(key_file)) => Ok(Box::new(key_file)),
        (None, None) => Err(Failure::locked(
            "no key of the bundle is named",
            "name one with --bundle-key-file or --bundle-passphrase-file",
        )),
    }
}
