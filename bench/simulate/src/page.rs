//! docs/scale.md: its parts between `<!-- NAME -->` and `<!-- /NAME -->` are written by the
//! program.

use std::path::PathBuf;

pub(crate) fn path() -> PathBuf {
    crate::docs().join("scale.md")
}

pub(crate) fn read() -> Result<String, String> {
    std::fs::read_to_string(path()).map_err(|error| format!("{}: {error}", path().display()))
}

/// The page with this text as its part of this name.
pub(crate) fn with_block(page: &str, name: &str, text: &str) -> Result<String, String> {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let missing = || format!("docs/scale.md has no part {name}: {begin}{end}");
    let (before, rest) = page.split_once(&begin).ok_or_else(missing)?;
    let (_, after) = rest.split_once(&end).ok_or_else(missing)?;
    Ok(format!("{before}{begin}{text}{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{parameters, tables};

    #[test]
    fn the_page_has_the_tables_of_todays_figures() {
        let (figures, parameters) = parameters::read().expect("figures");
        let page = read().expect("the page");
        for (name, text) in tables::of_formulas(&figures, &parameters) {
            let with_it = with_block(&page, name, &text).expect("a part of the page");
            assert!(
                with_it == page,
                "{name} is not of today's figures: make simulate"
            );
        }
    }

    #[test]
    fn a_part_that_the_page_lacks_is_an_error_and_another_is_replaced_alone() {
        let page = "a\n<!-- x -->\nold\n<!-- /x -->\nb\n";
        let new = with_block(page, "x", "new\n").expect("it is there");
        assert_eq!(new, "a\n<!-- x -->\nnew\n<!-- /x -->\nb\n");
        assert!(with_block(page, "y", "").is_err());
    }
}
