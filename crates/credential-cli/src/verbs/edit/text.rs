//! JSON for a person's eyes and back, without a copy that is not wiped.

use zeroize::Zeroizing;

/// `json` with a line for each member. It must be well formed; nothing but the white space between tokens changes.
pub(super) fn pretty(json: &[u8]) -> Zeroizing<Vec<u8>> {
    measured(|out| {
        let mut depth = 0_usize;
        let mut tokens = Tokens::new(json).peekable();
        while let Some(token) = tokens.next() {
            out(token);
            let opens = matches!(token, b"{" | b"[");
            let is_closed_next = tokens.peek().is_some_and(|next| matches!(*next, b"}" | b"]"));
            match token {
                b":" => out(b" "),
                b"," => new_line(depth, out),
                // What is empty stays on its line.
                _ if opens && !is_closed_next => {
                    depth += 1;
                    new_line(depth, out);
                }
                _ if !opens && is_closed_next => {
                    depth = depth.saturating_sub(1);
                    new_line(depth, out);
                }
                _ => {}
            }
        }
        out(b"\n");
    })
}

/// `json` without the white space between tokens.
pub(super) fn compact(json: &[u8]) -> Zeroizing<Vec<u8>> {
    measured(|out| Tokens::new(json).for_each(out))
}

fn new_line(depth: usize, out: &mut dyn FnMut(&[u8])) {
    out(b"\n");
    (0..depth).for_each(|_| out(b"  "));
}

/// What `write` gives, in a buffer of exactly that size: one that grew would leave copies.
fn measured(write: impl Fn(&mut dyn FnMut(&[u8]))) -> Zeroizing<Vec<u8>> {
    let mut length = 0;
    write(&mut |part| length += part.len());
    let mut all = Zeroizing::new(Vec::with_capacity(length));
    write(&mut |part| all.extend_from_slice(part));
    all
}

/// Strings, single punctuation marks, and runs of anything else.
struct Tokens<'a> {
    rest: &'a [u8],
}

impl<'a> Tokens<'a> {
    fn new(json: &'a [u8]) -> Self {
        Self { rest: json }
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest.trim_ascii_start();
        let length = match rest.first()? {
            b'"' => string(rest),
            b'{' | b'}' | b'[' | b']' | b',' | b':' => 1,
            _ => rest
                .iter()
                .position(|byte| byte.is_ascii_whitespace() || b"{}[],:\"".contains(byte))
                .unwrap_or(rest.len()),
        };
        let (token, rest) = rest.split_at_checked(length)?;
        self.rest = rest;
        Some(token)
    }
}

/// The length of the string that `text` begins with, both quotes included.
fn string(text: &[u8]) -> usize {
    let mut is_escaped = false;
    let end = text.iter().skip(1).position(|byte| {
        let ends = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        ends
    });
    end.map_or(text.len(), |end| end + 2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Just, Strategy, any, prop, prop_oneof, proptest};
    use serde_json::Value;

    use super::{compact, pretty};

    fn text(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn each_member_has_its_line() {
        let json = br#"{"a":"x, {\"y\": [1]}","b":[],"c":{"d":[1,{}],"e":null}}"#;
        let expected = r#"{
  "a": "x, {\"y\": [1]}",
  "b": [],
  "c": {
    "d": [
      1,
      {}
    ],
    "e": null
  }
}
"#;
        assert_eq!(text(&pretty(json)), expected);
        assert_eq!(*compact(expected.as_bytes()), json);
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::String),
            "[\"\\\\{}\\[\\],: \n]{0,8}".prop_map(Value::String),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
                prop::collection::vec((any::<String>(), inner), 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_is_what_serde_json_writes(value in values()) {
            let short = serde_json::to_string(&value).unwrap();
            let long = serde_json::to_string_pretty(&value).unwrap();
            assert_eq!(text(&pretty(short.as_bytes())), long.clone() + "\n");
            assert_eq!(text(&compact(long.as_bytes())), short);
        }

        #[test]
        fn text_that_is_no_json_is_no_trouble(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = (pretty(&bytes), compact(&bytes));
        }
    }
}
