//! An uncached get through the manager, beside what it cannot do without: reading a row and opening it.

use std::cell::Cell;
use std::process::ExitCode;

use nebula_credential_benches::aead::{Library, Nonces, Raw};
use nebula_credential_benches::{Error, Result, fixture, main as bench, repeat, sqlite};
use nebula_credential_core::Credential;
use nebula_credential_manager::{CredentialManager, Keys};
use nebula_credential_provider_local::LocalStorage;

const COUNT: usize = 10_000;
/// Credentials that are read, spread over all of them; more than fit a connection's page cache.
const PICKS: usize = 8192;

/// Encodes to 1 KiB.
#[derive(Credential)]
struct Account {
    #[secret]
    token: String,
    endpoint: String,
}

impl Account {
    fn new(number: usize) -> Self {
        Self {
            token: format!("{number:0>960}"),
            endpoint: "https://api.example.com".to_owned(),
        }
    }
}

fn name(number: usize) -> String {
    format!("production-database-primary-{number:06}")
}

/// The next pick, for ever.
fn next<'a>(names: &'a [String], at: &Cell<usize>) -> Result<&'a str> {
    let index = at.get();
    at.set((index + 1) % names.len().max(1));
    Ok(names.get(index).ok_or("nothing to pick from")?)
}

fn main() -> ExitCode {
    bench("manager", |bench| {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let home = fixture::directory(env!("CARGO_TARGET_TMPDIR"))?;
        let storage = LocalStorage::new(home.path().join("store"));
        let manager = CredentialManager::builder()
            .storage(storage.clone())
            .keys(Keys::key_file(home.path().join("config").join("key")))
            .build();
        runtime.block_on(async {
            for number in 0..COUNT {
                manager.store(name(number), Account::new(number)).await?;
            }
            Ok::<_, Error>(())
        })?;
        let library = Library::ours();
        let sealed = Raw::new(library, Nonces::Random).seal(&[0x70; 1024])?.clone();
        let value = [sealed.nonce.as_slice(), &sealed.tag, &sealed.ciphertext].concat();
        let conn = sqlite::open(home.path(), (0..COUNT).map(name), &value)?;
        let picks: Vec<String> = (0..PICKS).map(|pick| name(pick * 7919 % COUNT)).collect();

        let mut select = sqlite::get(&conn)?;
        let (at, mut raw) = (Cell::new(0), Raw::new(library, Nonces::Random));
        let mut race = bench.race(format!("uncached get, 1 KiB, of {COUNT}"));
        let floor = race.lane(
            format!("rusqlite get + {} open", library.name()),
            repeat(|| {
                let value: Vec<u8> = select.query_one([next(&picks, &at)?], |row| row.get(0))?;
                let (nonce, rest) = value.split_first_chunk().ok_or("too short")?;
                let (tag, ciphertext) = rest.split_first_chunk().ok_or("too short")?;
                raw.open(nonce, ciphertext, tag).map(<[u8]>::len)
            }),
        );
        let at = Cell::new(0);
        let ours = race.lane("CredentialManager::get, typed", |times| {
            runtime.block_on(async {
                for _ in 0..times {
                    let account: Account = manager.get(next(&picks, &at)?).await?;
                    std::hint::black_box((account.token.len(), account.endpoint.len()));
                }
                Ok(())
            })
        });
        race.at_most(2.0, ours, floor);
        race.run()
    })
}
