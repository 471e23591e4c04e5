use std::fmt;

use zeroize::Zeroizing;

use super::forms::text;
use super::masked::Masked;

/// How many random characters or bytes a canary has: two are never equal, and none occurs by chance.
const LENGTH: usize = 40;

/// No encoding of text changes these.
const PLAIN: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789aZ";

/// What JSON, URLs, XML, SQL and shells write in other ways.
const HOSTILE: [char; 12] = ['"', '\\', '/', '%', '&', '<', '+', ' ', '\'', '=', '\u{e9}', '#'];

/// A secret made to be looked for: random, so that it is found nowhere by chance.
///
/// It is kept masked: a search of memory does not find the canary itself, only the copies that were made of it.
pub struct Canary {
    pub(super) secret: Masked,
}

impl Canary {
    /// A canary of letters and digits, which any credential accepts.
    ///
    /// # Panics
    /// When the operating system has no randomness; likewise below.
    pub fn text() -> Self {
        let shape = |byte: u8| PLAIN.get(usize::from(byte % 64)).copied().unwrap_or(b'a');
        Self {
            secret: Masked::random(LENGTH, shape),
        }
    }

    /// A canary of text in which every fourth character is one that encodings change, such as `"`, `%` or `é`.
    pub fn hostile() -> Self {
        let mut text = Zeroizing::new(String::with_capacity(2 * LENGTH));
        for (at, byte) in Self::text().secret.iter().enumerate() {
            text.push(char::from(byte));
            if at % 3 == 2 {
                text.extend(HOSTILE.get(at / 3 % HOSTILE.len()));
            }
        }
        Self {
            secret: Masked::of(text.as_bytes()),
        }
    }

    /// A canary of bytes that are no text.
    pub fn bytes() -> Self {
        Self {
            secret: Masked::random(LENGTH, |byte| byte | 0x80),
        }
    }

    /// The canary that is `secret`, such as a key some other code has made.
    ///
    /// # Panics
    /// When it is shorter than 16 bytes: it might be found by chance.
    pub fn of(secret: &[u8]) -> Self {
        assert!(secret.len() >= 16, "a canary has 16 bytes at least");
        Self {
            secret: Masked::of(secret),
        }
    }

    /// A copy of the secret as text; of bytes that are no text, each is written as the character of that number.
    ///
    /// The copy is the caller's to wipe: hand it to what is under test.
    pub fn secret(&self) -> String {
        std::mem::take(&mut *text(&self.secret.reveal()))
    }

    /// A copy of the secret as bytes.
    pub fn secret_bytes(&self) -> Vec<u8> {
        self.secret.reveal().to_vec()
    }
}

impl fmt::Debug for Canary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Canary({} bytes)", self.secret.len())
    }
}
