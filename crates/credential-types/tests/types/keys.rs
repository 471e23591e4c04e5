//! SSH keys and certificates. The files in `data` were made by ssh-keygen and openssl and guard nothing.

use chrono::DateTime;
use nebula_credential_core::{Credential, ExposeSecret, SecretString};
use nebula_credential_types::{CertificateCredential, SshKeyCredential};
use proptest::prelude::*;

use crate::{hides, json, refused, refuses_other_values, stored};

macro_rules! data {
    ($name:literal) => {
        include_str!(concat!("data/", $name))
    };
}

const SESAME: &str = "open sesame";

fn ssh(private_key: &str, passphrase: Option<&str>, public_key: Option<&str>) -> SshKeyCredential {
    SshKeyCredential {
        username: Some("alice".to_owned()),
        private_key: private_key.into(),
        passphrase: passphrase.map(SecretString::from),
        public_key: public_key.map(str::to_owned),
    }
}

/// A line from the middle of the armoured text.
fn inner_line(pem: &str) -> &str {
    pem.lines().nth(2).unwrap()
}

#[test]
fn ssh_takes_every_form_of_private_key() {
    for (key, is_encrypted) in [
        (data!("ed25519"), false),
        (data!("ed25519_encrypted"), true),
        (data!("ed25519_chacha"), true),
        (data!("rsa_pkcs1.pem"), false),
        (data!("rsa_legacy_encrypted.pem"), true),
        (data!("rsa_pkcs8.pem"), false),
        (data!("rsa_pkcs8_encrypted.pem"), true),
        (data!("ec_sec1.pem"), false),
        (data!("ec_pkcs8.pem"), false),
        (data!("ed25519_pkcs8.pem"), false),
    ] {
        for key in [
            key.to_owned(),
            key.replace('\n', "\r\n"),
            format!("a comment\n\n{key}\n\n"),
        ] {
            let credential = SshKeyCredential::new(key);
            credential.validate().unwrap();
            assert_eq!(credential.is_encrypted().unwrap(), is_encrypted);
        }
    }
    // A passphrase may be kept elsewhere, or with the key it decrypts.
    ssh(data!("ed25519_encrypted"), None, None).validate().unwrap();
    ssh(
        data!("ed25519_encrypted"),
        Some(SESAME),
        Some(data!("ed25519_encrypted.pub")),
    )
    .validate()
    .unwrap();
    ssh(data!("ed25519"), None, Some(data!("ed25519-cert.pub")))
        .validate()
        .unwrap();
}

#[test]
fn ssh_is_stored_whole_and_hidden() {
    let key = ssh(
        data!("ed25519_encrypted"),
        Some(SESAME),
        Some(data!("ed25519_encrypted.pub")),
    );
    let back = stored(&key);
    assert_eq!(json(&back), json(&key));
    assert_eq!(back.private_key.expose_secret(), data!("ed25519_encrypted"));
    hides(&key, &[inner_line(data!("ed25519_encrypted")), SESAME]);
    assert!(format!("{key:?}").contains("alice"));
    let back = SshKeyCredential::from_value(key.to_value().unwrap()).unwrap();
    assert_eq!((back.username, &back.public_key), (None, &key.public_key));
    assert_eq!(back.passphrase.unwrap().expose_secret(), SESAME);
    let bare = SshKeyCredential::new(data!("ed25519"));
    assert_eq!(
        json(&SshKeyCredential::from_value(bare.to_value().unwrap()).unwrap()),
        json(&bare)
    );
    refuses_other_values::<SshKeyCredential>("key_pair");
}

