/// A set of algorithms, named by a number in everything that is sealed.
///
/// Both suites use AES-256-GCM and commit to their key; they differ in the key derivation.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Suite {
    /// BLAKE3 and AES-256-GCM: the default.
    #[default]
    Blake3Aes256Gcm,
    /// HKDF-SHA-512 (RFC 5869) and AES-256-GCM: what seals is made of NIST-approved algorithms only.
    ///
    /// In both suites Argon2id stretches passphrases, and BLAKE3 hedges the random source and sums up files.
    HkdfSha512Aes256Gcm,
}

impl Suite {
    /// The number written into sealed bytes.
    pub const fn id(self) -> u16 {
        match self {
            Self::Blake3Aes256Gcm => 0x0001,
            Self::HkdfSha512Aes256Gcm => 0x0002,
        }
    }

    /// The suite of that number, if this library knows it.
    pub const fn from_id(id: u16) -> Option<Self> {
        match id {
            0x0001 => Some(Self::Blake3Aes256Gcm),
            0x0002 => Some(Self::HkdfSha512Aes256Gcm),
            _ => None,
        }
    }
}
