//! What a cycle does: a verb chosen by chance among those that can succeed, and what it makes of what is stored.

use serde_json::{Value, json};

use crate::Result;
use crate::ncred::{Place, State, Workshop};

/// Records that there are at a time, and versions of one: everything is read after each kill.
const RECORDS: usize = 3;
const VERSIONS: usize = 4;
/// Keys beyond which none is added: a retired one is destroyed only when it has not been in use for minutes.
const KEYS: usize = 8;

/// A bundle beside the store, the key file that opens it, and what it holds: the text of each.
const BUNDLE: &str = "transfer.ncb";
const BUNDLE_KEY: &str = "transfer";
const BUNDLED: [(&str, &str); 2] = [("one", "first"), ("two", "second")];

/// Seals the bundle for `place`, in a store with a key ring of its own.
pub(super) fn seal_bundle(workshop: &Workshop, place: &Place) -> Result<()> {
    let sender = workshop.place("sender")?;
    sender.must(&["init"], "")?;
    let lines: String = BUNDLED
        .iter()
        .map(|(name, text)| format!("{}={text}\n", name.to_uppercase()))
        .collect();
    sender.must(&["import", "-", "--format=env"], &lines)?;
    let file = format!("--out={}", place.root.join(BUNDLE).display());
    let key = format!("--for-key-file={}", place.root.join(BUNDLE_KEY).display());
    sender.must(&["export", &file, &key], "").map(drop)
}

/// A generator that is the same for the same seed (SplitMix64, Steele and others, 2014).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// One call, and what it does to what is stored.
pub(super) struct Step {
    /// What the figures call it.
    pub(super) verb: &'static str,
    pub(super) arguments: Vec<String>,
    pub(super) stdin: String,
    change: Change,
    /// Whether it changes several things, each by itself.
    pub(super) in_steps: bool,
    /// Whether it succeeds although it leaves some of them for later.
    pub(super) may_wait: bool,
}

enum Change {
    /// A new version of each, with this text; or the first.
    Store(Vec<(String, String)>),
    /// A new version that is the one before the last.
    RollBack(String),
    Deleted(String, bool),
    /// No version is handed out any more.
    Revoke(String),
    Purge(String),
    RotateKey,
    Rewrap,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ncred {}", self.arguments.join(" "))
    }
}

impl Step {
    pub(super) fn choose(state: &State, cycle: u64, random: &mut Random) -> Self {
        let names: Vec<&str> = state
            .0
            .keys()
            .filter_map(|piece| piece.strip_prefix("record "))
            .collect();
        let new_name = format!("n{cycle}");
        let text = format!("text {cycle}");
        if random.below(4) == 0 {
            let keys = keys(state).len();
            return if keys > KEYS || keys > 1 && random.below(2) == 0 {
                Self::new("key rewrap", &["--destroy-unused"], Change::Rewrap)
            } else {
                Self::new("key rotate", &[], Change::RotateKey)
            };
        }
        let room = RECORDS.saturating_sub(names.len());
        let Some(name) = names.get(random.below(RECORDS as u64) as usize) else {
            return match random.below(if room > 1 { 4 } else { 1 }) {
                0 | 1 => Self::store("put", &new_name, &["--type=secret_text"], text),
                2 => Self::import_text(new_name, &text),
                _ => Self::import_bundle(&new_name),
            };
        };
        let record = state.0.get(&format!("record {name}"));
        let versions = record.and_then(|record| record.get("versions")?.as_object());
        let versions = versions.map_or(0, serde_json::Map::len);
        let deleted = record.is_some_and(|record| record.get("deleted") == Some(&json!(true)));
        let revoked = record.is_some_and(|record| !is_served(record));
        let owned = (*name).to_owned();
        match random.below(7) {
            0..=2 if deleted => Self::new("restore", &[name], Change::Deleted(owned, false)),
            0..=2 if revoked => Self::new("delete", &[name], Change::Deleted(owned, true)),
            _ if versions >= VERSIONS || deleted || revoked => {
                Self::new("purge", &[name, "--yes"], Change::Purge(owned))
            }
            6 => Self::new("revoke", &[name, "--yes"], Change::Revoke(owned)),
            0 => Self::new("delete", &[name], Change::Deleted(owned, true)),
            1 | 2 if versions > 1 => Self::new("rollback", &[name], Change::RollBack(owned)),
            1..=3 => Self::store("put", name, &["--type=secret_text"], text),
            _ => Self::store("rotate", name, &[], text),
        }
    }

    fn new(verb: &'static str, arguments: &[&str], change: Change) -> Self {
        let in_steps = match &change {
            Change::Store(stored) => stored.len() > 1,
            Change::Rewrap => true,
            _ => false,
        };
        let may_wait = matches!(change, Change::Rewrap);
        let words = verb.split(' ').chain(arguments.iter().copied());
        Self {
            verb,
            arguments: words.map(str::to_owned).collect(),
            stdin: String::new(),
            change,
            in_steps,
            may_wait,
        }
    }

    fn import_text(name: String, text: &str) -> Self {
        let other = format!("{name}b");
        let file = format!("{name}={text}\n{other}={text}\n").to_uppercase();
        let stored = [name, other].map(|name| (name, text.to_uppercase()));
        let step = Self::new("import", &["-", "--format=env"], Change::Store(stored.into()));
        step.with_stdin(file)
    }