#[test]
fn ssh_refuses_what_is_no_key_and_says_what_to_do() {
    let key = data!("ed25519");
    let secret = inner_line(key);
    let cut = key.lines().take(3).collect::<Vec<_>>().join("\n");
    // Four characters are three bytes: what is left is base64, of too few bytes.
    let truncated = key.replace(secret, &secret[4..]);
    let damaged = key.replace(secret, &format!("*{secret}"));
    let two = format!("{key}{key}");
    let other_end = key.replace("END OPENSSH", "END RSA");
    let unknown = key.replace("OPENSSH", "DSA");
    let relabelled = key.replace("OPENSSH PRIVATE KEY", "PRIVATE KEY");
    let pkcs8_as_openssh = data!("ed25519_pkcs8.pem").replace("PRIVATE KEY", "OPENSSH PRIVATE KEY");
    let literal = key.replace('\n', "\\n");
    for (text, words) in [
        ("", "no -----BEGIN line"),
        ("hunter2", "no -----BEGIN line"),
        (data!("ed25519.pub"), "no -----BEGIN line"),
        ("PuTTY-User-Key-File-3: ssh-ed25519\nhunter2", "puttygen"),
        (&literal, "written as \\n"),
        (&cut, "is cut off"),
        (&truncated, "no complete key in the OpenSSH format"),
        (&damaged, "is not base64"),
        (&two, "more or less than one key"),
        (&other_end, "different labels"),
        (&unknown, "is of an unknown kind"),
        (&relabelled, "not one ASN.1 structure"),
        (&pkcs8_as_openssh, "no complete key in the OpenSSH format"),
        (data!("leaf.pem"), "is a certificate"),
        (
            "-----BEGIN PUBLIC KEY-----\nMAA=\n-----END PUBLIC KEY-----",
            "is a public key",
        ),
        (
            "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----",
            "is empty between",
        ),
    ] {
        refused(&SshKeyCredential::new(text), words, &["hunter2", secret]);
        refused(&SshKeyCredential::new(text), "private_key ", &[]);
    }
    assert!(SshKeyCredential::new("hunter2").is_encrypted().is_err());
}

#[test]
fn ssh_refuses_parts_that_do_not_fit() {
    let (key, public) = (data!("ed25519"), data!("ed25519.pub"));
    refused(
        &ssh(key, Some(SESAME), None),
        "passphrase is given but private_key is not encrypted",
        &[SESAME],
    );
    refused(
        &ssh(data!("ed25519_encrypted"), Some(""), None),
        "passphrase cannot be empty",
        &[],
    );
    refused(
        &ssh(key, None, Some(data!("ed25519_encrypted.pub"))),
        "is not that of private_key",
        &[],
    );
    refused(
        &ssh(data!("ed25519_encrypted"), None, Some(public)),
        "is not that of private_key",
        &[],
    );
    let renamed = public.replace("ssh-ed25519", "ssh-rsa");
    refused(&ssh(key, None, Some(&renamed)), "another algorithm", &[]);
    for line in [
        "",
        "hunter2",
        "ssh-ed25519",
        "ssh-ed25519 hunter2!",
        "ssh-ed25519 AAAA",
        data!("leaf.pem"),
    ] {
        refused(&ssh(key, None, Some(line)), "public_key ", &["hunter2"]);
    }
    refused(
        &ssh(key, None, Some(&format!("{public}{public}"))),
        "more than one line",
        &[],
    );
    for name in ["", "a b", "a\n"] {
        let mut credential = ssh(key, None, None);
        credential.username = Some(name.to_owned());
        refused(&credential, "username is empty or has", &[]);
    }
}

fn chain(parts: &[&str]) -> String {
    parts.concat()
}

fn certificate() -> CertificateCredential {
    let mut credential = CertificateCredential::new(
        chain(&[data!("leaf.pem"), data!("mid.pem")]),
        data!("ec_sec1.pem"),
    );
    credential.ca = Some(data!("root.pem").to_owned());
    credential
}

