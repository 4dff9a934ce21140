//! Which engine keeps the log: `engine`, `data_dir` and `[jetstream]`.

use std::path::PathBuf;

use super::section::Section;
use super::{Overrides, jetstream};
use crate::engine::EngineKind;

const DEFAULT_DATA_DIR: &str = "./vidette-data";

/// Reads the settings of all engines, so that those of another one are not reported as unknown.
pub(super) fn engine(root: &mut Section, flags: &Overrides) -> EngineKind {
    let kind = kind(root, flags);
    let data_dir = data_dir(root, flags);
    let is_jetstream = kind == "jetstream";
    let wrong_flag = flags.jetstream.first_flag().filter(|_| !is_jetstream);
    let jetstream = jetstream::jetstream(root.section("jetstream"), flags, is_jetstream);
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

fn kind(root: &mut Section, flags: &Overrides) -> String {
    let configured: String = root.value("engine", "sqlite".to_owned());
    let Some(flag) = &flags.engine else {
        return configured;
    };
    root.replaced("engine", flags.name_of("--engine"), flag);
    flag.clone()
}

fn data_dir(root: &mut Section, flags: &Overrides) -> PathBuf {
    let configured = root.path_or("data_dir", Some(DEFAULT_DATA_DIR));
    let Some(flag) = &flags.data_dir else {
        return configured.unwrap_or_default();
    };
    root.replaced("data_dir", flags.name_of("--data-dir"), flag);
    flag.clone()
}
