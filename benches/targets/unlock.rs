//! Opening a key ring, beside Argon2id alone with the same parameters.

use std::process::ExitCode;

use argon2::{Algorithm, Argon2, Params, Version};
use nebula_credential_benches::{Result, fixture, main as bench, repeat};
use nebula_credential_core::{Clock as _, CredentialError, SystemClock};
use nebula_credential_crypto::{Argon2Params, KeyRing, Passphrase};

const PASSPHRASE: &str = "correct horse battery staple";

fn main() -> ExitCode {
    bench("unlock", |bench| {
        let home = fixture::directory(env!("CARGO_TARGET_TMPDIR"))?;
        let key = fixture::key_file(home.path())?;
        let ring = KeyRing::create(&key, SystemClock.now())?.to_bytes();
        let mut race = bench.race("unlock with a key file");
        race.lane("KeyRing::unlock", repeat(|| KeyRing::unlock(&ring, &key)));
        race.run()?;

        for (name, params) in [("floor", Argon2Params::FLOOR), ("default", Argon2Params::DEFAULT)] {
            let protector = Passphrase::new(PASSPHRASE).with_params(params);
            let ring = KeyRing::create(&protector, SystemClock.now())?.to_bytes();
            let (memory, passes, lanes) = (params.memory_kib(), params.passes(), params.lanes());
            let mut race = bench.race(format!(
                "unlock with a passphrase, {name}: {} MiB, passes {passes}, lanes {lanes}",
                memory / 1024
            ));
            race.scale_rounds(0.25);
            let raw = race.lane("argon2 alone", repeat(move || raw(memory, passes, lanes)));
            let ours = race.lane("KeyRing::unlock", repeat(|| KeyRing::unlock(&ring, &protector)));
            race.compare(ours, raw);
            race.run()?;
        }
        Ok(())
    })
}

fn raw(memory: u32, passes: u32, lanes: u32) -> Result<[u8; 32]> {
    let refused = |_| CredentialError::internal("argon2 refused its parameters");
    let params = Params::new(memory, passes, lanes, Some(32)).map_err(refused)?;
    let mut key = [0; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(PASSPHRASE.as_bytes(), &[0x73; 32], &mut key)
        .map_err(refused)?;
    Ok(key)
}
