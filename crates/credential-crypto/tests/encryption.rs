//! `CredentialEncryption`: round trips, damage, wrong keys, other types.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "test code"
)]

use std::collections::HashSet;

use nebula_credential_core::{
    Credential, CredentialError, CredentialValue, ErrorKind, ExposeSecret, REDACTED,
};
use nebula_credential_crypto::{Argon2Params, CredentialEncryption, Suite};

const SUITES: [Suite; 2] = [Suite::Blake3Aes256Gcm, Suite::HkdfSha512Aes256Gcm];

#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Pin {
    digits: String,
}

#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Token(String);

macro_rules! text_credential {
    ($type:ident, $name:literal, $field:tt) => {
        impl Credential for $type {
            nebula_credential_core::serde_codec!();

            fn credential_type() -> &'static str {
                $name
            }

            fn redact(&self) -> Self {
                Self {
                    $field: REDACTED.into(),
                }
            }

            fn to_value(&self) -> Result<CredentialValue, CredentialError> {
                Ok(CredentialValue::Text(self.$field.as_str().into()))
            }

            fn from_value(value: CredentialValue) -> Result<Self, CredentialError> {
                match value {
                    CredentialValue::Text(text) => Ok(Self {
                        $field: text.expose_secret().into(),
                    }),
                    _ => Err(CredentialError::type_mismatch("expected text")),
                }
            }
        }
    };
}

text_credential!(Pin, "pin", digits);
text_credential!(Token, "token", 0);

#[test]
fn bytes_come_back_and_no_two_messages_are_equal() {
    for suite in SUITES {
        let encryption = CredentialEncryption::new(&[1; 32]).with_suite(suite);
        let mut seen = HashSet::new();
        for length in [0, 1, 255, 256, 65_536, 1_048_577] {
            let plaintext = vec![0xA5; length];
            for _ in 0..4 {
                let sealed = encryption.encrypt(&plaintext).unwrap();
                assert_eq!(encryption.decrypt(&sealed).unwrap(), plaintext);
                assert_eq!(encryption.decrypt_secret(&sealed).unwrap().expose(), plaintext);
                // The salt and the commitment.
                assert!(seen.insert(sealed[12..76].to_vec()));
            }
        }
        // The suite is read from the bytes.
        let other = CredentialEncryption::new(&[1; 32]);
        assert_eq!(
            other.decrypt(&encryption.encrypt(b"secret").unwrap()).unwrap(),
            b"secret"
        );
    }
}

#[test]
fn another_key_or_password_is_an_error_without_detail() {
    let salt = [7; 16];
    let password = |text| CredentialEncryption::from_password_with(text, &salt, Argon2Params::FLOOR);
    let (key, right, wrong) = (
        CredentialEncryption::new(&[1; 32]),
        password("one").unwrap(),
        password("two").unwrap(),
    );
    let sealed = right.encrypt(b"canary-9f3a").unwrap();
    assert_eq!(password("one").unwrap().decrypt(&sealed).unwrap(), b"canary-9f3a");
    for other in [&key, &wrong] {
        let error = other.decrypt(&sealed).unwrap_err();
        assert!(matches!(error, CredentialError::DecryptionFailed(_)), "{error}");
        assert!(!format!("{error} {error:?}").contains("canary"));
        assert!(error.to_string().contains("check both"), "names the remedy");
    }
    assert_eq!(password("").unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(
        format!("{key:?}"),
        "CredentialEncryption { suite: Blake3Aes256Gcm, .. }"
    );
}

#[test]
fn the_default_password_parameters_are_those_documented() {
    let encryption = CredentialEncryption::from_password("password", &[3; 16]).unwrap();
    let mut key = [0; 32];
    let params = argon2::Params::new(64 * 1024, 3, 4, Some(32)).unwrap();
    argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
        .hash_password_into(b"password", &[3; 16], &mut key)
        .unwrap();
    let sealed = encryption.encrypt(b"x").unwrap();
    assert_eq!(CredentialEncryption::new(&key).decrypt(&sealed).unwrap(), b"x");
}

#[test]
fn no_damaged_message_opens() {
    let mut refused = 0;
    for suite in SUITES {
        let encryption = CredentialEncryption::new(&[1; 32]).with_suite(suite);
        let text = encryption
            .encrypt_credential(&Pin {
                digits: "0000".into(),
            })
            .unwrap();
        let credential = decode_base64(&text);
        for sealed in [encryption.encrypt(b"a short secret").unwrap(), credential] {
            let mut expect_refusal = |bytes: &[u8]| {
                let as_credential = encryption
                    .decrypt_credential::<Pin>(&encode_base64(bytes))
                    .map(|_| ());
                for result in [encryption.decrypt(bytes).map(|_| ()), as_credential] {
                    let kind = result.unwrap_err().kind();
                    assert!(
                        matches!(
                            kind,
                            ErrorKind::Tampered | ErrorKind::UnsupportedFormat | ErrorKind::TypeMismatch
                        ),
                        "{kind:?}"
                    );
                    refused += 1;
                }
            };
            for bit in 0..sealed.len() * 8 {
                let mut damaged = sealed.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                expect_refusal(&damaged);
            }
            for length in 0..sealed.len() {
                expect_refusal(&sealed[..length]);
            }
            for more in 1..=64 {
                expect_refusal(&[&sealed[..], &vec![0; more]].concat());
            }
        }
    }
    println!("damaged messages refused: {refused}");
}

#[test]
fn credentials_keep_their_type() {
    let encryption = CredentialEncryption::new(&[1; 32]);
    let text = encryption
        .encrypt_credential(&Pin {
            digits: "271828".into(),
        })
        .unwrap();
    assert!(!text.contains("271828"));
    let pin: Pin = encryption.decrypt_credential(&text).unwrap();
    assert_eq!(pin.digits, "271828");

    let error = encryption.decrypt_credential::<Token>(&text).unwrap_err();
    assert_eq!(
        error.to_string(),
        "credential type mismatch: found a credential of type pin, expected token"
    );
    let error = encryption.decrypt(&decode_base64(&text)).unwrap_err();
    assert!(error.to_string().contains("decrypt_credential"));
    let bytes = encode_base64(&encryption.encrypt(b"{}").unwrap());
    assert_eq!(
        encryption.decrypt_credential::<Pin>(&bytes).unwrap_err().kind(),
        ErrorKind::TypeMismatch
    );

    // The name in front is authenticated: it cannot be rewritten to pass for another type.
    let mut renamed = decode_base64(&text);
    let at = renamed.windows(3).position(|window| window == b"pin").unwrap();
    renamed[at..at + 3].copy_from_slice(b"tan");
    let error = encryption
        .decrypt_credential::<Pin>(&encode_base64(&renamed))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tampered);
}

