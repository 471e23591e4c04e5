//! From settings to an open store: nothing is made here but by `init`.

use std::path::Path;

use nebula_credential::access::AccessLayer;
use nebula_credential::audit::AuditLogger;
use nebula_credential::crypto::{KeyFile, Passphrase, PassphraseAndKeyFile, Protector};
use nebula_credential::{
    CredentialError, CredentialManager, CredentialName, CredentialRef, ErrorKind, Get, Keys, List,
    LocalStorage, Op, OpContext, Plaintext, RecordHead, Request, Response, Scope, Selector, TenantId,
    VersionHead,
};

use crate::access;
use crate::exit::{Failure, Outcome};
use crate::input;
use crate::output::Output;
use crate::recording;
use crate::settings::{PassphraseFrom, Settings, Unlock};

/// The file of the local store's directory that every store has.
pub(crate) const DATABASE: &str = "store.db";
/// The file that holds the key ring.
pub(crate) const KEY_RING: &str = "keyring";

/// An open store.
pub(crate) struct Session {
    pub(crate) manager: CredentialManager,
    pub(crate) storage: LocalStorage,
    pub(crate) register: Register,
}

impl Session {
    /// Opens the store that the settings name, and unlocks it.
    pub(crate) async fn open(settings: &Settings) -> Outcome<Self> {
        let register = Register::with_ring(settings).await?;
        tracing::debug!(by = ?settings.unlock, "unlocking the key ring");
        let session = Self::on(settings, register, Keys::protector(protector(&settings.unlock)?));
        match session.manager.open().await {
            Ok(()) => Ok(session),
            Err(error) => {
                recording::not_unlocked(settings, &error)?;
                Err(error.into())
            }
        }
    }

    /// Opens the store for what needs no key. Without its key ring a store is not whole, and this is refused too.
    pub(crate) async fn locked(settings: &Settings) -> Outcome<Self> {
        let register = Register::with_ring(settings).await?;
        Ok(Self::on(settings, register, Keys::none()))
    }

    fn on(settings: &Settings, register: Register, keys: Keys) -> Self {
        let storage = register.storage.clone();
        Self {
            manager: manager(settings, storage.clone(), keys),
            storage,
            register,
        }
    }
}

/// What a store tells without a key, of one tenant and scope: nobody is asked for a passphrase to see names.
#[derive(Clone)]
pub(crate) struct Register {
    storage: LocalStorage,
    tenant: TenantId,
    scope: Scope,
    ctx: OpContext,
    access: Option<AccessLayer>,
    /// Where it is recorded what the policy refuses or filters.
    log: Option<AuditLogger>,
}

impl Register {
    /// Opens the store that the settings name.
    pub(crate) async fn open(settings: &Settings) -> Outcome<Self> {
        tracing::debug!(
            store = %settings.store.display(),
            tenant = %settings.tenant,
            scope = %settings.scope,
            config = ?settings.config,
            "opening the store"
        );
        let storage = LocalStorage::existing(&settings.store);
        // There is nothing to do beside it, and so no need for a thread.
        storage
            .open_blocking()
            .map_err(|error| absent(&settings.store, error))?;
        Ok(Self {
            storage,
            tenant: settings.tenant.clone(),
            scope: settings.scope.clone(),
            ctx: settings.context(),
            access: settings.access.clone(),
            log: settings.audit.clone(),
        })
    }

    /// The same past the access policy, for whoever keeps it.
    pub(crate) async fn unguarded(settings: &Settings) -> Outcome<Self> {
        let register = Self::open(settings).await?;
        Ok(Self {
            access: None,
            ..register
        })
    }

    /// The same for what nobody asked to be told: the name that was probably meant.
    pub(crate) fn unrecorded(&self) -> Self {
        Self {
            log: None,
            ..self.clone()
        }
    }

    /// The same, for a store that has its key ring.
    async fn with_ring(settings: &Settings) -> Outcome<Self> {
        let register = Self::open(settings).await?;
        if is_missing(&settings.store.join(KEY_RING)) {
            return Err(Failure::locked(
                format!("there is no key ring in {}", settings.store.display()),
                "restore the file `keyring` from a backup; for a new, empty store run `ncred init`",
            ));
        }
        Ok(register)
    }

