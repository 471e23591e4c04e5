//! Rust source with its comments, strings and tests told apart from its code.
//!
//! Not a parser: enough of the lexer to never mistake a string, a comment, a character or a
//! lifetime for code. All views have the bytes of the source at the same offsets, so an offset
//! found in one is good in the others.

use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::{Result, process};

/// One Rust file in three views.
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    /// As written.
    pub(crate) raw: String,
    /// Comments blanked.
    pub(crate) text: String,
    /// Comments and the contents of literals blanked.
    pub(crate) code: String,
}

impl Source {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        Ok(Self::new(path.to_path_buf(), process::read(path)?))
    }

    pub(crate) fn new(path: PathBuf, raw: String) -> Self {
        let mut text = raw.clone().into_bytes();
        let mut code = raw.clone().into_bytes();
        for (kind, range) in lex(raw.as_bytes()) {
            blank(&mut code, range.clone());
            if kind == Kind::Comment {
                blank(&mut text, range);
            }
        }
        // Only whole characters are blanked, and with ASCII: both stay UTF-8.
        let text = String::from_utf8_lossy(&text).into_owned();
        let code = String::from_utf8_lossy(&code).into_owned();
        Self {
            path,
            raw,
            text,
            code,
        }
    }

    /// The number, from 1, of the line that holds the byte at `offset`.
    pub(crate) fn line(&self, offset: usize) -> usize {
        1 + self
            .raw
            .bytes()
            .take(offset)
            .filter(|byte| *byte == b'\n')
            .count()
    }

    /// Blanks every item under a `#[cfg(test)]` and returns the names of the test modules that
    /// live in files of their own.
    pub(crate) fn strip_tests(&mut self) -> Vec<String> {
        let mut modules = Vec::new();
        let mut items = Vec::new();
        for (start, _) in self.code.match_indices("#[cfg(") {
            let Some(inner) = self.group(start + "#[cfg".len()) else {
                continue;
            };
            let condition = slice(&self.code, inner.clone());
            if !names_test(condition) {
                continue;
            }
            let end = self.item_end(inner.end);
            let item = slice(&self.code, inner.end..end);
            if let Some((_, name)) = item.trim_end_matches(';').rsplit_once("mod ")
                && item.ends_with(';')
            {
                modules.push(name.trim().to_owned());
            }
            items.push(start..end);
        }
        for item in items {
            for view in [&mut self.text, &mut self.code] {
                let mut bytes = std::mem::take(view).into_bytes();
                blank(&mut bytes, item.clone());
                *view = String::from_utf8_lossy(&bytes).into_owned();
            }
        }
        modules
    }

    /// Where the item that begins at `from` ends: after its `;`, or after its braces.
    fn item_end(&self, from: usize) -> usize {
        let mut depth = 0_i32;
        for (offset, byte) in self.code.bytes().enumerate().skip(from) {
            match byte {
                b'(' | b'[' | b'{' => depth += 1,
                // Closes the attribute this item hangs on.
                b')' | b']' if depth == 0 => {}
                b')' | b']' => depth -= 1,
                b'}' => {
                    depth -= 1;
                    if depth <= 0 {
                        return offset + 1;
                    }
                }
                b';' if depth == 0 => return offset + 1,
                _ => {}
            }
        }
        self.code.len()
    }

    /// The inside of the bracket that opens at `open`, or `None` if it opens or closes nowhere.
    pub(crate) fn group(&self, open: usize) -> Option<Range<usize>> {
        let mut depth = 0_i32;
        for (offset, byte) in self.code.bytes().enumerate().skip(open) {
            match byte {
                b'(' | b'[' | b'{' => depth += 1,
                b')' | b']' | b'}' => {
                    depth -= 1;
                    if depth == 0 {
                        return Some(open + 1..offset);
                    }
                }
                _ if depth == 0 => return None,
                _ => {}
            }
        }
        None
    }

    /// The offsets of `word` in code, where it is a whole identifier.
    pub(crate) fn words<'a>(&'a self, word: &'a str) -> impl Iterator<Item = usize> + 'a {
        self.code
            .match_indices(word)
            .map(|(offset, _)| offset)
            .filter(move |offset| {
                let before = slice(&self.code, 0..*offset).chars().next_back();
                let after = slice(&self.code, offset + word.len()..self.code.len())
                    .chars()
                    .next();
                !before.is_some_and(is_word) && !after.is_some_and(is_word)
            })
    }
}

/// `text[range]`, empty where the range is not inside the text or cuts a character.
pub(crate) fn slice(text: &str, range: Range<usize>) -> &str {
    text.get(range).unwrap_or_default()
}

/// Whether `character` continues an identifier.
pub(crate) fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Whether a `cfg` condition asks for `test` (and not for its absence).
fn names_test(condition: &str) -> bool {
    !condition.contains("not(")
        && condition
            .split(|character| !is_word(character))
            .any(|word| word == "test")
}

