//! Reads that are recorded.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use nebula_credential_audit::{AuditLogger, Durability};
use nebula_credential_benches::{Bench, Result};
use nebula_credential_core::CredentialError;
use nebula_credential_manager::CredentialManager;
use tokio::task::JoinSet;

use super::layers::TTL;
use super::{Account, Bed};

/// Reads under way at once.
const IN_FLIGHT: u64 = 256;

fn audited(bed: &Bed, log: &str, reads: Durability) -> CredentialManager {
    let log = AuditLogger::builder(bed.home.path().join(log))
        .reads(reads)
        .build();
    bed.manager(|builder| builder.cache_ttl(TTL).audit_log(log))
}

/// The last record of a log.
fn record(log: &Path) -> Result<Vec<u8>> {
    let text = std::fs::read_to_string(log)?;
    let last = text.lines().next_back().ok_or("nothing was recorded")?;
    Ok(format!("{last}\n").into_bytes())
}

/// A file as the log's is: appended to, on the same disk.
fn appended(bed: &Bed, name: &str) -> Result<File> {
    Ok(File::options()
        .append(true)
        .create(true)
        .open(bed.home.path().join(name))?)
}

/// Records that are written before the value is released, and synced in groups behind it.
pub(crate) fn written(bench: &mut Bench, bed: &Bed) -> Result<()> {
    let cached = bed.manager(|builder| builder.cache_ttl(TTL));
    let ours = audited(bed, "written.log", Durability::Written);
    bed.gets(&ours, 1)?;
    let record = record(&bed.home.path().join("written.log"))?;
    let mut raw = appended(bed, "raw-written")?;

    let mut race = bench.race(format!("cached get, recorded; a record of {} B", record.len()));
    let plain = race.lane("a typed get from the cache", |times| bed.gets(&cached, times));
    let peer = race.lane("the same, then a raw write", |times| {
        bed.runtime.block_on(async {
            for name in bed.picks(times) {
                let account: Account = cached.get(name).await?;
                raw.write_all(&record)?;
                std::hint::black_box((account.token.len(), account.endpoint.len()));
            }
            Ok(())
        })
    });
    let audited = race.lane("the same with a file audit", |times| bed.gets(&ours, times));
    race.compare(peer, plain);
    race.at_most(3.0, audited, peer);
    race.compare(audited, plain);
    race.run()?;
    bed.was_cached(&cached)?;
    bed.was_cached(&ours)
}

/// Records that are on the disk before the value is released. One thread, many reads under way.
pub(crate) fn synced(bench: &mut Bench, bed: &Bed) -> Result<()> {
    let ours = audited(bed, "synced.log", Durability::Synced);
    bed.gets(&ours, 1)?;
    let record = record(&bed.home.path().join("synced.log"))?;
    let mut raw = appended(bed, "raw-synced")?;

    let mut race = bench.race("cached get, recorded durably");
    let peer = race.lane("raw write and fsync", |times| {
        for _ in 0..times {
            raw.write_all(&record)?;
            raw.sync_data()?;
        }
        Ok(())
    });
    let one = race.lane("a get at a time", |times| bed.gets(&ours, times));
    let many = race.lane(
        format!("{IN_FLIGHT} gets under way at once, on one thread"),
        |times| {
            bed.runtime.block_on(async {
                for _ in 0..times {
                    let mut reads = JoinSet::new();
                    for name in bed.picks(IN_FLIGHT) {
                        let (manager, name) = (ours.clone(), name.clone());
                        reads.spawn(async move {
                            let account: Account = manager.get(name).await?;
                            Ok::<_, CredentialError>(account.token.len())
                        });
                    }
                    while let Some(read) = reads.join_next().await {
                        read??;
                    }
                }
                Ok(())
            })
        },
    );
    race.compare(one, peer);
    // Ten times the rate of one fsync each.
    race.at_most(IN_FLIGHT as f64 / 10.0, many, peer);
    race.run()?;
    bed.was_cached(&ours)
}
