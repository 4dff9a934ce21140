//! Ids for events that have none.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::event::NewEvent;

/// Gives an id to an event that has none, so that it can be sent again.
pub(super) fn give_id(event: &mut NewEvent) {
    event.id.get_or_insert_with(|| new_id().into());
}

/// A UUID of version 7 (RFC 9562): it begins with the time, and 74 random bits follow.
fn new_id() -> String {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_ms = since_1970.unwrap_or_default().as_millis() & 0xffff_ffff_ffff;
    let high = fastrand::u16(..0x1000);
    let low = fastrand::u64(..) >> 2 | 1 << 63;

    format!(
        "{:08x}-{:04x}-7{high:03x}-{:04x}-{:012x}",
        now_ms >> 16,
        now_ms & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_uuid_of_version_7_and_no_other_one() {
        let (one, other) = (new_id(), new_id());
        assert_ne!(one, other);
        let parts: Vec<_> = one.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12], "{one}");
        assert!(one[14..].starts_with('7'), "{one}");
        assert!(one[19..].starts_with(['8', '9', 'a', 'b']), "{one}");
    }
}
