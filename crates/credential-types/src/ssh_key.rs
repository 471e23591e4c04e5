use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nebula_credential_core::{Credential, CredentialError, CredentialValue, ExposeSecret, SecretString};

use crate::private_key;

/// An SSH key pair, and who signs in with it.
#[derive(Clone, Credential)]
#[credential(type = "ssh_key", validate = Self::check, to_value = Self::as_pair, from_value = Self::from_pair)]
pub struct SshKeyCredential {
    /// Who signs in, where that is recorded.
    pub username: Option<String>,
    /// One private key: the OpenSSH format, PKCS#8, PKCS#1 (RSA) or SEC 1 (EC), in PEM armour.
    #[secret]
    pub private_key: SecretString,
    /// What decrypts the private key. It may be kept elsewhere; a key that is not encrypted has none.
    #[secret]
    pub passphrase: Option<SecretString>,
    /// The public key or certificate, as the line of a `.pub` file.
    #[public]
    pub public_key: Option<String>,
}

impl SshKeyCredential {
    /// The credential of `private_key`, with nothing beside it.
    pub fn new(private_key: impl Into<SecretString>) -> Self {
        Self {
            username: None,
            private_key: private_key.into(),
            passphrase: None,
            public_key: None,
        }
    }

    /// Whether a passphrase is needed to use the private key.
    ///
    /// # Errors
    /// [`CredentialError::Validation`] if the private key is not valid.
    pub fn is_encrypted(&self) -> Result<bool, CredentialError> {
        Ok(self.private()?.is_encrypted)
    }

    fn private(&self) -> Result<PrivateKey, CredentialError> {
        PrivateKey::read(self.private_key.expose_secret())
            .map_err(|flaw| CredentialError::validation(format!("private_key {flaw}")))
    }

    fn check(&self) -> Result<(), CredentialError> {
        let bad = |remedy: &'static str| Err(CredentialError::validation(remedy));
        if let Some(name) = &self.username
            && (name.is_empty() || !crate::text::is_unbroken(name))
        {
            return bad(
                "username is empty or has white space or a control character; correct it, or leave it out",
            );
        }
        let private = self.private()?;
        match &self.passphrase {
            Some(passphrase) if passphrase.expose_secret().is_empty() => {
                return bad("passphrase cannot be empty; leave it out");
            }
            Some(_) if !private.is_encrypted => {
                return bad(
                    "passphrase is given but private_key is not encrypted; leave it out, or encrypt the key \
                            with `ssh-keygen -p`",
                );
            }
            _ => {}
        }
        if let Some(line) = &self.public_key {
            let public = public_blob(line)
                .map_err(|flaw| CredentialError::validation(format!("public_key {flaw}")))?;
            let is_certificate =
                algorithm(&public).is_some_and(|name| name.ends_with(b"-cert-v01@openssh.com"));
            if !is_certificate && private.public.is_some_and(|own| own != public) {
                return bad(
                    "public_key is not that of private_key; take the .pub file beside it, or leave it out",
                );
            }
        }
        Ok(())
    }

    fn as_pair(&self) -> Result<CredentialValue, CredentialError> {
        Ok(CredentialValue::KeyPair {
            public: self.public_key.clone().unwrap_or_default(),
            private: self.private_key.clone(),
            passphrase: self.passphrase.clone(),
        })
    }

    fn from_pair(value: CredentialValue) -> Result<Self, CredentialError> {
        match value {
            CredentialValue::KeyPair {
                public,
                private,
                passphrase,
            } => Ok(Self {
                username: None,
                private_key: private,
                passphrase,
                public_key: (!public.is_empty()).then_some(public),
            }),
            _ => Err(CredentialError::type_mismatch(
                "an SSH key is made from the value of a key pair",
            )),
        }
    }
}

/// What is known of a private key without its passphrase.
struct PrivateKey {
    is_encrypted: bool,
    /// Its public key in the encoding of RFC 4253, 6.6; the OpenSSH format alone has it in the clear.
    public: Option<Vec<u8>>,
}

impl PrivateKey {
    fn read(text: &str) -> Result<Self, &'static str> {
        let block = private_key::only_block(text)?;
        if block.label == "OPENSSH PRIVATE KEY" {
            return Self::openssh(&block.der)
                .ok_or("is no complete key in the OpenSSH format; paste the file unchanged");
        }
        private_key::is_encrypted(&block).map(|is_encrypted| Self {
            is_encrypted,
            public: None,
        })
    }

    /// The outer layer of OpenSSH's PROTOCOL.key.
    fn openssh(blob: &[u8]) -> Option<Self> {
        let mut rest = Wire(blob.strip_prefix(b"openssh-key-v1\0")?);
        let cipher = rest.string()?;
        let derivation = rest.string()?;
        let _options = rest.string()?;
        if rest.u32()? != 1 {
            return None;
        }
        let public = rest.string()?;
        let mut private = Wire(rest.string()?);
        let is_encrypted = cipher != b"none";
        if is_encrypted == (derivation == b"none") || algorithm(public).is_none() || private.0.is_empty() {
            return None;
        }
        // Two equal numbers at the front show that the key was decrypted with the right passphrase. Behind the
        // private part there is at most the tag of an authenticated cipher.
        if !is_encrypted && (private.u32()? != private.u32()? || !rest.0.is_empty()) {
            return None;
        }
        Some(Self {
            is_encrypted,
            public: Some(public.to_vec()),
        })
    }
}

/// The key of the line `algorithm base64 [comment]`.
fn public_blob(line: &str) -> Result<Vec<u8>, &'static str> {
    const SHAPE: &str = "is no line of a .pub file; write it like `ssh-ed25519 AAAA... comment`";
    if line.trim().contains(['\r', '\n']) {
        return Err("has more than one line; keep one key");
    }
    let mut words = line.split_ascii_whitespace();
    let name = words.next().ok_or(SHAPE)?;
    let blob = STANDARD.decode(words.next().ok_or(SHAPE)?).map_err(|_| SHAPE)?;
    if algorithm(&blob) != Some(name.as_bytes()) {
        return Err("names another algorithm than its key has; paste the line unchanged");
    }
    Ok(blob)
}

/// The algorithm an encoded public key begins with.
fn algorithm(blob: &[u8]) -> Option<&[u8]> {
    Wire(blob).string().filter(|name| !name.is_empty())
}

/// Reads the data types of RFC 4251, 5.
struct Wire<'a>(&'a [u8]);

impl<'a> Wire<'a> {
    fn u32(&mut self) -> Option<u32> {
        let (number, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*number))
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.u32()?).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(text)
    }
}
