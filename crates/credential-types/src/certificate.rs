use chrono::{DateTime, Utc};
use nebula_credential_core::{
    Credential, CredentialError, CredentialValue, ExposeSecret, FieldInfo, FieldKind, Redact, SecretField,
    SecretString, SecretWriter,
};
use x509_parser::certificate::X509Certificate;

use crate::pem::{self, Block};
use crate::{private_key, stored};

/// An X.509 certificate with its chain and private key, such as a client certificate for mutual TLS.
///
/// Every certificate is parsed (RFC 5280), and each must be issued, by name, by the one behind it. Signatures are not
/// verified and no path to a trusted root is built: whoever opens the connection does that. The private key must be
/// that of the first certificate wherever it names its public key: RSA, EC unless written bare, and not encrypted.
#[derive(Clone, Redact)]
pub struct CertificateCredential {
    /// The certificate, then each one that issued the one before it, in PEM. The root may be left out.
    #[public]
    pub certificate: String,
    /// The private key of the first certificate: PKCS#8, PKCS#1 (RSA) or SEC 1 (EC), in PEM.
    #[secret]
    pub private_key: SecretString,
    /// What decrypts the private key. It may be kept elsewhere; a key that is not encrypted has none.
    #[secret]
    pub passphrase: Option<SecretString>,
    /// The certificates of the authorities the other side is checked against, in PEM; without them the usual ones.
    #[public]
    pub ca: Option<String>,
}

impl CertificateCredential {
    /// The credential of `certificate`, which may be a chain, and its `private_key`.
    pub fn new(certificate: impl Into<String>, private_key: impl Into<SecretString>) -> Self {
        Self {
            certificate: certificate.into(),
            private_key: private_key.into(),
            passphrase: None,
            ca: None,
        }
    }

    /// The private key, and whether its passphrase goes with it.
    fn private_block(&self) -> Result<Block<'_>, CredentialError> {
        let flaw = |flaw: &str| CredentialError::validation(format!("private_key {flaw}"));
        let block = private_key::only_block(self.private_key.expose_secret()).map_err(flaw)?;
        let is_encrypted = private_key::is_encrypted(&block).map_err(flaw)?;
        match &self.passphrase {
            Some(passphrase) if passphrase.expose_secret().is_empty() => Err(CredentialError::validation(
                "passphrase cannot be empty; leave it out",
            )),
            Some(_) if !is_encrypted => Err(CredentialError::validation(
                "passphrase is given but private_key is not encrypted; leave it out",
            )),
            _ => Ok(block),
        }
    }
}

impl Credential for CertificateCredential {
    fn credential_type() -> &'static str {
        "certificate"
    }

    fn fields() -> &'static [FieldInfo] {
        const FIELDS: &[FieldInfo] = &[
            FieldInfo::new("certificate", FieldKind::Text, false, true),
            FieldInfo::new("private_key", FieldKind::Text, true, true),
            FieldInfo::new("passphrase", FieldKind::Text, true, false),
            FieldInfo::new("ca", FieldKind::Text, false, false),
        ];
        FIELDS
    }

    fn validate(&self) -> Result<(), CredentialError> {
        let flaw = |field: &str, flaw: &str| CredentialError::validation(format!("{field} {flaw}"));
        let private = self.private_block()?;
        let mut belongs = None;
        let see = &mut |certificate: &X509Certificate<'_>, place| {
            if place == Place::First {
                belongs = private_key::belongs_to(&private, certificate);
            }
        };
        chain(&self.certificate, see).map_err(|what| flaw("certificate", what))?;
        if belongs == Some(false) {
            return Err(flaw(
                "private_key",
                "is not that of the first certificate; take the one the certificate was requested with",
            ));
        }
        if let Some(ca) = &self.ca {
            each(ca, &mut |_| Ok(())).map_err(|what| flaw("ca", what))?;
        }
        Ok(())
    }

    /// When the first certificate of the chain expires that must be valid: all but a root behind the others.
    fn expires_at(&self) -> Option<DateTime<Utc>> {
        let mut end: Option<DateTime<Utc>> = None;
        let see = &mut |certificate: &X509Certificate<'_>, place| {
            if place != Place::Root {
                end = [end, not_after(certificate)].into_iter().flatten().min();
            }
        };
        chain(&self.certificate, see).ok()?;
        end
    }

    fn redact(&self) -> Self {
        self.redacted()
    }

    fn to_value(&self) -> Result<CredentialValue, CredentialError> {
        Ok(CredentialValue::KeyPair {
            public: self.certificate.clone(),
            private: self.private_key.clone(),
            passphrase: self.passphrase.clone(),
        })
    }

    fn from_value(value: CredentialValue) -> Result<Self, CredentialError> {
        match value {
            CredentialValue::KeyPair {
                public,
                private,
                passphrase,
            } => Ok(Self {
                certificate: public,
                private_key: private,
                passphrase,
                ca: None,
            }),
            _ => Err(CredentialError::type_mismatch(
                "a certificate is made from the value of a key pair",
            )),
        }
    }

    fn encode(&self, out: &mut SecretWriter) -> Result<(), CredentialError> {
        stored::encode(self, out)
    }

    fn decode(bytes: &[u8], schema_version: u32) -> Result<Self, CredentialError> {
        stored::decode(bytes, schema_version)
    }
}

/// The end of the validity of `certificate`, if it has one.
fn not_after(certificate: &X509Certificate<'_>) -> Option<DateTime<Utc>> {
    /// `99991231235959Z`, in seconds since 1970: there is no end (RFC 5280, 4.1.2.5).
    const NO_END: i64 = 253_402_300_799;
    let seconds = certificate.validity().not_after.timestamp();
    DateTime::from_timestamp(seconds, 0).filter(|_| seconds < NO_END)
}

/// Where a certificate stands in its chain.
#[derive(PartialEq, Eq)]
enum Place {
    First,
    Issuer,
    /// Behind others, and issued by itself.
    Root,
}

/// Shows each certificate of a chain to `see`, and says what is wrong with the chain.
fn chain(text: &str, see: &mut dyn FnMut(&X509Certificate<'_>, Place)) -> Result<(), &'static str> {
    let mut issuer: Option<Vec<u8>> = None;
    each(text, &mut |certificate| {
        let own_issuer = certificate.issuer().as_raw();
        let subject = certificate.subject().as_raw();
        let place = match &issuer {
            None => Place::First,
            Some(issuer) if issuer != subject => {
                return Err(
                    "is out of order: put the certificate itself first, then each one that issued the one before",
                );
            }
            Some(_) if own_issuer == subject => Place::Root,
            Some(_) => Place::Issuer,
        };
        see(certificate, place);
        issuer = Some(own_issuer.to_vec());
        Ok(())
    })
}

/// Parses every certificate of `text` and shows it to `f`.
fn each(
    text: &str,
    f: &mut dyn FnMut(&X509Certificate<'_>) -> Result<(), &'static str>,
) -> Result<(), &'static str> {
    for block in pem::blocks(text)? {
        if block.label.contains("PRIVATE KEY") {
            return Err("holds a private key; move it into private_key, this field is not secret");
        }
        if block.label != "CERTIFICATE" {
            return Err("holds something other than certificates; keep the CERTIFICATE blocks alone");
        }
        match x509_parser::parse_x509_certificate(&block.der) {
            Ok(([], certificate)) => f(&certificate)?,
            _ => return Err("holds a block that is no X.509 certificate; paste the file unchanged"),
        }
    }
    Ok(())
}
