//! `.env` files, read as python-dotenv 1.2 reads them: nothing standardises the format, and that is the reader most
//! files were written for.
//!
//! A binding is `[export] KEY[=VALUE]`, a key is bare or in single quotes, and a value is
//!
//! - in double quotes, over several lines if need be, with the escapes `\\ \' \" \a \b \f \n \r \t \v`;
//! - in single quotes, likewise, with the escapes `\\` and `\'`;
//! - or bare: up to the end of the line or a `#` behind white space, without the white space around it.
//!
//! Any other backslash stands for itself. Of a key that is bound twice, the last value counts. Line ends of every kind
//! read as `\n`, as Python's text files do. What is not a binding is skipped to the end of its line.

use std::collections::HashMap;

use zeroize::Zeroizing;

/// One binding, in the order of the file.
pub struct Variable {
    /// What stands before the `=`.
    pub key: String,
    /// The value; `None` where there is no `=`.
    pub value: Option<Zeroizing<String>>,
    /// The line it begins on, from 1.
    pub line: usize,
}

/// What a file holds.
#[derive(Default)]
pub struct Env {
    /// Every binding, repeated keys included.
    pub variables: Vec<Variable>,
    /// The lines, from 1, that are no binding.
    pub unreadable: Vec<usize>,
}

/// Reads `text`. There is no text it fails on: see [`Env::unreadable`].
pub fn parse(text: &str) -> Env {
    let mut reader = Reader {
        rest: text.strip_prefix('\u{feff}').unwrap_or(text),
        line: 1,
    };
    let mut env = Env::default();
    loop {
        reader.take_while(is_space);
        if reader.rest.is_empty() {
            return env;
        }
        let line = reader.line;
        match reader.binding() {
            Some(Some((key, value))) => env.variables.push(Variable { key, value, line }),
            Some(None) => {}
            None => {
                env.unreadable.push(line);
                reader.take_while(|c| !is_newline(c));
            }
        }
    }
}

/// A key and, behind an `=`, its value.
type Binding = (String, Option<Zeroizing<String>>);

/// What is left of the text.
struct Reader<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Reader<'a> {
    /// One binding or comment (`Some(None)`), to the end of its line. `None` if it is neither; what could be read of
    /// it is passed by then.
    fn binding(&mut self) -> Option<Option<Binding>> {
        if let Some(after) = self.rest.strip_prefix("export")
            && after.starts_with(is_blank)
        {
            self.rest = after;
            self.take_while(is_blank);
        }
        let key = match self.rest.chars().next()? {
            '#' => None,
            '\'' => Some(universal_newlines(self.quoted_key()?)),
            _ => Some(self.bare_key()?.to_owned()),
        };
        self.take_while(is_blank);
        let value = if self.eat('=') { Some(self.value()?) } else { None };
        self.end_of_line()?;
        Some(key.map(|key| (key, value)))
    }

    fn bare_key(&mut self) -> Option<&'a str> {
        let key = self.take_while(|c| c != '=' && c != '#' && !is_space(c));
        Some(key).filter(|key| !key.is_empty())
    }

    fn quoted_key(&mut self) -> Option<&'a str> {
        let length = self
            .rest
            .strip_prefix('\'')?
            .find('\'')
            .filter(|length| *length > 0)?;
        self.between_quotes(length)
    }

    /// The value behind an `=`.
    fn value(&mut self) -> Option<Zeroizing<String>> {
        let apart = !self.take_while(is_blank).is_empty();
        match self.rest.chars().next() {
            None | Some('\r' | '\n') => Some(Zeroizing::default()),
            // `KEY= # comment`; but `KEY=#text` is a value.
            Some('#') if apart => Some(Zeroizing::default()),
            Some(quote @ ('"' | '\'')) => {
                let length = closing(self.rest.strip_prefix(quote)?, quote)?;
                Some(unescape(self.between_quotes(length)?, quote))
            }
            Some(_) => {
                let line = self.take_while(|c| !is_newline(c));
                Some(owned(without_comment(line).trim_end_matches(is_space)))
            }
        }
    }

    fn end_of_line(&mut self) -> Option<()> {
        self.take_while(is_blank);
        if self.rest.starts_with('#') {
            self.take_while(|c| !is_newline(c));
        }
        // The line end itself is white space before the next binding.
        (self.rest.is_empty() || self.rest.starts_with(is_newline)).then_some(())
    }

    /// Passes a quote, `length` bytes and a quote; gives what is between.
    fn between_quotes(&mut self, length: usize) -> Option<&'a str> {
        self.take(1)?;
        let inner = self.take(length)?;
        self.take(1)?;
        Some(inner)
    }

    fn eat(&mut self, c: char) -> bool {
        let after = self.rest.strip_prefix(c);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let length = self.rest.find(|c| !wanted(c)).unwrap_or(self.rest.len());
        self.take(length).unwrap_or_default()
    }

    fn take(&mut self, length: usize) -> Option<&'a str> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        // No caller parts a CR from its LF: quotes and keys stand between.
        self.line += lines(taken);
        self.rest = rest;
        Some(taken)
    }
}

/// The number of line ends in `text`; CRLF is one.
fn lines(text: &str) -> usize {
    let mut before = 0;
    let ends = text.bytes().filter(|&byte| {
        let end = byte == b'\r' || (byte == b'\n' && before != b'\r');
        before = byte;
        end
    });
    ends.count()
}

/// What Python's `str.isspace` holds for white space: Unicode's, and four separators of ASCII.
fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}

fn is_newline(c: char) -> bool {
    matches!(c, '\r' | '\n')
}

