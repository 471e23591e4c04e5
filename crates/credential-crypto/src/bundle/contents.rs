//! What of a bundle is sealed, as bytes. `FORMAT.md` is their specification.

use chrono::{DateTime, Utc};
use nebula_credential_core::{
    CredentialError, CredentialName, Phase, Plaintext, Scope, Tags, TenantId, Version, VersionHead, limits,
};

use super::{Bundle, BundledCredential, CREDENTIALS_MAX, check_time};
use crate::bytes::{Malformed, Reader, Writer};

/// The contents are padded to multiples of this: the length of a small bundle tells nothing about it.
pub(super) const BUCKET: usize = 4096;

/// Where the credentials come from and when, each name behind its length, and how many there are.
const fn source_len(tenant: usize, scope: usize) -> usize {
    1 + tenant + 1 + scope + 8 + 4
}

/// Schema version, version, creation, whether it expires and when, phase, number of tags, length of the payload.
const FIXED_LEN: usize = 4 + 4 + 8 + 1 + 8 + 1 + 1 + 4;

/// The number of bytes before the padding.
pub(super) fn len(bundle: &Bundle) -> usize {
    let one = |credential: &BundledCredential| {
        let tags = credential.tags.iter();
        let tags: usize = tags.map(|(key, value)| 1 + key.len() + 2 + value.len()).sum();
        let texts = 1 + credential.name.as_str().len() + 1 + credential.version.credential_type.len();
        texts + FIXED_LEN + tags + credential.payload.len()
    };
    let credentials: usize = bundle.credentials.iter().map(one).sum();
    source_len(bundle.tenant.as_str().len(), bundle.scope.as_str().len()) + credentials
}

/// Writes the contents to the front of `buffer`, which is zero and at least as long.
pub(super) fn write(bundle: &Bundle, buffer: &mut [u8]) -> Result<(), Malformed> {
    let mut writer = Writer::new(buffer);
    short(&mut writer, bundle.tenant.as_str())?;
    short(&mut writer, bundle.scope.as_str())?;
    writer.array(&bundle.exported_at.timestamp_micros().to_be_bytes())?;
    let count = u32::try_from(bundle.credentials.len()).map_err(|_| Malformed)?;
    writer.array(&count.to_be_bytes())?;
    bundle
        .credentials
        .iter()
        .try_for_each(|credential| write_one(&mut writer, credential))
}

fn write_one(writer: &mut Writer<'_>, credential: &BundledCredential) -> Result<(), Malformed> {
    let version = &credential.version;
    short(writer, credential.name.as_str())?;
    short(writer, &version.credential_type)?;
    writer.array(&version.schema_version.to_be_bytes())?;
    writer.array(&version.version.get().to_be_bytes())?;
    writer.array(&version.created_at.timestamp_micros().to_be_bytes())?;
    let (known, expires) = version.expires_at.map_or((0, 0), |at| (1, at.timestamp_micros()));
    writer.array(&[known])?;
    writer.array(&expires.to_be_bytes())?;
    writer.array(&[credential.phase.id()])?;
    writer.array(&[u8::try_from(credential.tags.len()).map_err(|_| Malformed)?])?;
    for (key, value) in credential.tags.iter() {
        short(writer, key)?;
        let length = u16::try_from(value.len()).map_err(|_| Malformed)?;
        writer.array(&length.to_be_bytes())?;
        writer.put(value.as_bytes())?;
    }
    let length = u32::try_from(credential.payload.len()).map_err(|_| Malformed)?;
    writer.array(&length.to_be_bytes())?;
    writer.put(credential.payload.expose())
}

/// A text behind its length byte.
fn short(writer: &mut Writer<'_>, text: &str) -> Result<(), Malformed> {
    writer.array(&[u8::try_from(text.len()).map_err(|_| Malformed)?])?;
    writer.put(text.as_bytes())
}

/// Reads what [`write`] wrote, padding included. There is one way to write it; anything else is refused.
pub(super) fn read(bytes: &[u8]) -> Result<Bundle, Malformed> {
    let mut reader = Reader::new(bytes);
    let tenant = TenantId::new(read_short(&mut reader)?).map_err(refused)?;
    let scope = Scope::new(read_short(&mut reader)?).map_err(refused)?;
    let mut bundle = Bundle::new(tenant, scope, read_time(&mut reader)?);
    let count = usize::try_from(reader.u32()?).map_err(|_| Malformed)?;
    if count > CREDENTIALS_MAX {
        return Err(Malformed);
    }
    for _ in 0..count {
        let credential = read_one(&mut reader)?;
        credential.check().map_err(refused)?;
        // Ascending: one order, no name twice.
        let last = bundle.credentials.last();
        if last.is_some_and(|last| last.name >= credential.name) {
            return Err(Malformed);
        }
        bundle.credentials.push(credential);
    }
    let padding = reader.take(reader.remaining())?;
    if padding.len() >= BUCKET || padding.iter().any(|byte| *byte != 0) {
        return Err(Malformed);
    }
    Ok(bundle)
}

fn read_one(reader: &mut Reader<'_>) -> Result<BundledCredential, Malformed> {
    let name = CredentialName::new(read_short(reader)?).map_err(refused)?;
    let credential_type = read_short(reader)?.into();
    let schema_version = reader.u32()?;
    let version = Version::new(reader.u32()?).ok_or(Malformed)?;
    let created_at = read_time(reader)?;
    let expires_at = match reader.u8()? {
        0 if *reader.array::<8>()? == [0; 8] => None,
        1 => Some(read_time(reader)?),
        _ => return Err(Malformed),
    };
    let phase = Phase::from_id(reader.u8()?).ok_or(Malformed)?;
    let tags = read_tags(reader)?;
    let length = usize::try_from(reader.u32()?).map_err(|_| Malformed)?;
    if length > limits::SECRET_BYTES_MAX {
        return Err(Malformed);
    }
    Ok(BundledCredential {
        name,
        version: VersionHead {
            version,
            credential_type,
            schema_version,
            created_at,
            expires_at,
        },
        phase,
        tags,
        payload: Plaintext::new(reader.take(length)?.to_vec()),
    })
}

fn read_tags(reader: &mut Reader<'_>) -> Result<Tags, Malformed> {
    let mut tags = Tags::new();
    let mut last = "";
    for _ in 0..reader.u8()? {
        let key = read_short(reader)?;
        let value = text(reader.block(limits::TAG_VALUE_BYTES)?)?;
        // No key is empty, so the first is above none at all.
        if key <= last {
            return Err(Malformed);
        }
        tags.insert(key, value).map_err(refused)?;
        last = key;
    }
    Ok(tags)
}

fn read_short<'a>(reader: &mut Reader<'a>) -> Result<&'a str, Malformed> {
    let length = reader.u8()?;
    text(reader.take(length.into())?)
}

fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed)
}

fn read_time(reader: &mut Reader<'_>) -> Result<DateTime<Utc>, Malformed> {
    let time = reader.time()?;
    check_time(time).map_err(refused)?;
    Ok(time)
}

/// Which of the rules was broken is no matter of whoever opens the bundle.
fn refused(_: CredentialError) -> Malformed {
    Malformed
}
