//! The reader of docs/clients.md, which somebody writes where there is no library.

use crate::{play_by, root};

#[test]
fn it_passes_the_scenarios_of_resuming_gaps_and_order() {
    for group in ["A/", "B/", "C/"] {
        let options = ["--via", "poll", "--only", group];
        play_by(&options, &["python3", "clients/own/kit_adapter.py"]);
    }
}

#[test]
fn it_stands_in_the_documentation_as_it_is_played() {
    let read = |path| std::fs::read_to_string(root().join(path)).expect("it can be read");
    let reader = read("clients/own/reader.py");

    assert!(read("docs/clients.md").contains(&reader));
    let lines = reader.lines().filter(|line| !line.is_empty());
    assert!(lines.count() <= 60);
}
