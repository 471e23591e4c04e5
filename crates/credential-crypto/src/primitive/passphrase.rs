//! Argon2id (RFC 9106): a key from a passphrase, with bounds on what a stored parameter may cost.

use std::sync::{Mutex, PoisonError};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use nebula_credential_core::CredentialError;
use zeroize::Zeroize;

use super::KEY_LEN;

/// One derivation at a time in the whole process: two unlocks never hold two memory blocks.
static GATE: Mutex<()> = Mutex::new(());

/// The cost of turning a passphrase into a key with Argon2id.
///
/// Every value lies between [`FLOOR`](Self::FLOOR) and [`CEILING`](Self::CEILING): a stored slot
/// can make an unlock neither cheap to guess nor ruinous to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Argon2Params {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Argon2Params {
    /// 19 MiB, 2 passes, 1 lane: the least the OWASP Password Storage Cheat Sheet recommends. One
    /// pass will do from 46 MiB on, as OWASP ASVS 5.0 has it.
    pub const FLOOR: Self = Self {
        memory_kib: 19 * 1024,
        passes: 2,
        lanes: 1,
    };
    /// 64 MiB, 3 passes, 4 lanes: the second recommended option of RFC 9106, section 4.
    pub const DEFAULT: Self = Self {
        memory_kib: 64 * 1024,
        passes: 3,
        lanes: 4,
    };
    /// 1 GiB, 16 passes, 8 lanes: a cap of this library, so that a hostile slot is refused at once.
    pub const CEILING: Self = Self {
        memory_kib: 1024 * 1024,
        passes: 16,
        lanes: 8,
    };

    /// Parameters within the bounds: memory in KiB, passes over it, and lanes.
    ///
    /// # Errors
    ///
    /// [`CredentialError::Validation`] below the floor, [`CredentialError::LimitExceeded`] above the
    /// ceiling. Nothing is allocated.
    pub fn new(memory_kib: u32, passes: u32, lanes: u32) -> Result<Self, CredentialError> {
        // OWASP ASVS 5.0, appendix on cryptography: 46 MiB with one pass.
        let least_passes = if memory_kib >= 46 * 1024 {
            1
        } else {
            Self::FLOOR.passes
        };
        let bounds = [
            (
                "Argon2 memory in KiB",
                memory_kib,
                Self::FLOOR.memory_kib,
                Self::CEILING.memory_kib,
            ),
            ("Argon2 passes", passes, least_passes, Self::CEILING.passes),
            ("Argon2 lanes", lanes, Self::FLOOR.lanes, Self::CEILING.lanes),
        ];
        for (what, found, floor, ceiling) in bounds {
            if found > ceiling {
                return Err(CredentialError::LimitExceeded {
                    what,
                    limit: ceiling.into(),
                    found: found.into(),
                });
            }
            if found < floor {
                return Err(CredentialError::validation(format!(
                    "{what}: {found} is too weak; use at least {floor}"
                )));
            }
        }
        Ok(Self {
            memory_kib,
            passes,
            lanes,
        })
    }

    /// Memory, in KiB.
    pub const fn memory_kib(self) -> u32 {
        self.memory_kib
    }

    /// Passes over the memory.
    pub const fn passes(self) -> u32 {
        self.passes
    }

    /// Lanes; they change the result, and run one after another here.
    pub const fn lanes(self) -> u32 {
        self.lanes
    }
}

impl Default for Argon2Params {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Derives 32 bytes from `passphrase` and `salt` (16 to 64 bytes) into `out`.
///
/// Blocks for as long as `params` ask, and while another derivation runs: call it on a thread that
/// may block.
///
/// # Errors
///
/// [`CredentialError::Validation`] if `salt` has another length;
/// [`CredentialError::Unlock`] if the memory cannot be had.
pub fn derive(
    passphrase: &[u8],
    salt: &[u8],
    params: Argon2Params,
    out: &mut [u8; KEY_LEN],
) -> Result<(), CredentialError> {
    if !(16..=64).contains(&salt.len()) {
        return Err(CredentialError::validation("an Argon2 salt has 16 to 64 bytes"));
    }
    let checked = Params::new(params.memory_kib, params.passes, params.lanes, Some(KEY_LEN))
        .map_err(|_| CredentialError::internal("Argon2 parameters out of range"))?;

    // The lock guards memory use, not data: a poisoned one is as good as new.
    let _one_at_a_time = GATE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut memory = Memory::allocate(checked.block_count())?;
    Argon2::new(Algorithm::Argon2id, Version::V0x13, checked)
        .hash_password_into_with_memory(passphrase, salt, out, memory.0.as_mut_slice())
        .map_err(|_| CredentialError::unlock_failed("this passphrase cannot be used; shorten it"))
}

/// Argon2's working memory, wiped on drop: `argon2` itself frees its own as it is.
struct Memory(Vec<Block>);

/// Blocks of 1 KiB to reserve at the least. glibc keeps freed allocations of up to 32 MiB for the
/// thread that made them, so that unlocks on several threads would add up after all; larger ones
/// go back to the system at once. What is reserved and not used takes no memory.
const RESERVED_BLOCKS: usize = 33 * 1024;

impl Memory {
    fn allocate(blocks: usize) -> Result<Self, CredentialError> {
        let mut memory = Vec::new();
        memory.try_reserve_exact(blocks.max(RESERVED_BLOCKS)).map_err(|_| {
            CredentialError::unlock_failed(
                "not enough memory for the passphrase's Argon2 parameters; free some, or unlock on a larger machine",
            )
        })?;
        memory.resize(blocks, Block::new());
        Ok(Self(memory))
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        for block in &mut self.0 {
            // As a slice: an array is wiped word by word.
            block.as_mut().zeroize();
        }
    }
}
