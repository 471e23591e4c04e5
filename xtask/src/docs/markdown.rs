//! As much of Markdown as links, headings and fenced code blocks need.

use std::collections::BTreeSet;

/// A fenced code block.
pub(super) struct Block {
    /// Of its opening fence, from 1.
    pub(super) line: usize,
    /// What stands after the fence, up to a comma.
    pub(super) language: String,
    pub(super) text: String,
}

/// A link, an image, or the definition of a reference.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) line: usize,
    pub(super) target: String,
}

pub(super) fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut fence: Option<&str> = None;
    for (index, line) in text.lines().enumerate() {
        match (fence, fence_of(line)) {
            (Some(open), Some((close, ""))) if close.starts_with(open) => fence = None,
            (Some(_), _) => {
                if let Some(block) = blocks.last_mut() {
                    block.text.push_str(line);
                    block.text.push('\n');
                }
            }
            (None, Some((open, info))) => {
                fence = Some(open);
                blocks.push(Block {
                    line: index + 1,
                    language: info.split(',').next().unwrap_or_default().to_owned(),
                    text: String::new(),
                });
            }
            (None, None) => {}
        }
    }
    blocks
}

/// The backticks that open or close a block, and what stands after them.
fn fence_of(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    let rest = line.trim_start_matches('`');
    let ticks = line.strip_suffix(rest)?;
    (ticks.len() >= 3 && !rest.contains('`')).then_some((ticks, rest.trim()))
}

/// The lines outside of code blocks, with code spans blanked, and their numbers.
fn prose(text: &str) -> Vec<(usize, String)> {
    let mut fence: Option<&str> = None;
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        match (fence, fence_of(line)) {
            (Some(open), Some((close, ""))) if close.starts_with(open) => fence = None,
            (Some(_), _) => {}
            (None, Some((open, _))) => fence = Some(open),
            (None, None) => lines.push((index + 1, without_code(line))),
        }
    }
    lines
}

/// `line` with `code` left out; an unpaired backtick is text.
fn without_code(line: &str) -> String {
    let mut parts: Vec<&str> = line.split('`').collect();
    let unpaired = parts.len().is_multiple_of(2).then(|| parts.pop()).flatten();
    let mut text: String = parts.into_iter().step_by(2).collect();
    text.push_str(unpaired.unwrap_or_default());
    text
}

pub(super) fn links(text: &str) -> Vec<Link> {
    let mut links = Vec::new();
    for (line, text) in prose(text) {
        let inline = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let definition = text
            .strip_prefix('[')
            .and_then(|rest| rest.split_once("]: "))
            .map(|(_, target)| target);
        for target in inline.chain(definition) {
            // A title may follow the target.
            if let Some(target) = target.split_whitespace().next() {
                links.push(Link {
                    line,
                    target: target.to_owned(),
                });
            }
        }
    }
    links
}

/// What `#` links to a page can name: its headings as mdBook and GitHub spell them.
pub(super) fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    let mut is_code = false;
    for line in text.lines() {
        if fence_of(line).is_some() {
            is_code = !is_code;
        } else if !is_code
            && let Some((hashes, heading)) = line.split_once(' ')
            && (1..=6).contains(&hashes.len())
            && hashes.bytes().all(|byte| byte == b'#')
        {
            anchors.insert(anchor(heading.trim()));
        }
    }
    anchors
}

fn anchor(heading: &str) -> String {
    heading
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            '-' | '_' => Some(c),
            c if c.is_alphanumeric() => Some(c.to_ascii_lowercase()),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(text: &str) -> Vec<String> {
        links(text).into_iter().map(|link| link.target).collect()
    }

    #[test]
    fn links_are_found_and_code_is_not_searched() {
        let text =
            "[a](b.md) and ![c](d.png \"title\") `[no](no.md)`\n```text\n[no](no.md)\n```\n[e]: f.md#g\n";
        assert_eq!(targets(text), ["b.md", "d.png", "f.md#g"]);
        assert_eq!(links(text).last().unwrap().line, 5);
        assert_eq!(targets("an unpaired ` and [a](b.md)"), ["b.md"]);
    }

    #[test]
    fn a_block_ends_at_its_own_fence() {
        let found = blocks("````text\n```\nx\n````\n```rust,no_run\n1\n```\n");
        let languages: Vec<&str> = found.iter().map(|block| block.language.as_str()).collect();
        assert_eq!(languages, ["text", "rust"]);
        assert_eq!(found.first().unwrap().text, "```\nx\n");
    }

    #[test]
    fn headings_are_spelled_as_anchors() {
        let anchors = anchors("# `ncred key add`\n```text\n# no\n```\n## 1. Sealing, keys\n");
        assert_eq!(
            anchors.into_iter().collect::<Vec<_>>(),
            ["1-sealing-keys", "ncred-key-add"]
        );
    }
}
