//! The subjects that a stream has messages of, as its leader knows them.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use super::{Api, ApiError};
use crate::cursor::Vid;

/// A part of the sorted list of subjects.
#[derive(Debug, Deserialize)]
pub(in crate::engine::jetstream) struct SubjectPage {
    state: StateOfSubjects,
    /// How many there are in all.
    #[serde(default)]
    pub(in crate::engine::jetstream) total: usize,
}

#[derive(Debug, Deserialize)]
struct StateOfSubjects {
    last_seq: Vid,
    #[serde(default)]
    subjects: Names,
}

impl SubjectPage {
    /// As of this vid, the last one of the stream.
    pub(in crate::engine::jetstream) fn as_of(&self) -> Vid {
        self.state.last_seq
    }

    /// In byte order.
    pub(in crate::engine::jetstream) fn into_names(self) -> Vec<String> {
        let mut names = self.state.subjects.0;
        names.sort_unstable();
        names
    }
}

/// The keys of a map from subjects to numbers of messages.
#[derive(Debug, Default)]
struct Names(Vec<String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(NamesVisitor)
    }
}

struct NamesVisitor;

impl<'de> Visitor<'de> for NamesVisitor {
    type Value = Names;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map with subjects as its keys")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Names, A::Error> {
        let mut names = Vec::new();
        while let Some((name, IgnoredAny)) = map.next_entry::<String, _>()? {
            names.push(name);
        }
        Ok(Names(names))
    }

    fn visit_unit<E>(self) -> Result<Names, E> {
        Ok(Names::default())
    }
}

impl Api {
    /// Subjects that match, from this place in their sorted list on: as many as the server lists
    /// at once.
    ///
    /// # Errors
    /// The leader has not answered.
    pub(in crate::engine::jetstream) async fn subjects(
        &self,
        matching: &str,
        offset: usize,
        wait: Duration,
    ) -> Result<SubjectPage, ApiError> {
        let body = serde_json::json!({ "subjects_filter": matching, "offset": offset });
        let subject = format!("STREAM.INFO.{}", self.stream);
        self.call(&subject, &body, wait).await
    }
}