#[test]
fn certificate_takes_chains_and_expires_with_the_first_that_must_be_valid() {
    let end = |text: &str| Some(DateTime::parse_from_rfc3339(text).unwrap().to_utc());
    let (leaf, mid, root) = (data!("leaf.pem"), data!("mid.pem"), data!("root.pem"));
    let key = data!("ec_pkcs8.pem");
    let (leaf_end, mid_end) = (end("2109-01-12T14:53:04Z"), end("2081-08-26T14:53:04Z"));
    for (parts, expected) in [
        (chain(&[leaf]), leaf_end),
        (chain(&[leaf, mid]), mid_end),
        (chain(&[leaf, "\nsubject=text between\n", mid, root]), mid_end),
        (chain(&[leaf, mid]).replace('\n', "\r\n"), mid_end),
    ] {
        let credential = CertificateCredential::new(parts, key);
        credential.validate().unwrap();
        assert_eq!(credential.expires_at(), expected);
    }
    assert_eq!(
        CertificateCredential::new(root, key).expires_at(),
        end("2126-10-30T14:53:04Z")
    );
    assert_eq!(CertificateCredential::new("hunter2", key).expires_at(), None);

    let rsa = data!("leaf_rsa.pem");
    for key in [
        data!("rsa_pkcs1.pem"),
        data!("rsa_pkcs8.pem"),
        data!("rsa_legacy_encrypted.pem"),
    ] {
        CertificateCredential::new(rsa, key).validate().unwrap();
    }
    let mut encrypted = CertificateCredential::new(rsa, data!("rsa_pkcs8_encrypted.pem"));
    encrypted.passphrase = Some(SESAME.into());
    encrypted.validate().unwrap();
    CertificateCredential::new(data!("leaf_ed25519.pem"), data!("ed25519_pkcs8.pem"))
        .validate()
        .unwrap();
}

#[test]
fn certificate_is_stored_whole_and_hidden() {
    let credential = certificate();
    credential.validate().unwrap();
    let back = stored(&credential);
    assert_eq!(json(&back), json(&credential));
    assert_eq!(back.private_key.expose_secret(), data!("ec_sec1.pem"));
    let inner_line = data!("ec_sec1.pem").lines().nth(4).unwrap();
    hides(&credential, &[inner_line]);
    assert_eq!(credential.redact().certificate, credential.certificate);
    let back = CertificateCredential::from_value(credential.to_value().unwrap()).unwrap();
    assert_eq!((&back.certificate, &back.ca), (&credential.certificate, &None));
    back.validate().unwrap();
    refuses_other_values::<CertificateCredential>("key_pair");
}

#[test]
fn certificate_refuses_other_things_and_says_what_to_do() {
    let (leaf, mid, root) = (data!("leaf.pem"), data!("mid.pem"), data!("root.pem"));
    let key = data!("ec_sec1.pem");
    let with_key = chain(&[leaf, data!("ec_pkcs8.pem")]);
    let damaged = leaf.replace(inner_line(leaf), "");
    for (text, words) in [
        ("", "certificate has no -----BEGIN line"),
        ("hunter2", "certificate has no -----BEGIN line"),
        (&chain(&[mid, leaf]), "certificate is out of order"),
        (&chain(&[leaf, root]), "certificate is out of order"),
        (&with_key, "certificate holds a private key"),
        (
            &leaf.replace("CERTIFICATE", "X509 CRL"),
            "certificate holds something other than",
        ),
        (&damaged, "no X.509 certificate"),
        (
            &key.replace("EC PRIVATE KEY", "CERTIFICATE")
                .replace("EC PARAMETERS", "CERTIFICATE"),
            "no X.509 certificate",
        ),
    ] {
        refused(&CertificateCredential::new(text, key), words, &["hunter2"]);
    }
    for (text, words) in [
        ("", "private_key has no -----BEGIN line"),
        (leaf, "private_key is a certificate"),
        (data!("ed25519"), "private_key is of an unknown kind"),
        (&chain(&[key, key]), "private_key holds more or less"),
    ] {
        refused(&CertificateCredential::new(leaf, text), words, &[]);
    }
    let mut credential = certificate();
    credential.ca = Some("hunter2".to_owned());
    refused(&credential, "ca has no -----BEGIN line", &["hunter2"]);
    credential.ca = Some(chain(&[root, leaf]));
    credential.validate().unwrap();
    credential.passphrase = Some(SESAME.into());
    refused(&credential, "passphrase is given but", &[SESAME]);
    credential.passphrase = Some("".into());
    refused(&credential, "passphrase cannot be empty", &[]);
}

