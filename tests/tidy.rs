//! Style that clippy cannot see: which module may know which, how long files and functions are, and
//! whether citations, guides and links lead somewhere (`tidy/pages.rs`), and whether the book says
//! the same in both languages (`tidy/book.rs`).

#[path = "tidy/book.rs"]
mod book;
#[path = "tidy/pages.rs"]
mod pages;

use std::fs;
use std::path::{Path, PathBuf};

use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};

/// Modules in the order data flows: each may use itself and what stands before it in its row's
/// list.
const MAY_USE: &[(&str, &[&str])] = &[
    ("limits", &[]),
    ("cursor", &["limits"]),
    ("encodings", &[]),
    ("error", &["cursor"]),
    ("metrics", &["cursor"]),
    ("memory", &["error", "limits", "metrics"]),
    ("topic", &["cursor", "error", "limits"]),
    (
        "event",
        &["cursor", "encodings", "error", "limits", "topic"],
    ),
    ("lineage", &["cursor", "limits"]),
    ("quota", &["limits", "metrics"]),
    (
        "caller",
        &["cursor", "error", "limits", "metrics", "quota", "topic"],
    ),
    ("proto", &[]),
    (
        "client",
        &["cursor", "error", "event", "limits", "proto", "topic"],
    ),
    (
        "engine",
        &[
            "cursor", "error", "event", "limits", "lineage", "metrics", "topic",
        ],
    ),
    (
        "bus",
        &[
            "caller",
            "cursor",
            "encodings",
            "engine",
            "error",
            "event",
            "limits",
            "lineage",
            "memory",
            "metrics",
            "quota",
            "topic",
        ],
    ),
    ("tls", &["limits"]),
    (
        "config",
        &[
            "bus", "caller", "engine", "limits", "memory", "quota", "tls", "topic",
        ],
    ),
    (
        "traces",
        &["bus", "config", "cursor", "event", "limits", "metrics"],
    ),
    (
        "auth",
        &["caller", "config", "cursor", "error", "limits", "topic"],
    ),
    (
        "source",
        &[
            "bus", "caller", "config", "cursor", "error", "event", "limits", "metrics", "topic",
        ],
    ),
    (
        "transport",
        &[
            "auth",
            "bus",
            "caller",
            "config",
            "cursor",
            "encodings",
            "error",
            "event",
            "limits",
            "memory",
            "metrics",
            "proto",
            "quota",
            "source",
            "topic",
            "traces",
        ],
    ),
    (
        "server",
        &[
            "auth",
            "bus",
            "caller",
            "config",
            "engine",
            "error",
            "limits",
            "memory",
            "metrics",
            "source",
            "tls",
            "traces",
            "transport",
        ],
    ),
    ("telemetry", &["limits"]),
    ("copy", &["cursor", "engine", "lineage"]),
    (
        "cli",
        &[
            "bus",
            "caller",
            "client",
            "config",
            "copy",
            "cursor",
            "engine",
            "event",
            "limits",
            "server",
            "source",
            "telemetry",
            "topic",
        ],
    ),
    (
        "fuzzing",
        &[
            "bus",
            "caller",
            "cursor",
            "engine",
            "error",
            "event",
            "limits",
            "server",
            "topic",
            "transport",
        ],
    ),
    ("lib", &["transport"]),
    ("main", &[]),
];

/// Words that a module may not have in its code, with the reason.
const BANNED: &[(&str, &str, &str)] = &[
    ("client", "axum", "a client serves nothing"),
    ("client", "rusqlite", "a client keeps no log"),
    ("client", "clap", "a client has no command line"),
    ("transport", "rusqlite", "a transport knows no engine"),
    ("transport", "SqliteEngine", "a transport knows no engine"),
];

/// Modules that know no transport, and the names of what transports are made of.
const BELOW_TRANSPORTS: &[&str] = &[
    "cursor",
    "encodings",
    "error",
    "event",
    "topic",
    "engine",
    "bus",
    "source",
];
const OF_TRANSPORTS: &[&str] = &["axum", "http::", "hyper", "tonic"];

/// Crates of their own, which know nothing of the gateway.
const LOAD_GENERATOR: &str = "bench";

const MAX_FILE_LINES: usize = 400;
const MAX_FUNCTION_LINES: usize = 60;

struct SourceFile {
    path: PathBuf,
    module: String,
    text: String,
}

/// The files of the gateway, of its load generator, and of the programs beside those.
fn source_files() -> Vec<SourceFile> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = files_below(&root.join("src"), None);
    assert!(files.len() > 20, "the sources have not been found");
    let beside = [
        "bench/src",
        "bench/curves/src",
        "bench/simulate/src",
        "tests/kit/src",
    ];
    for folder in beside {
        files.extend(files_below(&root.join(folder), Some(LOAD_GENERATOR)));
    }
    files
}