    /// The query for everything there is.
    pub(crate) fn query(&self) -> List {
        List {
            scope: Some(self.scope.clone()),
            ..List::of(self.tenant.clone())
        }
    }

    /// All that `query` finds.
    pub(crate) async fn list(&self, mut query: List) -> Result<Vec<RecordHead>, CredentialError> {
        let mut found = Vec::new();
        loop {
            let page = self.ask(Op::List(query.clone())).await?.into_page()?;
            found.extend(page.items);
            match page.next {
                Some(next) => query.after = Some(next),
                None => return Ok(found),
            }
        }
    }

    /// What is known of a credential, deleted or not.
    pub(crate) async fn head(&self, name: &CredentialName) -> Result<RecordHead, CredentialError> {
        let get = Get {
            id: self.id(name),
            version: Selector::Latest,
        };
        self.ask(Op::Head(get)).await?.into_head()
    }

    /// What is known of its kept versions, newest first.
    pub(crate) async fn versions(&self, name: &CredentialName) -> Result<Vec<VersionHead>, CredentialError> {
        self.ask(Op::Versions(self.id(name))).await?.into_versions()
    }

    /// What is not permitted to know of is not told here either.
    async fn ask(&self, op: Op<Plaintext>) -> Result<Response<Plaintext>, CredentialError> {
        let request = Request {
            ctx: self.ctx.clone(),
            op,
        };
        access::ask(self.access.as_ref(), self.log.as_ref(), &self.storage, request).await
    }

    fn id(&self, name: &CredentialName) -> CredentialRef {
        CredentialRef::new(self.tenant.clone(), self.scope.clone(), name.clone())
    }
}

/// The store that the settings name, of which nothing is opened: to ask what may be done with it.
pub(crate) fn unopened(settings: &Settings) -> CredentialManager {
    manager(settings, LocalStorage::existing(&settings.store), Keys::none())
}

fn manager(settings: &Settings, storage: LocalStorage, keys: Keys) -> CredentialManager {
    bound(settings, settings.access.as_ref(), storage, keys)
}

/// A manager that records for `settings` and asks no access policy.
pub(crate) fn unjudged(settings: &Settings, storage: LocalStorage) -> CredentialManager {
    bound(settings, None, storage, Keys::none())
}

fn bound(
    settings: &Settings,
    access: Option<&AccessLayer>,
    storage: LocalStorage,
    keys: Keys,
) -> CredentialManager {
    let mut builder = CredentialManager::builder()
        .storage(storage)
        .keys(keys)
        .tenant(settings.tenant.clone())
        .scope(settings.scope.clone())
        .principal(settings.principal.clone())
        .secret_limit(nebula_credential::limits::SECRET_BYTES_MAX);
    if let Some(log) = &settings.audit {
        builder = builder.audit_log(log.clone());
    }
    if let Some(access) = access {
        builder = builder.access(access.clone());
    }
    let manager = builder.build();
    match &settings.purpose {
        Some(purpose) => manager.with_purpose(purpose),
        None => manager,
    }
}

/// Tells a store that is not there from one that fails.
pub(crate) fn absent(store: &Path, error: CredentialError) -> Failure {
    if error.kind() == ErrorKind::Storage && is_missing(&store.join(DATABASE)) {
        return Failure::not_found(
            format!("there is no credential store in {}", store.display()),
            "check --store, NCRED_STORE and the profile, or make a store with `ncred init`",
        );
    }
    error.into()
}

/// Whether it is known that there is nothing at `path`.
pub(crate) fn is_missing(path: &Path) -> bool {
    path.symlink_metadata().is_err_and(|flaw| {
        matches!(
            flaw.kind(),
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
        )
    })
}

