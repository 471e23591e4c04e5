//! What a rule says about a text, and how sure it is.

use nebula_credential_core::OpContext;

use crate::principal;

/// How a condition stands. What nobody told is unknown; see [`Effect`](crate::rule::Effect) for what follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Truth {
    No,
    Unknown,
    Yes,
}

impl Truth {
    pub(crate) fn not(self) -> Self {
        match self {
            Self::No => Self::Yes,
            Self::Unknown => Self::Unknown,
            Self::Yes => Self::No,
        }
    }
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}

/// Text, with `{workflow}`, `{node}`, `{user}` or `{principal}` for what the request says of itself, and one `*` at
/// the end for whatever follows. A principal is a kind and a name, as in `user/alice`; a name that holds a `/` is not
/// known. Matching is of whole texts and takes time linear in them.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    pieces: Vec<Piece>,
    /// Whether it ends in `*`.
    open: bool,
}

#[derive(Debug, Clone)]
enum Piece {
    Text(Box<str>),
    Of(Attribute),
}

/// What a request says of itself.
#[derive(Debug, Clone, Copy)]
enum Attribute {
    Workflow,
    Node,
    User,
    Principal,
}

impl Attribute {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "workflow" => Self::Workflow,
            "node" => Self::Node,
            "user" => Self::User,
            "principal" => Self::Principal,
            _ => return None,
        })
    }

    /// What stands for it: a kind and a name, or a name alone. Where it is several names, joined by `/`, nobody can tell
    /// where in a text it ends, and so it is unknown.
    fn value(self, ctx: &OpContext) -> Option<(Option<&'static str>, &str)> {
        let told = ctx.circumstances.as_deref();
        let (kind, name) = match self {
            Self::Workflow => (None, told?.workflow.as_ref()?.as_str()),
            Self::Node => (None, told?.node.as_ref()?.as_str()),
            Self::User => (None, told?.user.as_ref()?.as_str()),
            Self::Principal => match principal::parts(&ctx.principal) {
                (_, "") => return None,
                // Of two kinds one name is two principals.
                (kind, name) => (Some(kind), name),
            },
        };
        (!name.contains('/')).then_some((kind, name))
    }

    /// What is behind it in `text`, which begins with it; `None` where that does not.
    fn strip<'t>((kind, name): (Option<&str>, &str), text: &'t str) -> Option<&'t str> {
        let text = match kind {
            Some(kind) => text.strip_prefix(kind)?.strip_prefix('/')?,
            None => text,
        };
        text.strip_prefix(name)
    }
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What is wrong with it, and what to write.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() {
            return Err("is empty; leave it out, or write \"*\" for anything");
        }
        if text.chars().any(char::is_control) {
            return Err("holds a control character; remove it");
        }
        let (mut rest, open) = match text.strip_suffix('*') {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        if rest.contains('*') {
            return Err("has a `*` before its end; only the last character may be one");
        }
        let mut pieces = Vec::new();
        while let Some((before, after)) = rest.split_once('{') {
            let Some((name, behind)) = after.split_once('}') else {
                return Err("has a `{` without a `}`; write {workflow}, {node}, {user} or {principal}");
            };
            let Some(attribute) = Attribute::named(name) else {
                return Err("has braces around another name than workflow, node, user or principal");
            };
            if before.contains('}') {
                return Err("has a `}` without a `{`; write {workflow}, {node}, {user} or {principal}");
            }
            // No name that is known holds a `/`, so that this is where the one before it ends.
            if !pieces.is_empty() && !before.contains('/') {
                return Err("has two names in braces without a `/` between; put one there");
            }
            if !before.is_empty() {
                pieces.push(Piece::Text(before.into()));
            }
            pieces.push(Piece::Of(attribute));
            rest = behind;
        }
        if rest.contains('}') {
            return Err("has a `}` without a `{`; write {workflow}, {node}, {user} or {principal}");
        }
        // `{user}*` would match `ann` and `anna` alike, and `{user}-*` what is of `ann-a`.
        if open && !pieces.is_empty() && !rest.contains('/') {
            return Err("has a `*` behind a `}` without a `/` between; write `/*`");
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.into()));
        }
        Ok(Self { pieces, open })
    }

    /// Whether it matches everything.
    pub(crate) fn is_anything(&self) -> bool {
        self.open && self.pieces.is_empty()
    }

    /// Whether `text` is what the pattern says, in a request of `ctx`.
    pub(crate) fn matches(&self, text: &str, ctx: &OpContext) -> Truth {
        let mut rest = text;
        for piece in &self.pieces {
            let behind = match piece {
                Piece::Text(text) => rest.strip_prefix(&**text),
                Piece::Of(attribute) => match attribute.value(ctx) {
                    Some(value) => Attribute::strip(value, rest),
                    None => return Truth::Unknown,
                },
            };
            match behind {
                Some(behind) => rest = behind,
                None => return Truth::No,
            }
        }
        (self.open || rest.is_empty()).into()
    }
}

