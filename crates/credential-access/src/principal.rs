//! Whom a rule is about.

use std::collections::HashSet;

use nebula_credential_core::Principal;

/// The kinds a principal is written with.
const KINDS: [&str; 4] = ["user", "service", "workflow", "action"];

/// Kind and name; of the process itself there is no name.
pub(crate) fn parts(principal: &Principal) -> (&'static str, &str) {
    match principal {
        Principal::User(name) => ("user", name.as_str()),
        Principal::Service(name) => ("service", name.as_str()),
        Principal::Workflow(name) => ("workflow", name.as_str()),
        Principal::Action(name) => ("action", name.as_str()),
        // A kind this version does not know is nobody.
        Principal::Process => ("process", ""),
        _ => ("", ""),
    }
}

/// Whether `text` is what `principal` is shown as. Allocates nothing.
pub(crate) fn is(principal: &Principal, text: &str) -> bool {
    let (kind, name) = parts(principal);
    match text.split_once(':') {
        Some((of, named)) => !name.is_empty() && of == kind && named == name,
        None => kind == "process" && text == kind,
    }
}

/// Whom a rule is about: any of these.
#[derive(Debug, Clone, Default)]
pub(crate) struct Who {
    pub(crate) everyone: bool,
    exact: HashSet<Principal>,
    /// A kind, and what the name begins with.
    like: Vec<(&'static str, Box<str>)>,
    /// Whoever stored the credential first.
    pub(crate) owner: bool,
    /// Whom the credential is shared with, as far as it is.
    pub(crate) granted: bool,
}

impl Who {
    /// Adds a principal, `KIND:PREFIX*`, or `*`.
    ///
    /// # Errors
    /// What is wrong with it, and what to write.
    pub(crate) fn add(&mut self, text: &str) -> Result<(), &'static str> {
        if text == "*" {
            self.everyone = true;
            return Ok(());
        }
        if let Some(start) = text.strip_suffix('*') {
            let known = start.split_once(':').and_then(|(kind, prefix)| {
                let kind = KINDS.into_iter().find(|known| *known == kind)?;
                let lawful = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b'/');
                prefix.bytes().all(lawful).then_some((kind, prefix))
            });
            let (kind, prefix) = known.ok_or(SHAPE)?;
            self.like.push((kind, prefix.into()));
            return Ok(());
        }
        self.exact.insert(text.parse().map_err(|_| SHAPE)?);
        Ok(())
    }

    /// Adds whoever `other` is.
    pub(crate) fn extend(&mut self, other: &Self) {
        self.everyone |= other.everyone;
        self.exact.extend(other.exact.iter().cloned());
        self.like.extend(other.like.iter().cloned());
    }

    /// How many it names.
    pub(crate) fn len(&self) -> usize {
        self.exact.len() + self.like.len()
    }

    /// Whether it is `principal`, whatever the credential.
    pub(crate) fn is(&self, principal: &Principal) -> bool {
        if self.everyone || self.exact.contains(principal) {
            return true;
        }
        let (kind, name) = parts(principal);
        let mut like = self.like.iter();
        like.any(|(of, prefix)| *of == kind && name.starts_with(&**prefix))
    }

    /// Whether who it is depends on the credential.
    pub(crate) fn asks_record(&self) -> bool {
        self.owner || self.granted
    }
}

const SHAPE: &str = "is no principal; write user:NAME, service:NAME, workflow:NAME or action:NAME (a `*` may end the name), process, group:NAME, owner, granted, or \"*\"";

#[cfg(test)]
mod tests {
    use super::*;

    const TEXTS: [&str; 5] = [
        "user:alice",
        "service:a/b",
        "workflow:w.7",
        "action:x_1",
        "process",
    ];

    #[test]
    fn principals_are_read_as_they_are_shown() {
        for text in TEXTS {
            let principal: Principal = text.parse().unwrap();
            assert_eq!(principal.to_string(), text);
            for other in TEXTS {
                assert_eq!(is(&principal, other), other == text);
            }
        }
        for text in [
            "",
            "alice",
            "user:",
            "user:Alice",
            "group:x",
            "process:x",
            "user:a b",
        ] {
            assert!(text.parse::<Principal>().is_err(), "{text}");
            assert!(!TEXTS.into_iter().any(|known| is(&known.parse().unwrap(), text)));
        }
    }

    #[test]
    fn a_rule_is_about_whom_it_names() {
        let mut who = Who::default();
        for text in ["user:alice", "service:billing-*", "workflow:*"] {
            who.add(text).unwrap();
        }
        for text in ["user:alice", "service:billing-1", "workflow:x"] {
            assert!(who.is(&text.parse().unwrap()), "{text}");
        }
        for text in [
            "user:bob",
            "service:billing",
            "action:x",
            "process",
            "service:alice",
        ] {
            assert!(!who.is(&text.parse().unwrap()), "{text}");
        }
        for text in ["*x", "user:*x", "*:a", "process*", "group:*", "user:A*", ":*"] {
            assert!(who.add(text).is_err(), "{text}");
        }
    }
}
