//! The tables library × group and library × scenario, as Markdown.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::runner::Outcome;

/// What each group of scenarios is about.
const GROUPS: [(&str, &str); 7] = [
    ("A", "resuming"),
    ("B", "gaps"),
    ("C", "order"),
    ("D", "waiting"),
    ("E", "parsing"),
    ("F", "transports"),
    ("G", "publishing"),
];

/// Between these lines of a document the tables stand.
const BEGIN: &str = "<!-- vidette-kit table -->\n";
const END: &str = "<!-- end of vidette-kit table -->\n";

/// The document with these tables in place of those that it has; none where it has no place for
/// them.
pub(crate) fn into_document(document: &str, tables: &str) -> Option<String> {
    let (before, rest) = document.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{tables}{END}{after}"))
}

/// A row for each library with its groups, then a row for each scenario.
pub(crate) fn tables(runs: &[Vec<Outcome>]) -> String {
    format!("{}\n{}", by_group(runs), by_scenario(runs))
}

/// How many scenarios of each group a library passes.
fn by_group(runs: &[Vec<Outcome>]) -> String {
    let names: Vec<_> = GROUPS
        .iter()
        .map(|(group, about)| format!("{group} {about}"))
        .collect();
    let mut table = format!(
        "| library | {} |\n|---|{}\n",
        names.join(" | "),
        "---|".repeat(GROUPS.len())
    );

    for run in runs {
        let library = run.first().map_or("unknown", |outcome| &outcome.library);
        let _ = write!(table, "| {library} |");
        for (group, _) in GROUPS {
            let of_group = run
                .iter()
                .filter(|outcome| outcome.scenario.starts_with(group));
            let (good, all) = of_group.fold((0, 0), |(good, all), outcome| {
                (good + usize::from(mark(outcome) == "ok"), all + 1)
            });
            let _ = match all {
                0 => write!(table, " – |"),
                _ => write!(table, " {good} of {all} |"),
            };
        }
        table.push('\n');
    }
    table
}

/// One row a scenario, one column a library.
fn by_scenario(runs: &[Vec<Outcome>]) -> String {
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
    use super::{BEGIN, END, by_group, by_scenario, into_document};
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
        let table = by_scenario(&[go.clone(), php.clone()]);

        assert!(table.starts_with("| scenario | | go | php |\n"), "{table}");
        assert!(table.contains("| `A/one` | a title | ok | ok |"), "{table}");
        assert!(
            table.contains("| `A/two` | a title | **fails** |   |"),
            "{table}"
        );

        let groups = by_group(&[go, php]);
        assert!(groups.contains("| go | 1 of 2 | – |"), "{groups}");
        assert!(groups.contains("| php | 1 of 1 |"), "{groups}");
    }

    #[test]
    fn the_tables_of_a_document_are_replaced() {
        let document = format!("before\n{BEGIN}old\n{END}after\n");
        let expected = format!("before\n{BEGIN}new\n{END}after\n");

        assert_eq!(into_document(&document, "new\n"), Some(expected));
        assert_eq!(into_document("no place", "new\n"), None);
    }
}