/// Files of a crate; those of another crate than the gateway's count as one module.
fn files_below(root: &Path, as_module: Option<&str>) -> Vec<SourceFile> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let entry = entry.expect("an entry").path();
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|e| e == "rs") {
                let relative = entry.strip_prefix(root).expect("below its root");
                let first = relative.components().next().expect("a name").as_os_str();
                let module = first.to_string_lossy().trim_end_matches(".rs").to_owned();
                files.push(SourceFile {
                    module: as_module.map_or(module, str::to_owned),
                    text: fs::read_to_string(&entry).expect("text"),
                    path: relative.to_owned(),
                });
            }
        }
    }
    files
}

/// The code without its in-file tests and comments.
fn code_lines(text: &str) -> impl Iterator<Item = &str> {
    text.split("#[cfg(test)]")
        .next()
        .unwrap_or_default()
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
}

#[test]
fn modules_use_only_what_stands_before_them() {
    let mut wrong = Vec::new();
    let gateway = source_files()
        .into_iter()
        .filter(|f| f.module != LOAD_GENERATOR && !f.path.ends_with("tests.rs"));
    for SourceFile { path, module, text } in gateway {
        let allowed = MAY_USE.iter().find(|(name, _)| *name == module);
        let (_, allowed) =
            allowed.unwrap_or_else(|| panic!("the module {module} has no row in MAY_USE"));
        for line in code_lines(&text) {
            for used in line.split("crate::").skip(1) {
                let name: String = used
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect();
                let is_visibility = line.contains("pub(in crate::");
                if !name.is_empty()
                    && name != module
                    && !allowed.contains(&name.as_str())
                    && !is_visibility
                {
                    wrong.push(format!("{}: {module} uses {name}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_a_module_uses_stands_before_it() {
    let known = MAY_USE.iter().map(|(name, _)| *name);
    for (index, (module, allowed)) in MAY_USE.iter().enumerate() {
        for name in *allowed {
            let stands_before = known.clone().take(index).any(|known| known == *name);
            assert!(
                stands_before,
                "{module} may use {name}, which is no earlier"
            );
        }
    }
}

#[test]
fn engines_and_transports_do_not_know_each_other() {
    for SourceFile { path, module, text } in source_files() {
        if BELOW_TRANSPORTS.contains(&&*module) {
            for word in OF_TRANSPORTS {
                let found = code_lines(&text).any(|line| line.contains(word));
                assert!(!found, "{} has {word}, a transport's", path.display());
            }
        }
        for (_, word, reason) in BANNED.iter().filter(|(name, ..)| *name == module) {
            let found = code_lines(&text).any(|line| line.contains(word));
            assert!(!found, "{} has {word}, but {reason}", path.display());
        }
    }
}

#[test]
fn every_module_opens_with_its_purpose() {
    for SourceFile { path, text, .. } in source_files() {
        assert!(
            text.starts_with("//! "),
            "{} does not say what it is for",
            path.display()
        );
    }
}

#[test]
fn files_stay_short() {
    for SourceFile { path, text, .. } in source_files() {
        let lines = text.lines().count();
        assert!(
            lines <= MAX_FILE_LINES,
            "{} has {lines} lines, more than {MAX_FILE_LINES}",
            path.display()
        );
    }
}

#[derive(Default)]
struct FunctionLengths(Vec<(String, usize)>);

impl FunctionLengths {
    fn note(&mut self, name: &syn::Ident, block: &syn::Block) {
        let span = block.span();
        self.0
            .push((name.to_string(), span.end().line - span.start().line + 1));
    }
}

impl<'ast> Visit<'ast> for FunctionLengths {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.note(&item.sig.ident, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.note(&item.sig.ident, &item.block);
        visit::visit_impl_item_fn(self, item);
    }
}

#[test]
fn functions_stay_short() {
    let mut lengths = FunctionLengths::default();
    for SourceFile { path, text, .. } in source_files() {
        let file = syn::parse_file(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        lengths.visit_file(&file);
    }
    let long: Vec<_> = lengths
        .0
        .iter()
        .filter(|(_, lines)| *lines > MAX_FUNCTION_LINES)
        .collect();
    assert!(
        long.is_empty(),
        "longer than {MAX_FUNCTION_LINES} lines: {long:?}"
    );
    let mut lines: Vec<usize> = lengths.0.iter().map(|(_, lines)| *lines).collect();
    lines.sort_unstable();
    let median = lines[lines.len() / 2];
    println!(
        "{} functions, median {median} lines, longest {}",
        lines.len(),
        lines[lines.len() - 1]
    );
    assert!(median <= 10, "the median function has {median} lines");
}
