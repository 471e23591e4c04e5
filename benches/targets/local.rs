//! The local store: durable puts, gets, heads and lists at two sizes, beside raw SQLite and beside another process.

mod neighbour;

use std::cell::Cell;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use nebula_credential_benches::{Bench, Result, fixture, main as bench, note, repeat, sqlite};
use nebula_credential_core::{
    Clock as _, CredentialRef, Get, List, OpContext, Plaintext, Principal, RecordHead, Sealed,
    SecretStore as _, Selector, SystemClock,
};
use nebula_credential_crypto::{KeyRing, Place, Sealer};
use nebula_credential_provider_local::LocalStorage;
use neighbour::Neighbour;
use rusqlite::{Connection, params};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const SIZES: [usize; 2] = [10_000, 100_000];
/// Credentials that are read, spread over all of them; more than fit a connection's page cache.
const PICKS: usize = 8192;
/// Credentials that get new versions.
const ROTATED: usize = 64;

fn main() -> ExitCode {
    if let Some(code) = neighbour::main() {
        return code;
    }
    bench("local", |bench| {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let parent = env!("CARGO_TARGET_TMPDIR");
        let envelope = envelope(parent)?;
        let stores = SIZES
            .iter()
            .map(|count| Stores::fill(parent, &runtime, *count, &envelope))
            .collect::<Result<Vec<_>>>()?;
        reads(bench, &runtime, &stores)?;
        for stores in &stores {
            puts(bench, &runtime, stores)?;
        }
        let Some(small) = stores.first() else {
            return Ok(());
        };
        beside(bench, &runtime, small)
    })
}

/// A secret of 1 KiB, sealed. What follows has no key.
fn envelope(parent: &str) -> Result<Sealed> {
    let home = fixture::directory(parent)?;
    let ring = KeyRing::create(&fixture::key_file(home.path())?, SystemClock.now())?;
    let (id, version) = (fixture::address(0)?, fixture::version(1)?);
    let place = Place {
        id: &id,
        version: &version,
    };
    Ok(Sealer::new(ring).seal(place, &Plaintext::new(vec![0x70; 1024]))?)
}

/// The same records in a store of ours and in a raw table.
struct Stores {
    count: usize,
    home: TempDir,
    local: LocalStorage,
    raw: Connection,
    envelope: Sealed,
    picks: Vec<CredentialRef>,
    ctx: OpContext,
}

impl Stores {
    fn fill(parent: &str, runtime: &Runtime, count: usize, envelope: &Sealed) -> Result<Self> {
        let home = fixture::directory(parent)?;
        let local = LocalStorage::new(home.path().join("store"));
        let ctx = OpContext::new(Principal::Process, Arc::new(SystemClock));
        runtime.block_on(async {
            for number in 0..count {
                local
                    .put(&ctx, fixture::put(&fixture::address(number)?, 1, envelope)?)
                    .await?;
            }
            Ok::<_, nebula_credential_benches::Error>(())
        })?;
        let keys = (0..count).map(|number| format!("default/global/production-database-primary-{number:06}"));
        let raw = sqlite::open(home.path(), keys, envelope.require_envelope()?)?;
        let picks = (0..PICKS)
            .map(|pick| fixture::address(pick * 7919 % count))
            .collect::<Result<_>>()?;
        Ok(Self {
            count,
            home,
            local,
            raw,
            envelope: envelope.clone(),
            picks,
            ctx,
        })
    }

    fn value(&self) -> Result<&[u8]> {
        Ok(self.envelope.require_envelope()?)
    }

    fn keys(&self) -> Vec<String> {
        self.picks
            .iter()
            .map(|id| format!("default/global/{}", id.name()))
            .collect()
    }
}

/// The next of `items`, for ever.
fn next<'a, T>(items: &'a [T], at: &Cell<usize>) -> Result<&'a T> {
    let index = at.get();
    at.set((index + 1) % items.len().max(1));
    Ok(items.get(index).ok_or("nothing to pick from")?)
}

fn reads(bench: &mut Bench, runtime: &Runtime, stores: &[Stores]) -> Result<()> {
    let latest = |id: &CredentialRef| Get {
        id: id.clone(),
        version: Selector::Latest,
    };
    let mut race = bench.race("get and head, 1 KiB");
    let mut lanes = Vec::new();
    for stores in stores {
        let (count, local, ctx, picks) = (stores.count, &stores.local, &stores.ctx, &stores.picks);
        let (keys, at, mut get) = (stores.keys(), Cell::new(0), sqlite::get(&stores.raw)?);
        let raw = race.lane(
            format!("rusqlite get of {count}"),
            repeat(move || {
                get.query_one([next(&keys, &at)?], |row| row.get::<_, Vec<u8>>(0))
                    .map_err(nebula_credential_benches::Error::from)
            }),
        );
        let at = Cell::new(0);
        let get = race.lane(format!("get of {count}"), move |times| {
            runtime.block_on(async {
                for _ in 0..times {
                    std::hint::black_box(local.get(ctx, latest(next(picks, &at)?)).await?);
                }
                Ok(())
            })
        });
        let at = Cell::new(0);
        race.lane(format!("head of {count}"), move |times| {
            runtime.block_on(async {
                for _ in 0..times {
                    std::hint::black_box(local.head(ctx, latest(next(picks, &at)?)).await?);
                }
                Ok(())
            })
        });
        race.compare(get, raw);
        lanes.push(get);
    }
    if let [small, large] = lanes[..] {
        race.at_most(1.5, large, small);
    }
    race.run()?;

    for stores in stores {
        list(bench, runtime, stores)?;
    }
    Ok(())
}