#[test]
fn certificate_refuses_the_key_of_another() {
    let own = [
        (data!("leaf.pem"), [data!("ec_sec1.pem"), data!("ec_pkcs8.pem")]),
        (
            data!("leaf_rsa.pem"),
            [data!("rsa_pkcs1.pem"), data!("rsa_pkcs8.pem")],
        ),
        (
            data!("leaf_ed25519.pem"),
            [data!("ed25519_pkcs8.pem"), data!("ed25519_pkcs8.pem")],
        ),
    ];
    for (certificate, _) in own {
        for (other, keys) in own {
            for key in keys {
                let credential = CertificateCredential::new(certificate, key);
                if certificate == other {
                    credential.validate().unwrap();
                } else {
                    refused(
                        &credential,
                        "private_key is not that of the first certificate",
                        &[inner_line(key)],
                    );
                }
            }
        }
    }
    // Of the same kind, too.
    for (certificate, key) in [
        (data!("mid.pem"), data!("ec_sec1.pem")),
        (data!("mid.pem"), data!("ec_pkcs8.pem")),
        (data!("leaf_rsa.pem"), data!("rsa_other_pkcs8.pem")),
    ] {
        refused(
            &CertificateCredential::new(certificate, key),
            "is not that of the first certificate",
            &[],
        );
    }
    // What does not name its public key, or is encrypted, is taken.
    for key in [data!("ec_bare_pkcs8.pem"), data!("rsa_pkcs8_encrypted.pem")] {
        CertificateCredential::new(data!("leaf.pem"), key)
            .validate()
            .unwrap();
    }
}

/// `text` with a byte changed, dropped or doubled at a place.
fn damage(text: &str, at: usize, how: u8) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let at = at % bytes.len();
    match how {
        0 => bytes.truncate(at),
        1 => drop(bytes.remove(at)),
        other => bytes[at] = other & 0x7f,
    }
    String::from_utf8(bytes).unwrap()
}

proptest! {
    #[test]
    fn damaged_files_are_answered_without_a_panic(at in any::<usize>(), how in any::<u8>()) {
        for key in [data!("ed25519"), data!("ed25519_encrypted"), data!("rsa_pkcs8.pem"), data!("ec_sec1.pem")] {
            let _ = SshKeyCredential::new(damage(key, at, how)).validate();
            let _ = CertificateCredential::new(data!("leaf.pem"), damage(key, at, how)).validate();
        }
        for text in [data!("leaf.pem"), data!("leaf_rsa.pem")] {
            let credential = CertificateCredential::new(damage(text, at, how), data!("ec_sec1.pem"));
            let _ = (credential.validate(), credential.expires_at());
        }
    }

    #[test]
    fn any_bytes_in_armour_are_answered_without_a_panic(
        label in "(OPENSSH |RSA |EC |ENCRYPTED )?PRIVATE KEY|CERTIFICATE",
        body in prop::collection::vec(any::<u8>(), 0..200),
        magic in any::<bool>(),
    ) {
        use base64::Engine as _;
        let body = if magic { [b"openssh-key-v1\0".as_slice(), &body].concat() } else { body };
        let body = base64::engine::general_purpose::STANDARD.encode(body);
        let text = format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
        let _ = SshKeyCredential::new(text.as_str()).validate();
        let _ = ssh(data!("ed25519"), None, Some(&format!("ssh-ed25519 {body}"))).validate();
        let _ = CertificateCredential::new(text.as_str(), text.as_str()).validate();
    }

    #[test]
    fn any_text_is_answered_without_a_panic(text in any::<String>()) {
        prop_assert!(SshKeyCredential::new(text.as_str()).validate().is_err());
        prop_assert!(CertificateCredential::new(text.as_str(), text.as_str()).validate().is_err());
    }
}
