//! The blocks of an event stream (WHATWG HTML, "Interpreting an event stream").
//!
//! Invariants:
//! - bytes may be split anywhere, also within a character and between CR and LF;
//! - a block may have an `id:` and nothing else, which an `EventSource` would not show;
//! - a block that grows beyond its bound is an error, and what is unfinished at the end is dropped.

use std::collections::VecDeque;
use std::mem;

/// One block, of which at least one field was set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SseBlock {
    pub(super) id: Option<String>,
    pub(super) event: Option<String>,
    /// Lines with LF between them.
    pub(super) data: Option<String>,
    /// In milliseconds.
    pub(super) retry_ms: Option<u64>,
}

/// A block has more bytes than it may.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BlockTooLong;

/// See the module.
#[derive(Debug)]
pub(super) struct SseParser {
    max_block_bytes: usize,
    /// The line that has begun.
    line: Vec<u8>,
    /// Bytes of the block that has begun, without that line.
    block_bytes: usize,
    block: SseBlock,
    /// An LF that comes now belongs to the CR before it.
    was_cr: bool,
    /// A byte order mark may stand before the first line.
    is_first_line: bool,
    blocks: VecDeque<SseBlock>,
}

impl SseParser {
    pub(super) fn new(max_block_bytes: usize) -> Self {
        SseParser {
            max_block_bytes,
            line: Vec::new(),
            block_bytes: 0,
            block: SseBlock::default(),
            was_cr: false,
            is_first_line: true,
            blocks: VecDeque::new(),
        }
    }

    /// The next complete block of what has been taken.
    pub(super) fn next_block(&mut self) -> Option<SseBlock> {
        self.blocks.pop_front()
    }

    /// Takes bytes as they came.
    pub(super) fn take(&mut self, mut bytes: &[u8]) -> Result<(), BlockTooLong> {
        while !bytes.is_empty() {
            // CR LF is one line end, also when it is split between two reads.
            if mem::take(&mut self.was_cr) && bytes[0] == b'\n' {
                bytes = &bytes[1..];
                continue;
            }

            // The line may go on in the next read, so it is kept until its end.
            let end = memchr::memchr2(b'\n', b'\r', bytes);
            let (line, rest) = bytes.split_at(end.unwrap_or(bytes.len()));

            // Checked before it is kept, so that a line without an end stays within the bound.
            if self.block_bytes + self.line.len() + line.len() > self.max_block_bytes {
                return Err(BlockTooLong);
            }
            self.line.extend_from_slice(line);

            bytes = rest;
            // Without a line end all bytes are taken.
            if let [line_end, after @ ..] = rest {
                self.was_cr = *line_end == b'\r';
                self.end_line();
                bytes = after;
            }
        }
        Ok(())
    }

    fn end_line(&mut self) {
        // Decoded only now, because a character may have been split.
        let line = mem::take(&mut self.line);
        let mut text = &*String::from_utf8_lossy(&line);
        if mem::take(&mut self.is_first_line) {
            text = text.strip_prefix('\u{feff}').unwrap_or(text);
        }
        // An empty line ends the block.
        if text.is_empty() {
            return self.end_block();
        }

        // A line that begins with a colon is a comment.
        let (name, value) = text.split_once(':').unwrap_or((text, ""));
        if !name.is_empty() {
            // Comments are not kept, so only fields count towards the bound.
            self.block_bytes += text.len();
            self.set(name, value.strip_prefix(' ').unwrap_or(value));
        }
    }

    fn set(&mut self, name: &str, value: &str) {
        match name {
            // An id with NUL is ignored, as the standard says.
            "id" if !value.contains('\0') => self.block.id = Some(value.to_owned()),
            "event" => self.block.event = Some(value.to_owned()),
            "data" => match &mut self.block.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.block.data = Some(value.to_owned()),
            },
            "retry" if value.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.block.retry_ms = value.parse().ok();
            }
            // Fields that the standard does not name are ignored.
            _ => {}
        }
    }

    fn end_block(&mut self) {
        self.block_bytes = 0;
        // Comments alone make no block.
        let block = mem::take(&mut self.block);
        if block != SseBlock::default() {
            self.blocks.push_back(block);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::Config;

    use super::*;

    fn blocks_of(chunks: &[&[u8]]) -> Vec<SseBlock> {
        let mut parser = SseParser::new(1000);
        for chunk in chunks {
            parser.take(chunk).expect("short blocks");
        }
        std::iter::from_fn(|| parser.next_block()).collect()
    }

    fn block(id: &str, event: &str, data: &str) -> SseBlock {
        let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        SseBlock {
            id: given(id),
            event: given(event),
            data: given(data),
            retry_ms: None,
        }
    }

    const STREAM: &str = "\u{feff}id: 1-a\ndata: one\r\ndata: 门\r\n\r\n: a comment\n\n\
                          event: t\rdata:{}\rid: 2-a\r\rid: 3-a\n\nunknown: x\nevent\ndata: last";

    fn of_stream() -> [SseBlock; 3] {
        [
            block("1-a", "", "one\n门"),
            block("2-a", "t", "{}"),
            block("3-a", "", ""),
        ]
    }

    #[test]
    fn every_kind_of_line_end_ends_a_line_and_what_is_unfinished_is_dropped() {
        assert_eq!(blocks_of(&[STREAM.as_bytes()]), of_stream());
    }

    proptest! {
        #![proptest_config(Config { failure_persistence: None, ..Config::default() })]

        #[test]
        fn a_stream_may_be_split_anywhere(cuts in prop::collection::vec(0..STREAM.len(), 0..9)) {
            let mut cuts = cuts;
            cuts.extend([0, STREAM.len()]);
            cuts.sort_unstable();
            let chunks: Vec<_> = cuts
                .windows(2)
                .map(|cut| &STREAM.as_bytes()[cut[0]..cut[1]])
                .collect();
            prop_assert_eq!(blocks_of(&chunks), of_stream());
        }
    }

    #[test]
    fn every_byte_may_come_alone() {
        let bytes: Vec<_> = STREAM.as_bytes().chunks(1).collect();
        assert_eq!(blocks_of(&bytes), of_stream());
    }

    #[test]
    fn an_id_with_a_nul_and_a_retry_that_is_no_number_are_passed_over() {
        let blocks = blocks_of(&[b"id: a\0b\nretry: soon\ndata: x\n\nretry: 30\n\n"]);
        assert_eq!(blocks[0], block("", "", "x"));
        assert_eq!(blocks[1].retry_ms, Some(30));
    }

    #[test]
    fn a_block_beyond_its_bound_is_an_error_and_a_flood_of_comments_is_not() {
        let mut parser = SseParser::new(100);
        for _ in 0..1000 {
            parser.take(b": 12345678\n").expect("a comment");
        }
        for _ in 0..9 {
            parser.take(b"data: 12345\n").expect("short");
        }
        assert_eq!(parser.take(b"data: 12345\n"), Err(BlockTooLong));
        assert_eq!(SseParser::new(100).take(&[b'x'; 101]), Err(BlockTooLong));
    }
}
