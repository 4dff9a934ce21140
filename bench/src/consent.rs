//! Before a run publishes to a server that others may use.
//!
//! Invariant: nothing is written into a log that has events already unless somebody has agreed.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use super::address::topic_name;
use super::testbed::Testbed;

impl Testbed {
    /// Says what a run leaves behind on a running gateway, and asks whether it may.
    pub(crate) fn ask_to_publish(&self, topics: usize) -> Result<(), String> {
        let Some(url) = self.running_url() else {
            return Ok(());
        };
        let what = format!(
            "{url} is a running server: this publishes to its {}, where the events stay as long \
             as it keeps any",
            self.topics(topics)
        );

        // Another server is there to be compared with, and an empty log is nobody's yet.
        if !self.is_gateway() || self.has_agreed() || self.is_log_empty() {
            eprintln!("{what}");
            return Ok(());
        }
        if io::stdin().is_terminal() && agrees(&what) {
            return Ok(());
        }
        Err(format!(
            "{what}. Its log has events already: give --yes to publish there all the same, or \
             leave --url out to measure a gateway of its own"
        ))
    }

    fn topics(&self, topics: usize) -> String {
        let (first, last) = (topic_name(self.run, 0), topic_name(self.run, topics - 1));
        match topics {
            1 => format!("topic {first}"),
            _ => format!("topics {first} to {last}"),
        }
    }
}

/// Asks the person at the terminal.
fn agrees(what: &str) -> bool {
    eprint!("{what}. Its log has events already. Go on? [y/N] ");
    let mut answer = String::new();
    let read = io::stderr().flush();
    let read = read.and_then(|()| io::stdin().lock().read_line(&mut answer));
    read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}
