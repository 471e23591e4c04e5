//! Between rows and records.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use nebula_credential_core::{CredentialError, CredentialRef, Phase, RecordHead, Tags, Version, VersionHead};
use rusqlite::Row;

use crate::error::Fault;

/// `record.id`: at most 31 bits, so that a version number fits beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordId(i64);

const VERSION_BITS: u32 = 32;
const VERSION_MASK: i64 = 0xffff_ffff;

impl RecordId {
    /// `None` for a number out of range.
    pub(crate) fn new(id: i64) -> Option<Self> {
        (1..1 << 31).contains(&id).then_some(Self(id))
    }

    pub(crate) fn get(self) -> i64 {
        self.0
    }

    /// `version.id` of version `number`.
    pub(crate) fn slot(self, number: u32) -> i64 {
        (self.0 << VERSION_BITS) | i64::from(number)
    }

    /// The lowest and the highest `version.id` of this record.
    pub(crate) fn slots(self) -> (i64, i64) {
        (self.slot(0), self.slot(u32::MAX))
    }
}

/// The version number in a `version.id`.
pub(crate) fn number(slot: i64) -> Result<Version, Fault> {
    u32::try_from(slot & VERSION_MASK)
        .ok()
        .and_then(Version::new)
        .ok_or_else(Fault::damaged)
}

/// The columns [`record_head`] reads, for a record's own copy of its latest version. `id` is `record.id`.
pub(crate) const RECORD: &str = "latest, phase, created_at, updated_at, deleted_at, tags, \
    latest, type, schema, stored_at, expires_at";

/// The columns [`record_head`] reads, for a `record r` joined with a `version v`.
pub(crate) const JOINED: &str = "r.latest, r.phase, r.created_at, r.updated_at, r.deleted_at, r.tags, \
    v.id, v.type, v.schema, v.stored_at, v.expires_at";

/// The number of columns [`record_head`] reads; others follow.
pub(crate) const HEAD_COLUMNS: usize = 11;
/// The one among them that holds the version.
pub(crate) const VERSION_COLUMN: usize = 6;

pub(crate) fn micros(time: DateTime<Utc>) -> i64 {
    time.timestamp_micros()
}

fn time(micros: i64) -> Result<DateTime<Utc>, Fault> {
    DateTime::from_timestamp_micros(micros).ok_or_else(Fault::damaged)
}

/// Reads `id, type, schema, stored_at, expires_at` from column `at` on.
pub(crate) fn version_head(row: &Row<'_>, at: usize) -> Result<VersionHead, Fault> {
    let expires_at: Option<i64> = row.get(at + 4)?;
    Ok(VersionHead {
        version: number(row.get(at)?)?,
        credential_type: row.get(at + 1)?,
        schema_version: row.get(at + 2)?,
        created_at: time(row.get(at + 3)?)?,
        expires_at: expires_at.map(time).transpose()?,
    })
}

/// Reads the columns [`RECORD`] or [`JOINED`] of the record `id`.
pub(crate) fn record_head(row: &Row<'_>, id: CredentialRef) -> Result<RecordHead, Fault> {
    let latest: u32 = row.get(0)?;
    let phase: u8 = row.get(1)?;
    let deleted_at: Option<i64> = row.get(4)?;
    let tags = match row.get_ref(5)?.as_str_or_null() {
        Ok(None) => Tags::new(),
        Ok(Some(json)) => decode_tags(json)?,
        Err(_) => return Err(Fault::damaged()),
    };
    Ok(RecordHead {
        id,
        latest: Version::new(latest).ok_or_else(Fault::damaged)?,
        phase: Phase::from_id(phase).ok_or_else(Fault::damaged)?,
        created_at: time(row.get(2)?)?,
        updated_at: time(row.get(3)?)?,
        deleted_at: deleted_at.map(time).transpose()?,
        tags,
        version: version_head(row, VERSION_COLUMN)?,
    })
}

/// Tags as they are stored: a JSON object, or nothing for none.
pub(crate) fn encode_tags(tags: &Tags) -> Result<Option<String>, Fault> {
    if tags.is_empty() {
        return Ok(None);
    }
    let pairs: BTreeMap<_, _> = tags.iter().collect();
    serde_json::to_string(&pairs)
        .map(Some)
        .map_err(|_| CredentialError::internal("tags could not be written as JSON").into())
}

fn decode_tags(json: &str) -> Result<Tags, Fault> {
    let pairs: BTreeMap<String, String> = serde_json::from_str(json).map_err(|_| Fault::damaged())?;
    Tags::from_pairs(pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())))
        .map_err(|_| Fault::damaged())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_keep_record_and_version_apart_at_the_edges() {
        assert!(RecordId::new(0).is_none());
        assert!(RecordId::new(1 << 31).is_none());
        let last = RecordId::new((1 << 31) - 1).unwrap();
        let (low, high) = last.slots();
        assert!(low > 0 && high == i64::MAX, "{low} {high}");
        assert!(RecordId::new(1).unwrap().slots().1 < RecordId::new(2).unwrap().slots().0);
        assert_eq!(number(last.slot(u32::MAX)).unwrap().get(), u32::MAX);
        assert!(number(low).is_err());
    }

    #[test]
    fn tags_survive_and_foreign_ones_are_damage() {
        let tags = Tags::from_pairs([("team", "A \"quoted\" \\ Löhne"), ("env", "")]).unwrap();
        let json = encode_tags(&tags).unwrap().unwrap();
        assert_eq!(decode_tags(&json).unwrap(), tags);
        assert_eq!(encode_tags(&Tags::new()).unwrap(), None);
        for bad in ["", "[]", "{\"a\":1}", "{\"UPPER\":\"x\"}", "{\"a\":\"\\n\"}"] {
            assert!(decode_tags(bad).is_err(), "{bad}");
        }
    }
}
