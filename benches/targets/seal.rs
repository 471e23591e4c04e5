//! Seal and open: our envelope, the least its format allows, the raw libraries, and tink-rust's envelope.

use std::process::ExitCode;

use nebula_credential_benches::aead::{Library, Nonces, Raw, Tink};
use nebula_credential_benches::floor::Floor;
use nebula_credential_benches::{Bench, Result, fixture, main as bench, repeat};
use nebula_credential_core::{Clock as _, Plaintext, SystemClock};
use nebula_credential_crypto::hazmat::{Fresh, HedgeKey, pooled_entropy};
use nebula_credential_crypto::{KeyRing, KeyRingFile, Place, Sealer};

const SIZES: [usize; 5] = [64, 256, 1024, 4096, 65536];

/// Where the raw library is the peer of a target, and where tink-rust's envelope is.
const RAW_SIZE: usize = 1024;
const TINK_SIZE: usize = 256;

fn main() -> ExitCode {
    bench("seal", |bench| {
        let home = fixture::directory(env!("CARGO_TARGET_TMPDIR"))?;
        let key = fixture::key_file(home.path())?;
        let memory = Sealer::new(KeyRing::create(&key, SystemClock.now())?);
        let file = KeyRingFile::create(home.path().join("ring"), &key, SystemClock.now())?;
        let file = Sealer::new(file.ring().clone());
        for size in SIZES {
            seal(bench, &memory, &file, size)?;
            open(bench, &memory, size)?;
        }
        Ok(())
    })
}

/// `limit` at the size it is set for; at others the ratio is only printed.
fn target(limit: f64, at: usize, size: usize) -> Option<f64> {
    (size == at).then_some(limit)
}

fn seal(bench: &mut Bench, memory: &Sealer, file: &Sealer, size: usize) -> Result<()> {
    let (id, version) = (fixture::address(42)?, fixture::version(1)?);
    let place = Place {
        id: &id,
        version: &version,
    };
    let secret = &Plaintext::new(vec![0x70; size]);
    let tink = Tink::new()?;

    let mut race = bench.race(format!("seal, {size} B"));
    let mut peers = Vec::new();
    for library in Library::ALL {
        for (nonces, text) in [(Nonces::Fixed, "no randomness"), (Nonces::Random, "random nonce")] {
            let mut raw = Raw::new(library, nonces);
            let name = format!("{}, {text}", library.name());
            let lane = race.lane(
                name,
                repeat(move || raw.seal(secret.expose()).map(|sealed| sealed.tag)),
            );
            if library == Library::ours() {
                peers.push(lane);
            }
        }
    }
    let tink = race.lane("tink envelope", repeat(|| tink.seal(secret.expose())));
    let mut floor = Floor::new(Library::ours(), &id, &version);
    let floor = race.lane(
        format!("the least this format allows, {}", Library::ours().name()),
        repeat(move || floor.seal(secret.expose()).map(<[u8]>::len)),
    );
    let (hedge, source) = (HedgeKey::derive(&[0x72; 32])?, pooled_entropy());
    race.lane(
        "keys and salts for it, random and hedged",
        repeat(move || {
            let mut fresh = Fresh::empty();
            let drawn = hedge.draw(&source, &[0x61; 100], secret.expose(), &mut fresh);
            drawn.map(|()| fresh.salt)
        }),
    );
    let ours = race.lane(
        format!("envelope on {}", Library::ours().name()),
        repeat(|| memory.seal(place, secret)),
    );
    let filed = race.lane(
        "envelope, key ring in a file",
        repeat(|| file.seal(place, secret)),
    );
    // A raw seal must not repeat a nonce either: the one with a random nonce is the peer of the target.
    if let [fixed, random] = peers[..] {
        race.compare(floor, random);
        race.compare(floor, fixed);
        race.expect(target(2.5, RAW_SIZE, size), ours, random);
        race.compare(ours, fixed);
    }
    race.compare(floor, tink);
    race.expect(target(1.0, TINK_SIZE, size), ours, tink);
    race.compare(ours, floor);
    race.compare(filed, ours);
    race.run()
}

fn open(bench: &mut Bench, sealer: &Sealer, size: usize) -> Result<()> {
    let (id, version) = (fixture::address(42)?, fixture::version(1)?);
    let place = Place {
        id: &id,
        version: &version,
    };
    let secret = Plaintext::new(vec![0x70; size]);
    let envelope = sealer.seal(place, &secret)?;
    let tink = Tink::new()?;
    let tinked = tink.seal(secret.expose())?;

    let mut race = bench.race(format!("open, {size} B"));
    let mut peer = None;
    for library in Library::ALL {
        let mut raw = Raw::new(library, Nonces::Random);
        let sealed = raw.seal(secret.expose())?.clone();
        let lane = race.lane(
            library.name(),
            repeat(move || {
                raw.open(&sealed.nonce, &sealed.ciphertext, &sealed.tag)
                    .map(|opened| opened.as_ptr())
            }),
        );
        peer = peer.or((library == Library::ours()).then_some(lane));
    }
    let tink = race.lane("tink envelope", repeat(|| tink.open(&tinked)));
    let mut floor = Floor::new(Library::ours(), &id, &version);
    floor.seal(secret.expose())?;
    floor.keep();
    let floor = race.lane(
        format!("the least this format allows, {}", Library::ours().name()),
        repeat(move || floor.open().map(<[u8]>::len)),
    );
    let ours = race.lane(
        format!("envelope on {}", Library::ours().name()),
        repeat(|| sealer.open(place, &envelope)),
    );
    let peer = peer.ok_or("no peer")?;
    race.compare(floor, peer);
    race.compare(floor, tink);
    race.expect(target(2.5, RAW_SIZE, size), ours, peer);
    race.expect(target(1.0, TINK_SIZE, size), ours, tink);
    race.compare(ours, floor);
    race.run()
}
