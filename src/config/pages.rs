//! `[pages]`: which pages the gateway serves.

use std::path::PathBuf;

use super::Overrides;
use super::origins::Origin;
use super::section::Section;
use crate::limits;

/// Pages that the gateway serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PagesConfig {
    /// The start page at `/`. Without it that address is the folder's.
    pub start: bool,
    /// The pages of the clients and of the documentation, under `/clients/` and `/docs/`.
    pub clients: bool,
    /// A folder of the user's own files, served on addresses that the gateway does not use.
    pub dir: Option<PathBuf>,
    /// Whose pages may show the gateway's in a frame, besides its own.
    pub framed_by: Vec<Origin>,
    /// The path of prototype.js, for the page of the long-poll era.
    pub prototype_js: PathBuf,
}

/// Where Debian installs it.
const DEFAULT_PROTOTYPE_JS: &str = "/usr/share/javascript/prototype/prototype.js";

/// Reads the section `[pages]`.
pub(super) fn pages(section: &mut Section, flags: &Overrides) -> PagesConfig {
    PagesConfig {
        start: section.value("start", true),
        clients: section.value("clients", true),
        dir: dir(section, flags),
        framed_by: framed_by(section),
        prototype_js: prototype_js(section),
    }
}

fn dir(section: &mut Section, flags: &Overrides) -> Option<PathBuf> {
    let configured = section.file_path("dir");
    if let Some(flag) = &flags.pages_dir {
        section.replaced("dir", flags.name_of("--pages-dir"), flag);
    }
    let dir = flags.pages_dir.clone().or(configured);

    // Found now rather than by the first visitor.
    if let Some(missing) = dir.as_ref().filter(|dir| !dir.is_dir()) {
        section.error("dir", format!("{} is not a folder", missing.display()));
    }
    dir
}

fn framed_by(section: &mut Section) -> Vec<Origin> {
    let texts = section.list("framed_by", Vec::new());
    let most = limits::MAX_FRAMING_ORIGINS;
    let rule = format!("has {} origins; at most {most} are allowed", texts.len());
    section.require("framed_by", texts.len() <= most, rule);
    let origins = texts.iter().filter_map(|text| {
        // It becomes a part of a header, where a semicolon would begin another rule.
        let is_plain = text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b":/.-[]".contains(&b));
        let origin = Origin::parse(text).filter(|_| is_plain);
        if origin.is_none() {
            let wrong = format!("{text:?} is not an origin such as https://portal.example.org");
            section.error("framed_by", wrong);
        }
        origin
    });
    origins.collect()
}

/// The default may be missing, and the page says so then. What somebody names has to be there.
fn prototype_js(section: &mut Section) -> PathBuf {
    let is_named = section.has("prototype_js");
    let path = section.path_or("prototype_js", Some(DEFAULT_PROTOTYPE_JS));
    let path = path.unwrap_or_default();
    if is_named && !path.is_file() {
        section.error("prototype_js", no_prototype_js(&path.display().to_string()));
    }
    path
}

fn no_prototype_js(path: &str) -> String {
    format!(
        "there is no file {path}; install Debian's libjs-prototype, whose file is the default, or \
         leave the setting out: only the page /clients/longpoll/prototype.html needs it"
    )
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Overrides};

    #[test]
    fn pages_are_all_there_unless_they_are_switched_off() {
        let read = |text: &str| Config::parse(text, Overrides::default());
        let pages = read("").expect("defaults").pages;
        assert!(pages.start && pages.clients && pages.framed_by.is_empty());
        let pages = read("[pages]\nstart = false\nclients = false").expect("off");
        assert!(!pages.pages.start && !pages.pages.clients);

        let wrong = "[pages]\nprototype_js = \"/nowhere.js\"\nframed_by = \"portal\"";
        let errors = read(wrong).expect_err("two errors").to_string();
        assert!(
            errors.contains("install Debian's libjs-prototype"),
            "{errors}"
        );
        assert!(errors.contains("\"portal\" is not an origin"), "{errors}");
    }
}
