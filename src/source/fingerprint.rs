//! A short name for some bytes, the same in every run and every version.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// Bytes of the hash that are used: with 128 bits no two records get the same one by accident.
const USED_BYTES: usize = 16;

/// Hashes the parts, each with its length, so that moving bytes from one part to the next changes
/// the result.
pub(crate) fn fingerprint(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        add_part(&mut hash, part);
    }
    hex(&hash.finalize()[..USED_BYTES])
}

fn add_part(hash: &mut Sha256, part: &[u8]) {
    // Without the lengths, "ab" + "c" would be the same as "a" + "bc".
    hash.update((part.len() as u64).to_be_bytes());
    hash.update(part);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing to a string does not fail
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_never_changes_and_tells_parts_apart() {
        assert_eq!(
            fingerprint(&[b"getmsg", b"H:a:1"]),
            "2df232bddbf5eb73b74b53e1ef0dd323"
        );
        assert_ne!(fingerprint(&[b"ab", b"c"]), fingerprint(&[b"a", b"bc"]));
    }
}
