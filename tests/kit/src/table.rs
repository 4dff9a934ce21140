//! The table library × scenario, as Markdown.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::runner::Outcome;

/// One row a scenario, one column a library.
pub(crate) fn markdown(runs: &[Vec<Outcome>]) -> String {
    let mut libraries: Vec<&str> = Vec::new();
    let mut rows: BTreeMap<(&str, &str), BTreeMap<&str, &str>> = BTreeMap::new();

    for outcome in runs.iter().flatten() {
        if !libraries.contains(&outcome.library.as_str()) {
            libraries.push(&outcome.library);
        }
        let row = rows.entry((&outcome.scenario, &outcome.title)).or_default();
        row.insert(&outcome.library, mark(outcome));
    }

    let mut table = format!("| scenario | | {} |\n", libraries.join(" | "));
    let _ = writeln!(table, "|---|---|{}", "---|".repeat(libraries.len()));
    for ((scenario, title), marks) in &rows {
        let _ = write!(table, "| `{scenario}` | {title} |");
        for library in &libraries {
            let _ = write!(table, " {} |", marks.get(library).unwrap_or(&" "));
        }
        table.push('\n');
    }
    table
}

fn mark(outcome: &Outcome) -> &'static str {
    if outcome.unsupported {
        "–"
    } else if outcome.wrong.is_empty() {
        "ok"
    } else {
        "**fails**"
    }
}

#[cfg(test)]
mod tests {
    use super::markdown;
    use crate::runner::Outcome;

    fn outcome(library: &str, scenario: &str, wrong: &[&str]) -> Outcome {
        Outcome {
            scenario: scenario.into(),
            title: "a title".into(),
            unsupported: false,
            wrong: wrong.iter().map(|wrong| (*wrong).to_owned()).collect(),
            library: library.into(),
            milliseconds: 0,
        }
    }

    #[test]
    fn a_library_that_fails_is_marked_in_its_own_column() {
        let go = vec![
            outcome("go", "A/one", &[]),
            outcome("go", "A/two", &["lost"]),
        ];
        let php = vec![outcome("php", "A/one", &[])];
        let table = markdown(&[go, php]);

        assert!(table.starts_with("| scenario | | go | php |\n"), "{table}");
        assert!(table.contains("| `A/one` | a title | ok | ok |"), "{table}");
        assert!(
            table.contains("| `A/two` | a title | **fails** |   |"),
            "{table}"
        );
    }
}