fn blank(bytes: &mut [u8], range: Range<usize>) {
    for byte in bytes.get_mut(range).unwrap_or_default() {
        if *byte != b'\n' {
            *byte = b' ';
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Comment,
    Literal,
}

/// The comments and the contents of the literals of `source`, in order.
fn lex(source: &[u8]) -> Vec<(Kind, Range<usize>)> {
    let at = |offset: usize| source.get(offset).copied().unwrap_or(0);
    let mut found = Vec::new();
    let mut offset = 0;
    let mut in_word = false;
    while offset < source.len() {
        let start = offset;
        let was_in_word = std::mem::replace(&mut in_word, false);
        match at(offset) {
            b'/' if at(offset + 1) == b'/' => {
                while offset < source.len() && at(offset) != b'\n' {
                    offset += 1;
                }
                found.push((Kind::Comment, start..offset));
            }
            b'/' if at(offset + 1) == b'*' => {
                let mut depth = 0_u32;
                while offset < source.len() {
                    match (at(offset), at(offset + 1)) {
                        (b'/', b'*') => (depth, offset) = (depth + 1, offset + 2),
                        (b'*', b'/') => (depth, offset) = (depth - 1, offset + 2),
                        _ => offset += 1,
                    }
                    if depth == 0 {
                        break;
                    }
                }
                offset = offset.min(source.len());
                found.push((Kind::Comment, start..offset));
            }
            b'"' => {
                offset = end_of_string(source, offset + 1);
                found.push((Kind::Literal, start + 1..offset));
                offset += 1;
            }
            b'r' if !was_in_word || matches!(at(offset.wrapping_sub(1)), b'b' | b'c') => {
                let mut open = offset + 1;
                while at(open) == b'#' {
                    open += 1;
                }
                if at(open) == b'"' {
                    let hashes = open - offset - 1;
                    let end = end_of_raw_string(source, open + 1, hashes);
                    found.push((Kind::Literal, open + 1..end));
                    offset = end + 1 + hashes;
                } else {
                    in_word = true;
                    offset += 1;
                }
            }
            // 'a' and '\n' are characters; 'a without a closing quote is a lifetime.
            b'\'' if at(offset + 1) == b'\\' => {
                offset += 3;
                while offset < source.len() && at(offset) != b'\'' {
                    offset += 1;
                }
                found.push((Kind::Literal, start + 1..offset.min(source.len())));
                offset += 1;
            }
            b'\'' => {
                let width = match at(offset + 1) {
                    0..=0x7f => 1,
                    0x80..=0xdf => 2,
                    0xe0..=0xef => 3,
                    0xf0..=0xff => 4,
                };
                if at(offset + 1 + width) == b'\'' {
                    found.push((Kind::Literal, offset + 1..offset + 1 + width));
                    offset += 2 + width;
                } else {
                    offset += 1;
                }
            }
            byte => {
                in_word = byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80;
                offset += 1;
            }
        }
    }
    found
}

fn end_of_string(source: &[u8], from: usize) -> usize {
    let mut offset = from;
    while let Some(byte) = source.get(offset) {
        match byte {
            b'\\' => offset += 2,
            b'"' => return offset,
            _ => offset += 1,
        }
    }
    source.len()
}

fn end_of_raw_string(source: &[u8], from: usize, hashes: usize) -> usize {
    let mut offset = from;
    while offset < source.len() {
        let tail = source.get(offset + 1..offset + 1 + hashes);
        if source.get(offset) == Some(&b'"') && tail.is_some_and(|tail| tail.iter().all(|byte| *byte == b'#'))
        {
            return offset;
        }
        offset += 1;
    }
    source.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::new(PathBuf::from("x.rs"), text.to_owned())
    }

    #[test]
    fn literals_and_comments_are_not_code() {
        let found = source(
            "let a = \"un\\\"safe\"; // unsafe\nlet b = r#\"unsafe \" x\"#; /* a /* b */ unsafe */ let c = 'u'; br\"unsafe\"; b'\\''; 'ä'",
        );
        assert_eq!(found.words("unsafe").count(), 0);
        assert_eq!(found.words("let").count(), 3);
        assert!(found.text.contains("un\\\"safe"));
        assert!(!found.text.contains("// "));
        assert_eq!(found.code.len(), found.raw.len());
    }

    #[test]
    fn lifetimes_are_code_and_words_are_whole() {
        let found = source("fn f<'a>(x: &'a str) -> &'a str { unsafe_code(); unsafe { x } }");
        assert_eq!(found.words("unsafe").count(), 1);
        assert_eq!(found.words("str").count(), 2);
    }

    #[test]
    fn an_identifier_may_end_in_r_before_a_string() {
        let found = source("for x in var\"a\" { unsafe {} }");
        assert_eq!(found.words("unsafe").count(), 1);
    }

    #[test]
    fn test_items_are_stripped() {
        let mut found = source(
            "fn keep() {}\n#[cfg(test)]\nmod tests { fn gone() { \"}\" } }\n#[cfg(test)] mod elsewhere;\n#[cfg(all(test, unix))]\n#[allow(x)]\nfn also_gone() {}\n#[cfg(not(test))]\nfn stays() {}\n",
        );
        assert_eq!(found.strip_tests(), ["elsewhere"]);
        assert!(found.code.contains("fn keep") && found.code.contains("fn stays"));
        assert!(!found.code.contains("gone") && !found.text.contains("gone"));
        assert_eq!(found.line(found.code.find("fn stays").unwrap()), 9);
    }

    #[test]
    fn a_group_is_balanced() {
        let found = source("f(a, (b), \")\", [c]) d");
        assert_eq!(slice(&found.raw, found.group(1).unwrap()), "a, (b), \")\", [c]");
        assert!(found.group(0).is_none());
    }
}
