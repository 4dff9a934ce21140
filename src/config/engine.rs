//! Which engine keeps the log: `engine`, `data_dir` and `[jetstream]`.

use std::path::PathBuf;

use super::jetstream::{self, JetStreamOverrides};
use super::section::Section;
use crate::engine::EngineKind;

const DEFAULT_DATA_DIR: &str = "./vidette-data";

/// What flags say of the engine.
pub(super) struct EngineOverrides {
    pub(super) kind: Option<String>,
    pub(super) data_dir: Option<PathBuf>,
    pub(super) jetstream: JetStreamOverrides,
}

/// Reads the settings of all engines, so that those of another one are not reported as unknown.
pub(super) fn engine(root: &mut Section, flags: EngineOverrides) -> EngineKind {
    let configured_kind: String = root.value("engine", "sqlite".to_owned());
    let configured_dir = root.file_path("data_dir");
    let kind = flags.kind.unwrap_or(configured_kind);
    let is_jetstream = kind == "jetstream";
    let wrong_flag = flags.jetstream.first_flag().filter(|_| !is_jetstream);

    let jetstream = jetstream::jetstream(root.section("jetstream"), flags.jetstream, is_jetstream);
    let data_dir = flags.data_dir.or(configured_dir);
    let data_dir = data_dir.unwrap_or_else(|| DEFAULT_DATA_DIR.into());
    if let Some(flag) = wrong_flag {
        // Somebody who names a stream would not look for events in a folder of this machine.
        root.report(format!("{flag} is for --engine jetstream, not {kind:?}"));
    }
    match kind.as_str() {
        "jetstream" => EngineKind::JetStream(Box::new(jetstream)),
        "memory" => EngineKind::Memory,
        "sqlite" => EngineKind::Sqlite { data_dir },
        // Any engine will do to go on with, because the error keeps the gateway from starting.
        other => {
            let rule = format!("{other:?} is neither sqlite nor memory nor jetstream");
            root.error("engine", rule);
            EngineKind::Sqlite { data_dir }
        }
    }
}