    fn import_bundle(name: &str) -> Self {
        let stored = BUNDLED.map(|(bundled, text)| (format!("{name}/{bundled}"), text.to_owned()));
        let key = format!("--bundle-key-file={BUNDLE_KEY}");
        let prefix = format!("--prefix={name}/");
        Self {
            verb: "import of a bundle",
            ..Self::new("import", &[BUNDLE, &key, &prefix], Change::Store(stored.into()))
        }
    }

    fn with_stdin(self, stdin: String) -> Self {
        Self { stdin, ..self }
    }

    fn store(verb: &'static str, name: &str, options: &[&str], text: String) -> Self {
        let value = json!({ "text": text }).to_string();
        let arguments = [&[name], options].concat();
        Self::new(verb, &arguments, Change::Store(vec![(name.to_owned(), text)])).with_stdin(value)
    }

    /// What is stored after it.
    pub(super) fn applied(&self, state: &State) -> State {
        let mut new = state.clone();
        let mut change = |name: &str, change: &dyn Fn(&mut Value)| {
            let empty = || json!({"deleted": false, "tags": {}, "latest": 0, "versions": {}});
            change(new.0.entry(format!("record {name}")).or_insert_with(empty));
        };
        match &self.change {
            Change::Store(stored) => {
                for (name, text) in stored {
                    let value = json!(["secret_text", {"text": text}, true]);
                    change(name, &|record| append(record, value.clone()));
                }
            }
            Change::RollBack(name) => change(name, &|record| {
                let before = latest(record) - 1;
                let value = record.pointer(&format!("/versions/{before}")).cloned();
                append(record, value.unwrap_or_default());
            }),
            Change::Deleted(name, deleted) => change(name, &|record| set(record, "deleted", json!(deleted))),
            Change::Revoke(name) => change(name, &|record| {
                for version in versions_of(record).into_iter().flat_map(|all| all.values_mut()) {
                    if let Some(is_served) = version.get_mut(2) {
                        *is_served = json!(false);
                    }
                }
            }),
            Change::Purge(name) => {
                new.0.remove(&format!("record {name}"));
            }
            Change::RotateKey => {
                let keys = keys(state);
                for number in &keys {
                    new.0.insert(format!("key {number}"), json!("decrypt_only"));
                }
                let next = keys.last().map_or(1, |last| last + 1);
                new.0.insert(format!("key {next}"), json!("primary"));
            }
            Change::Rewrap => new.0.retain(|_, value| value != "decrypt_only"),
        }
        new
    }
}

/// The numbers of the keys there are, oldest first.
fn keys(state: &State) -> Vec<u32> {
    let names = state.0.keys().filter_map(|piece| piece.strip_prefix("key "));
    let mut numbers: Vec<u32> = names.filter_map(|number| number.parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}

fn latest(record: &Value) -> u64 {
    record.get("latest").and_then(Value::as_u64).unwrap_or_default()
}

/// Whether every version is handed out. None of a revoked record is.
fn is_served(record: &Value) -> bool {
    let versions = record.get("versions").and_then(Value::as_object);
    let mut versions = versions.into_iter().flat_map(|all| all.values());
    versions.all(|version| version.get(2) == Some(&json!(true)))
}

fn versions_of(record: &mut Value) -> Option<&mut serde_json::Map<String, Value>> {
    record.get_mut("versions").and_then(Value::as_object_mut)
}

fn append(record: &mut Value, value: Value) {
    let next = latest(record) + 1;
    if let Some(versions) = versions_of(record) {
        versions.insert(next.to_string(), value);
    }
    set(record, "latest", json!(next));
}

fn set(record: &mut Value, member: &str, value: Value) {
    if let Some(record) = record.as_object_mut() {
        record.insert(member.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_do_what_the_verbs_do() {
        let start = State([("key 1".to_owned(), json!("primary"))].into());
        let put = Step::store("put", "a", &[], "one".to_owned()).applied(&start);
        let put = Step::store("rotate", "a", &[], "two".to_owned()).applied(&put);
        let back = Step::new("rollback", &["a"], Change::RollBack("a".to_owned())).applied(&put);
        let record = back.0.get("record a").unwrap();
        assert_eq!(record.pointer("/versions/3/1/text"), Some(&json!("one")));
        assert_eq!(latest(record), 3);
        let revoked = Step::new("revoke", &["a"], Change::Revoke("a".to_owned())).applied(&back);
        let record = revoked.0.get("record a").unwrap();
        assert!(is_served(back.0.get("record a").unwrap()));
        for version in ["1", "2", "3"] {
            let served = record.pointer(&format!("/versions/{version}/2"));
            assert_eq!(served, Some(&json!(false)));
        }
        let purged = Step::new("purge", &["a"], Change::Purge("a".to_owned())).applied(&back);
        assert_eq!(purged, start);
        let rotated = Step::new("key rotate", &[], Change::RotateKey).applied(&start);
        assert_eq!(keys(&rotated), [1, 2]);
        let rewrapped = Step::new("key rewrap", &[], Change::Rewrap).applied(&rotated);
        assert_eq!(keys(&rewrapped), [2]);
    }

    #[test]
    fn every_verb_has_its_turn() {
        let mut random = Random(1);
        let mut state = State([("key 1".to_owned(), json!("primary"))].into());
        let mut seen = std::collections::BTreeSet::new();
        for cycle in 0..2000 {
            let step = Step::choose(&state, cycle, &mut random);
            seen.insert(step.verb);
            state = step.applied(&state);
        }
        assert_eq!(seen.len(), 11, "{seen:?}");
    }
}