/// White space within a line.
fn is_blank(c: char) -> bool {
    is_space(c) && !is_newline(c)
}

/// Where the first `quote` behind no backslash is.
fn closing(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    // Both characters looked for are ASCII, so bytes will do: no byte of another character is one.
    text.bytes().position(|byte| {
        let found = !escaped && char::from(byte) == quote;
        escaped = !escaped && byte == b'\\';
        found
    })
}

/// A copy of the exact length, which is wiped on drop.
fn owned(text: &str) -> Zeroizing<String> {
    Zeroizing::new(text.to_owned())
}

fn without_comment(line: &str) -> &str {
    let mut before = ' ';
    let start = line.char_indices().find_map(|(at, c)| {
        let comment = c == '#' && is_space(before) && at > 0;
        before = c;
        comment.then_some(at)
    });
    start.and_then(|at| line.get(..at)).unwrap_or(line)
}

fn unescape(raw: &str, quote: char) -> Zeroizing<String> {
    // Neither an escape nor a line end grows, so the buffer never does and leaves nothing behind.
    let mut value = Zeroizing::new(String::with_capacity(raw.len()));
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        let mut ahead = chars.clone();
        let next = ahead.next();
        let (read, ate) = match (c, next) {
            ('\\', Some(escape)) => escaped(escape, quote).map_or((c, false), |c| (c, true)),
            ('\r', next) => ('\n', next == Some('\n')),
            _ => (c, false),
        };
        value.push(read);
        if ate {
            chars = ahead;
        }
    }
    value
}

fn escaped(escape: char, quote: char) -> Option<char> {
    Some(match escape {
        '\\' | '\'' => escape,
        _ if quote == '\'' => return None,
        '"' => escape,
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        _ => return None,
    })
}

fn universal_newlines(key: &str) -> String {
    key.replace("\r\n", "\n").replace('\r', "\n")
}

/// The values grew past what is allowed.
#[derive(Debug, PartialEq, Eq)]
pub struct TooLong {
    /// The line, from 1, of the binding that did it.
    pub line: usize,
}

impl Env {
    /// Replaces every `${NAME}` and `${NAME:-DEFAULT}` in the values, as python-dotenv does unless told not to: `NAME`
    /// is a binding before this one, or else one of `environment`, or else the default or nothing. Nothing is replaced
    /// within a replacement.
    ///
    /// # Errors
    /// [`TooLong`] when all values together pass `limit` bytes: a short file can ask for any length. The values until
    /// then are replaced.
    pub fn interpolate(
        &mut self,
        limit: usize,
        environment: impl Fn(&str) -> Option<Zeroizing<String>>,
    ) -> Result<(), TooLong> {
        let mut bound: HashMap<&str, Option<&str>> = HashMap::new();
        let mut total = 0_usize;
        for variable in &mut self.variables {
            let Variable { key, value, line } = variable;
            if let Some(text) = value {
                let replaced = {
                    let atoms: Vec<Atom<'_>> = atoms(text)
                        .into_iter()
                        .map(|atom| resolve(atom, &bound, &environment))
                        .collect();
                    let length = atoms.iter().map(|atom| atom.text().len()).sum::<usize>();
                    total = total.saturating_add(length);
                    if total > limit {
                        return Err(TooLong { line: *line });
                    }
                    let mut replaced = Zeroizing::new(String::with_capacity(length));
                    atoms.iter().for_each(|atom| replaced.push_str(atom.text()));
                    replaced
                };
                *text = replaced;
            }
            bound.insert(key, value.as_deref().map(String::as_str));
        }
        Ok(())
    }
}

/// A part of a value.
enum Atom<'a> {
    Text(&'a str),
    Reference { name: &'a str, default: Option<&'a str> },
    Environment(Zeroizing<String>),
}

impl Atom<'_> {
    fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Environment(text) => text,
            Self::Reference { .. } => "",
        }
    }
}

fn resolve<'a>(
    atom: Atom<'a>,
    bound: &HashMap<&str, Option<&'a str>>,
    environment: impl Fn(&str) -> Option<Zeroizing<String>>,
) -> Atom<'a> {
    let Atom::Reference { name, default } = atom else {
        return atom;
    };
    // A key without a value hides the environment's, and a default is for names that are nowhere.
    match bound.get(name) {
        Some(value) => Atom::Text(value.unwrap_or_default()),
        None => environment(name).map_or(Atom::Text(default.unwrap_or_default()), Atom::Environment),
    }
}

fn atoms(value: &str) -> Vec<Atom<'_>> {
    let mut atoms = Vec::new();
    let mut plain = value;
    let mut rest = value;
    while let Some((_, after)) = rest.split_once("${") {
        rest = after;
        if let Some((reference, behind)) = reference(after) {
            let before = plain.len() - after.len() - "${".len();
            atoms.push(Atom::Text(plain.get(..before).unwrap_or_default()));
            atoms.push(reference);
            plain = behind;
            rest = behind;
        }
    }
    atoms.push(Atom::Text(plain));
    atoms
}

/// The reference that goes on behind `${`, and what follows it.
fn reference(text: &str) -> Option<(Atom<'_>, &str)> {
    let (name, after) = text.split_at_checked(text.find([':', '}'])?)?;
    if let Some(behind) = after.strip_prefix('}') {
        return Some((Atom::Reference { name, default: None }, behind));
    }
    let (default, behind) = after.strip_prefix(":-")?.split_once('}')?;
    let default = Some(default);
    Some((Atom::Reference { name, default }, behind))
}