fn list(bench: &mut Bench, runtime: &Runtime, stores: &Stores) -> Result<()> {
    let (keys, local, ctx) = (stores.keys(), &stores.local, &stores.ctx);
    // Every range is whole.
    let names: Vec<String> = stores.picks.iter().map(|id| id.name().to_string()).collect();
    let mut race = bench.race(format!("list of 100 out of {}, without a key", stores.count));
    let (at, mut range) = (Cell::new(0), sqlite::range(&stores.raw)?);
    let raw = race.lane(
        "rusqlite range, keys and values",
        repeat(move || {
            let rows = range.query_map([next(&keys, &at)?], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?))
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
                .map_err(nebula_credential_benches::Error::from)
        }),
    );
    let at = Cell::new(0);
    let ours = race.lane("list", move |times| {
        runtime.block_on(async {
            for _ in 0..times {
                let mut list = List::of(Default::default());
                list.limit = 100;
                list.after = Some(nebula_credential_core::Cursor {
                    scope: Default::default(),
                    name: next(&names, &at)?.parse()?,
                });
                std::hint::black_box(local.list(ctx, list).await?);
            }
            Ok(())
        })
    });
    race.at_most(2.0, ours, raw);
    race.run()
}

/// Puts of a new version of a few credentials, the oldest version dropped.
struct Rotation<'a> {
    stores: &'a Stores,
    /// The latest version of each credential.
    versions: Vec<u32>,
    at: usize,
}

impl<'a> Rotation<'a> {
    fn new(stores: &'a Stores, runtime: &Runtime) -> Result<Self> {
        let mut versions = Vec::new();
        for id in stores.picks.iter().take(ROTATED) {
            let get = Get {
                id: id.clone(),
                version: Selector::Latest,
            };
            let head = runtime.block_on(stores.local.head(&stores.ctx, get))?;
            versions.push(head.latest.get());
        }
        Ok(Self {
            stores,
            versions,
            at: 0,
        })
    }

    async fn put(&mut self) -> Result<RecordHead> {
        self.at = (self.at + 1) % ROTATED;
        let (Some(id), Some(latest)) = (self.stores.picks.get(self.at), self.versions.get_mut(self.at))
        else {
            return Err("fewer credentials than are rotated".into());
        };
        let put = fixture::put(id, *latest + 1, &self.stores.envelope)?;
        let head = self.stores.local.put(&self.stores.ctx, put).await?;
        *latest += 1;
        Ok(head)
    }
}

fn puts(bench: &mut Bench, runtime: &Runtime, stores: &Stores) -> Result<()> {
    let value = stores.value()?;
    let mut race = bench.race(format!("durable put, 1 KiB, into {}", stores.count));
    race.scale_rounds(2.0);
    race.tails();

    let mut file = File::create(stores.home.path().join("floor"))?;
    race.lane(
        "append 4 KiB, fdatasync",
        repeat(move || {
            file.write_all(&[0x66; 4096])?;
            file.sync_data()
        }),
    );
    let (keys, at, mut replace) = (stores.keys(), Cell::new(0), sqlite::put(&stores.raw)?);
    let replace = race.lane(
        "rusqlite, FULL, replace",
        repeat(move || {
            let key = next(keys.get(..ROTATED).unwrap_or_default(), &at)?;
            replace
                .execute(params![key, value])
                .map_err(nebula_credential_benches::Error::from)
        }),
    );
    let (mut number, mut insert) = (0, sqlite::put(&stores.raw)?);
    let insert = race.lane(
        "rusqlite, FULL, insert",
        repeat(move || {
            number += 1;
            insert.execute(params![format!("default/global/new-{number:09}"), value])
        }),
    );
    let mut rotation = Rotation::new(stores, runtime)?;
    let rotate = race.lane("put, new version", move |times| {
        runtime.block_on(async {
            for _ in 0..times {
                rotation.put().await?;
            }
            Ok(())
        })
    });
    let mut number = stores.count;
    let create = race.lane("put, new credential", move |times| {
        runtime.block_on(async {
            for _ in 0..times {
                let put = fixture::put(&fixture::address(number)?, 1, &stores.envelope)?;
                stores.local.put(&stores.ctx, put).await?;
                number += 1;
            }
            Ok(())
        })
    });
    race.at_most(1.5, rotate, replace);
    race.at_most(1.5, create, insert);
    race.run()
}

/// Puts while another process puts flat out.
fn beside(bench: &mut Bench, runtime: &Runtime, stores: &Stores) -> Result<()> {
    let path: &Path = stores.local.path();
    let neighbour = Neighbour::start(path)?;
    let errors = Cell::new(0_u64);
    let rotation = std::cell::RefCell::new(Rotation::new(stores, runtime)?);
    let work = |times| {
        for _ in 0..times {
            if runtime.block_on(rotation.borrow_mut().put()).is_err() {
                errors.set(errors.get() + 1);
            }
        }
        Ok(())
    };
    let mut race = bench.race("durable put beside another process that puts flat out");
    race.scale_rounds(4.0);
    race.tails();
    let solo = race.lane_after("put, the other process idle", || neighbour.pause(), work);
    let both = race.lane_after("put, the other process writing", || neighbour.resume(), work);
    race.at_most(2.0, both, solo);
    race.run()?;
    let theirs = neighbour.stop()?;
    note(&format!(
        "The other process made {:.0} puts a second meanwhile. Errors: {} here, {} there.",
        theirs.rate,
        errors.get(),
        theirs.errors
    ));
    bench.require("no error", errors.get() + theirs.errors == 0);
    Ok(())
}