#[test]
fn text_that_cannot_be_a_credential_is_refused_by_its_shape() {
    let encryption = CredentialEncryption::new(&[1; 32]);
    for text in ["not base64!", "AAA", "QUJD\n"] {
        let error = encryption.decrypt_credential::<Pin>(text).unwrap_err();
        assert!(matches!(error, CredentialError::Parse(_)), "{error}");
    }
    assert_eq!(
        encryption.decrypt_credential::<Pin>("").unwrap_err().kind(),
        ErrorKind::Tampered
    );
    let long = "A".repeat(2 * 1024 * 1024);
    assert_eq!(
        encryption.decrypt_credential::<Pin>(&long).unwrap_err().kind(),
        ErrorKind::LimitExceeded
    );
    let large = Pin {
        digits: "1".repeat(1024 * 1024),
    };
    assert_eq!(
        encryption.encrypt_credential(&large).unwrap_err().kind(),
        ErrorKind::LimitExceeded
    );
}

#[test]
fn a_newer_format_is_named_as_such() {
    let encryption = CredentialEncryption::new(&[1; 32]);
    let sealed = encryption.encrypt(b"secret").unwrap();
    for (at, value) in [(8, 2), (9, 9), (10, 9), (11, 3)] {
        let mut newer = sealed.clone();
        newer[at] = value;
        let error = encryption.decrypt(&newer).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnsupportedFormat);
        assert!(error.to_string().contains("upgrade"), "{error}");
    }
}

/// Bytes and a credential in each suite, under the key 0, 1, …, 31; made by a second
/// implementation, in Python with `cryptography` and `blake3`, from the documented format alone.
const GOLDEN: [[&str; 2]; 2] = [
    [
        "iU5CTQ0KGgoBAAEBICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8PBiP/JaudEV/DaiN5HoJUDAbxjcK2Am+6dSdzwR1fNZeI+shvSwOJEsFN3+z5FQ5fnK7Q60GjuWLX2oxJmA==",
        "iU5CTQ0KGgoBAAECAAAAAQNwaW4gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+P0XFnxLFuH3b3Wz/ixfio9MHoZlEakyFILVNC4a5kAWwLX/fX4e1du2YjVkZUkwbjqARFeAfoigsk2fLmaELX6gQMxc=",
    ],
    [
        "iU5CTQ0KGgoBAAIBICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj/iohMYpwCzanC/h+ZBvxzLM+Nbpp2pNgEBFk7MJzeWugG3VLFCrvSO2G9p0PtmAdATlT7/hVVgJgw+sga8cw==",
        "iU5CTQ0KGgoBAAICAAAAAQNwaW4gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+P4Nn5iYJOzGgs4pQIXeFHgLlu/wXnPHs/AnLG1ldmYd6F845n6CuWR2gGrUama26UWCy1Sgw4C9styI0TCPOuEJmeSY=",
    ],
];

#[test]
fn messages_of_version_1_open_for_ever() {
    let key = std::array::from_fn(|at| u8::try_from(at).unwrap());
    let encryption = CredentialEncryption::new(&key);
    for [bytes, credential] in GOLDEN {
        assert_eq!(
            encryption.decrypt(&decode_base64(bytes)).unwrap(),
            b"attack at dawn"
        );
        let pin: Pin = encryption.decrypt_credential(credential).unwrap();
        assert_eq!(pin.digits, "271828");
    }
}

fn encode_base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn decode_base64(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}