/// What opens a key ring that exists.
pub(crate) fn protector(unlock: &Unlock) -> Outcome<Box<dyn Protector>> {
    match (&unlock.key_file, &unlock.passphrase) {
        (Some(path), None) if unlock.is_default && is_missing(path) => {
            if !input::is_interactive() {
                return Err(Failure::locked(
                    format!("no key is named, and there is no key file {}", path.display()),
                    "name what unlocks the store with --key-file or --passphrase-file, NCRED_KEY_FILE or \
                     NCRED_PASSPHRASE_FILE, or a profile",
                ));
            }
            Ok(Box::new(passphrase(&PassphraseFrom::Terminal)?))
        }
        (Some(path), None) => Ok(Box::new(KeyFile::open(path)?)),
        (None, Some(from)) => Ok(Box::new(passphrase(from)?)),
        (Some(path), Some(from)) => Ok(Box::new(PassphraseAndKeyFile::new(
            passphrase(from)?,
            KeyFile::open(path)?,
        ))),
        (None, None) => Err(Failure::locked(
            "no key is named",
            "name one with --key-file or --passphrase-file",
        )),
    }
}

fn passphrase(from: &PassphraseFrom) -> Outcome<Passphrase> {
    Ok(match from {
        PassphraseFrom::File(path) => Passphrase::open(path)?,
        PassphraseFrom::Descriptor(number) => Passphrase::new(input::passphrase_from_fd(*number)?),
        PassphraseFrom::Terminal => Passphrase::new(input::prompt("Passphrase: ")?),
    })
}

/// Fewest characters of a new passphrase that opens something by itself. NIST SP 800-63B-4, section 3.1.1.2: a password that
/// is the only factor has 15 or more.
const PASSPHRASE_CHARS: usize = 15;
/// Fewest beside a key file; there: one that is used with another factor has 8 or more.
const PASSPHRASE_CHARS_BESIDE: usize = 8;

/// Refuses a new passphrase that is too short. Whoever copies what it opens can try as many as they like.
pub(crate) fn long_enough(text: &Passphrase, is_beside_key_file: bool) -> Outcome {
    let least = match is_beside_key_file {
        true => PASSPHRASE_CHARS_BESIDE,
        false => PASSPHRASE_CHARS,
    };
    if text.chars() >= least {
        return Ok(());
    }
    Err(Failure::usage(
        format!("the new passphrase has fewer than {least} characters"),
        "choose at least four random words",
    ))
}

/// What a new key ring or a new slot of one is protected by. A key file is made if there is none.
pub(crate) fn new_protector(unlock: &Unlock, store: &Path, output: &Output) -> Outcome<Box<dyn Protector>> {
    let text = match &unlock.passphrase {
        Some(PassphraseFrom::Terminal) => Some(Passphrase::new(input::new_passphrase()?)),
        Some(from) => Some(passphrase(from)?),
        None => None,
    };
    if let Some(text) = &text {
        long_enough(text, unlock.key_file.is_some())?;
    }
    let key_file = match &unlock.key_file {
        Some(path) => Some(new_key_file(path, store, output)?),
        None => None,
    };
    match (text, key_file) {
        (Some(text), Some(key_file)) => Ok(Box::new(PassphraseAndKeyFile::new(text, key_file))),
        (Some(text), None) => Ok(Box::new(text)),
        (None, Some(key_file)) => Ok(Box::new(key_file)),
        (None, None) => Err(Failure::locked(
            "no key is named",
            "name one with --key-file or --passphrase-file",
        )),
    }
}

fn new_key_file(path: &Path, store: &Path, output: &Output) -> Outcome<KeyFile> {
    let resolved = |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path)).ok();
    if path
        .parent()
        .is_some_and(|parent| resolved(parent) == resolved(store))
    {
        return Err(Failure::insecure(
            format!(
                "the key file {} would lie beside the data it protects",
                path.display()
            ),
            "choose a directory that is not copied with the store",
        ));
    }
    let is_new = is_missing(path);
    let (key, _) = KeyFile::open_or_create(path)?;
    if is_new {
        output.warn(format!(
            "made the key file {}; back it up: without it nothing in the store can be read",
            path.display()
        ));
    }
    Ok(key)
}
