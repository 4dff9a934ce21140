//! `[[source.KIND]]`: where events come from beside the publish endpoints.
//!
//! Invariant: a name stands for one source, in metrics, in logs and in dead letters.

use super::faults::{ConfigFaults, Section};

/// All sources, by kind.
#[derive(Debug, Clone, Default)]
pub struct SourcesConfig {}

impl SourcesConfig {
    /// Is there any?
    pub fn is_empty(&self) -> bool {
        true
    }
}

pub(super) fn sources(_section: &mut Section, _faults: &mut ConfigFaults) -> SourcesConfig {
    SourcesConfig {}
}
