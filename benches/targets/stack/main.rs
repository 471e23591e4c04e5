//! What a manager's layers cost, each by itself and all together, and what live handles cost.

mod audited;
mod handle;
mod layers;

use std::process::ExitCode;

use nebula_credential_benches::{Error, Result, fixture, main as bench};
use nebula_credential_cache::USES_MAX;
use nebula_credential_core::Credential;
use nebula_credential_manager::{CredentialManager, Keys, ManagerBuilder};
use nebula_credential_provider_local::LocalStorage;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Credentials that are read in turn: more than one cache line's worth, and far fewer than a cache holds.
const COUNT: usize = 64;

fn main() -> ExitCode {
    bench("stack", |bench| {
        let bed = Bed::new()?;
        layers::cached(bench, &bed)?;
        layers::uncached(bench, &bed)?;
        audited::written(bench, &bed)?;
        audited::synced(bench, &bed)?;
        handle::load(bench)?;
        handle::two_cores(bench)
    })
}

/// Encodes to 256 B: what a password or an API key comes to with its endpoint.
#[derive(Credential)]
struct Account {
    #[secret]
    token: String,
    endpoint: String,
}

fn name(number: usize) -> String {
    format!("production-database-primary-{number:06}")
}

/// A local store with credentials in it.
struct Bed {
    home: TempDir,
    runtime: Runtime,
    storage: LocalStorage,
    names: Vec<String>,
}

impl Bed {
    fn new() -> Result<Self> {
        let home = fixture::directory(env!("CARGO_TARGET_TMPDIR"))?;
        let bed = Self {
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()?,
            storage: LocalStorage::new(home.path().join("store")),
            names: (0..COUNT).map(name).collect(),
            home,
        };
        let manager = bed.manager(|builder| builder);
        let first = bed.names.first().ok_or("nothing to read")?;
        bed.runtime.block_on(async {
            for name in &bed.names {
                let account = Account {
                    token: "t".repeat(207),
                    endpoint: "https://api.example.com".to_owned(),
                };
                manager.store(name, account).await?;
            }
            match manager.get_raw(first).await?.expose().len() {
                256 => Ok(()),
                other => Err(Error::from(format!("a credential encodes to {other} B, not 256"))),
            }
        })?;
        Ok(bed)
    }

    /// A manager on the store, with `layers`.
    fn manager(&self, layers: impl FnOnce(ManagerBuilder) -> ManagerBuilder) -> CredentialManager {
        let builder = CredentialManager::builder()
            .storage(self.storage.clone())
            .keys(Keys::key_file(self.home.path().join("config").join("key")));
        layers(builder).build()
    }

    /// Typed gets, one after the other.
    fn gets(&self, manager: &CredentialManager, times: u64) -> Result<()> {
        self.runtime.block_on(async {
            for name in self.picks(times) {
                let account: Account = manager.get(name).await?;
                std::hint::black_box((account.token.len(), account.endpoint.len()));
            }
            Ok(())
        })
    }

    /// Fails if memory did not answer what it was measured for: a cache that can keep nothing is right, and slow.
    fn was_cached(&self, manager: &CredentialManager) -> Result<()> {
        let stats = manager.cache_stats().ok_or("there is no cache")?;
        let uses = stats.hits + stats.negative_hits + stats.stale + stats.shared + stats.misses;
        // The first read of each credential, and one whenever a copy was used as often as it may be.
        let expected = self.names.len() as u64 + uses / u64::from(USES_MAX);
        if uses == 0 || stats.misses > expected {
            return Err(Error::from(format!(
                "of {uses} reads {} asked the store, where {expected} at most should have, and {} values were not kept; \
                 look at the limits of threads and memory, and run it again",
                stats.misses, stats.not_kept
            )));
        }
        Ok(())
    }

    /// The names in turn.
    fn picks(&self, times: u64) -> impl Iterator<Item = &String> {
        (0..times).zip(self.names.iter().cycle()).map(|(_, name)| name)
    }
}
