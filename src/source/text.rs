//! Texts of others, cut to a bound.

use crate::limits;

/// A text of at most [`limits::SOURCE_TEXT_BYTES`].
pub(super) fn clip(text: &str) -> String {
    beginning(text, limits::SOURCE_TEXT_BYTES).to_owned()
}

/// The beginning of a text, of at most so many bytes.
pub(super) fn beginning(text: &str, max_bytes: usize) -> &str {
    let mut end = text.len().min(max_bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