/// Whether any of `patterns` matches; of none, whatever it is does.
pub(crate) fn any(patterns: &[Pattern], text: &str, ctx: &OpContext) -> Truth {
    if patterns.is_empty() {
        return Truth::Yes;
    }
    let each = patterns.iter().map(|pattern| pattern.matches(text, ctx));
    each.max().unwrap_or(Truth::No)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use nebula_credential_core::{Circumstances, CredentialName, Principal};

    use super::*;

    fn ctx(workflow: Option<&str>) -> OpContext {
        let mut told = Circumstances::default();
        told.workflow = workflow.map(|name| CredentialName::new(name).unwrap());
        OpContext {
            circumstances: Some(Arc::new(told)),
            ..OpContext::default()
        }
    }

    #[test]
    fn whole_texts_match_and_nothing_beside_them() {
        let cases = [
            ("*", "anything/at.all", Truth::Yes),
            ("db", "db", Truth::Yes),
            ("db", "db2", Truth::No),
            ("db", "d", Truth::No),
            ("db/*", "db/main", Truth::Yes),
            ("db/*", "db", Truth::No),
            ("db*", "db", Truth::Yes),
            ("workflow/{workflow}", "workflow/billing", Truth::Yes),
            ("workflow/{workflow}", "workflow/billing/x", Truth::No),
            ("workflow/{workflow}", "workflow/bill", Truth::No),
            ("workflow/{workflow}/*", "workflow/billing/x", Truth::Yes),
            ("{workflow}", "billing", Truth::Yes),
            ("{node}", "billing", Truth::Unknown),
            ("x/{node}", "billing", Truth::No),
        ];
        for (pattern, text, expected) in cases {
            let found = Pattern::parse(pattern)
                .unwrap()
                .matches(text, &ctx(Some("billing")));
            assert_eq!(found, expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_name_is_one_name() {
        let of = |workflow: &str, node: &str, principal| {
            let mut told = Circumstances::default();
            told.workflow = CredentialName::new(workflow).ok();
            told.node = CredentialName::new(node).ok();
            OpContext {
                principal,
                circumstances: Some(Arc::new(told)),
                ..OpContext::default()
            }
        };
        let name = |name: &str| CredentialName::new(name).unwrap();
        let process = Principal::Process;
        let cases = [
            (
                "wf/{workflow}/{node}",
                "wf/a/b",
                of("a", "b", process.clone()),
                Truth::Yes,
            ),
            // `a/b` with `c` and `a` with `b/c` would be the same.
            (
                "wf/{workflow}/{node}",
                "wf/a/b/c",
                of("a/b", "c", process.clone()),
                Truth::Unknown,
            ),
            (
                "wf/{workflow}/{node}",
                "wf/a/b/c",
                of("a", "b/c", process.clone()),
                Truth::Unknown,
            ),
            (
                "wf/{workflow}",
                "wf/a/b",
                of("a/b", "c", process.clone()),
                Truth::Unknown,
            ),
            (
                "wf/{workflow}",
                "other",
                of("a/b", "c", process.clone()),
                Truth::No,
            ),
            (
                "{principal}",
                "user/ann",
                of("a", "b", Principal::User(name("ann"))),
                Truth::Yes,
            ),
            (
                "{principal}",
                "user/anna",
                of("a", "b", Principal::User(name("ann"))),
                Truth::No,
            ),
            (
                "{principal}",
                "user/ann",
                of("a", "b", Principal::Service(name("ann"))),
                Truth::No,
            ),
            (
                "{principal}",
                "ann",
                of("a", "b", Principal::User(name("ann"))),
                Truth::No,
            ),
            (
                "{principal}",
                "user/a/b",
                of("a", "b", Principal::User(name("a/b"))),
                Truth::Unknown,
            ),
            (
                "{principal}/*",
                "user/ann/x",
                of("a", "b", Principal::User(name("ann"))),
                Truth::Yes,
            ),
            ("{principal}", "process", of("a", "b", process), Truth::Unknown),
        ];
        for (pattern, text, ctx, expected) in cases {
            let found = Pattern::parse(pattern).unwrap().matches(text, &ctx);
            assert_eq!(found, expected, "{pattern} {text}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for text in [
            "",
            "a*b",
            "**",
            "{user}*",
            "{user",
            "user}",
            "{a}",
            "{user}{node}",
            "{user}-{node}",
            "{workflow}/{user}.{node}",
            "{user}-*",
            "a/{user}.x*",
            "a}b{user}",
            "a\nb",
        ] {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
    }
}
