//! The Rust blocks of a Markdown document.

/// One fenced block whose language is `rust`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    /// Its place among the Rust blocks, from 1.
    pub(super) order: usize,
    /// The line of the document on which its text begins, from 1.
    pub(super) line: usize,
    /// The text between the fences, ending in a line feed.
    pub(super) text: String,
}

impl Block {
    /// A fingerprint of the text. Not against forgery: it tells that someone changed a block.
    pub(super) fn id(&self) -> String {
        // FNV-1a, 64 bits: stable over releases and platforms, which std's hashers are not.
        let hash = self
            .text
            .trim_end()
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
            });
        format!("{hash:016x}")
    }

    pub(super) fn lines(&self) -> usize {
        self.text.lines().count()
    }
}

/// The Rust blocks of `document`, in order. A fence closes at a line of at least as many of its own
/// characters; a block that is never closed ends with the document.
pub(super) fn rust_blocks(document: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut open: Option<(char, usize, bool)> = None;
    for (index, line) in document.lines().enumerate() {
        let trimmed = line.trim_start();
        let mark = trimmed.chars().next().filter(|mark| matches!(mark, '`' | '~'));
        let width = mark.map_or(0, |mark| trimmed.chars().take_while(|next| *next == mark).count());
        match (open, mark) {
            (None, Some(mark)) if width >= 3 => {
                let language = trimmed.trim_start_matches(mark).trim();
                let language = language.split([',', ' ', '{']).next();
                let is_rust = matches!(language, Some("rust" | "rs"));
                if is_rust {
                    let order = blocks.len() + 1;
                    blocks.push(Block {
                        order,
                        line: index + 2,
                        text: String::new(),
                    });
                }
                open = Some((mark, width, is_rust));
            }
            (Some((opened, at_least, _)), Some(mark))
                if mark == opened
                    && width >= at_least
                    && trimmed.trim_end().chars().all(|next| next == mark) =>
            {
                open = None;
            }
            (Some((_, _, true)), _) => {
                if let Some(block) = blocks.last_mut() {
                    block.text.push_str(line);
                    block.text.push('\n');
                }
            }
            _ => {}
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "# T\n\n```rust\nlet a = 1;\n```\ntext\n```toml\n[a]\n```\n````rust,no_run\n```\nlet b;\n````\n~~~ rust\nlast\n";

    #[test]
    fn only_rust_blocks_are_taken_with_their_place() {
        let blocks = rust_blocks(DOCUMENT);
        let found: Vec<_> = blocks
            .iter()
            .map(|block| (block.order, block.line, block.text.as_str(), block.lines()))
            .collect();
        assert_eq!(
            found,
            [
                (1, 4, "let a = 1;\n", 1),
                (2, 11, "```\nlet b;\n", 2),
                (3, 15, "last\n", 1)
            ]
        );
    }

    #[test]
    fn an_id_is_stable_and_changes_with_the_text() {
        let block = |text: &str| Block {
            order: 1,
            line: 1,
            text: text.to_owned(),
        };
        // The published vectors of FNV-1a.
        assert_eq!(block("").id(), "cbf29ce484222325");
        assert_eq!(block("foobar").id(), "85944171f73967e8");
        assert_eq!(block("foobar\n\n").id(), block("foobar").id());
        assert_ne!(block("foobaz").id(), block("foobar").id());
    }
}
