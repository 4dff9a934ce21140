//! The configurations of docs/auth.md, as they stand there.

use std::path::Path;

use jsonwebtoken::Algorithm;
use vidette::config::{Config, Overrides};

use crate::common::token::Signer;
use crate::ground::{Folder, SECRET};

#[test]
fn every_configuration_of_the_page_is_accepted() {
    let folder = Folder::new();
    folder.file("jwt.key", SECRET);
    folder.file("issuer.pem", Signer::new(Algorithm::ES256).public_pem);
    folder.file("revoked.txt", "# a jti\ntoken-7\n");

    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/auth.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let blocks = page.split("```toml\n").skip(1);
    let blocks: Vec<_> = blocks.filter_map(|rest| rest.split("```").next()).collect();
    assert!(blocks.len() >= 7, "only {} configurations", blocks.len());
    for block in blocks {
        let file = folder.file("vidette.toml", block);
        let config = Config::load(Some(file.as_ref()), Overrides::default());
        let config = config.unwrap_or_else(|errors| panic!("{errors}\n{block}"));
        assert!(config.auth.is_some(), "{block}");
    }
}
