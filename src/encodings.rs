//! The forms of an event, and of a batch of events, as they go over the wires.
//!
//! A transport encodes; the nouns and the bus only carry the result, and look at none of it.
//! Invariants:
//! - a form is made at most once, and its bytes are shared by everyone who reads it;
//! - the forms of a value cost no allocation until one of them is asked for.

use std::sync::{Mutex, OnceLock, PoisonError};

use bytes::Bytes;

/// A form in which events leave the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WireForm {
    /// An event's JSON object; a batch's objects with commas between them.
    Json,
    /// A Server-Sent Events block with the JSON object as its data; a batch's blocks in a row.
    Sse,
    /// The same with the publisher's data alone (`format=raw`).
    SseRaw,
    /// The protobuf message `vidette.v1.Event`; a batch's is `vidette.v1.SubscribeResponse` in its
    /// gRPC frame.
    Grpc,
    /// The flat JSON object that the legacy page reads; of events alone.
    Flat,
    /// A CloudEvent in JSON; a batch's with commas between them.
    CloudEvent,
    /// A Server-Sent Events block with the CloudEvent as its data; a batch's blocks in a row.
    SseCloudEvent,
}

/// How many forms many readers ask for: [`WireForm::Flat`] is the last of them.
const USUAL_FORMS: usize = WireForm::Flat as usize + 1;
/// How many others there are.
const RARE_FORMS: usize = WireForm::SseCloudEvent as usize + 1 - USUAL_FORMS;

/// How an answer is compressed as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    Gzip,
    Zstd,
}

/// What has been made of an event or of a batch so far, with a place for each form.
#[derive(Debug, Default)]
pub(crate) struct Encodings {
    usual: [OnceLock<Bytes>; USUAL_FORMS],
    /// Apart, because every event in memory has the places of the others.
    rare: OnceLock<Box<[OnceLock<Bytes>; RARE_FORMS]>>,
}

impl Encodings {
    /// The form's bytes, which `encode` makes when nobody has asked for them before.
    pub(crate) fn get_or_encode(&self, form: WireForm, encode: impl FnOnce() -> Vec<u8>) -> &Bytes {
        let number = form as usize;
        let place = match self.usual.get(number) {
            Some(usual) => usual,
            None => &self.rare.get_or_init(Box::default)[number - USUAL_FORMS],
        };
        place.get_or_init(|| encode().into())
    }
}

/// The bytes that were last made of a value, and what they were made for.
#[derive(Debug)]
pub(crate) struct LastMade<K>(Mutex<Option<(K, Bytes)>>);

impl<K> Default for LastMade<K> {
    fn default() -> Self {
        LastMade(Mutex::new(None))
    }
}

impl<K: PartialEq> LastMade<K> {
    /// The bytes for this: the last ones, where they were made for the same.
    pub(crate) fn get_or_make(&self, key: K, make: impl FnOnce(&K) -> Vec<u8>) -> Bytes {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, bytes)) = last.as_ref().filter(|(made_for, _)| *made_for == key) {
            return bytes.clone();
        }
        // Within the lock, so that all who come for the same at once make it once.
        let bytes = Bytes::from(make(&key));
        *last = Some((key, bytes.clone()));
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_last_made_is_for_all_who_ask_for_the_same() {
        let last = LastMade::default();
        let made = last.get_or_make(1, |_| vec![1]);
        let again = last.get_or_make(1, |_| panic!("made twice"));
        assert_eq!((&made[..], made.as_ptr()), (&[1][..], again.as_ptr()));
        assert_eq!(last.get_or_make(2, |_| vec![2]), [2][..]);
    }

    #[test]
    fn each_form_is_encoded_once_and_apart_from_the_others() {
        let encodings = Encodings::default();
        let forms = [
            WireForm::Json,
            WireForm::Sse,
            WireForm::SseRaw,
            WireForm::Grpc,
            WireForm::Flat,
            WireForm::CloudEvent,
            WireForm::SseCloudEvent,
        ];
        assert_eq!(forms.len(), USUAL_FORMS + RARE_FORMS);
        for (number, form) in (0..).zip(forms) {
            let made = encodings.get_or_encode(form, || vec![number]).clone();
            let again = encodings.get_or_encode(form, || panic!("{form:?} was encoded twice"));
            assert_eq!((&made[..], made.as_ptr()), (&[number][..], again.as_ptr()));
        }
    }
}
