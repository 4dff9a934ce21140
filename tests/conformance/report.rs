//! The table that a person reads.

use std::collections::HashMap;

use crate::cases::Case;
use crate::common::read::Transport;

/// As much of a failure's message as is printed: some have thousands of vids.
const MAX_WHY_CHARS: usize = 600;

type Key = (&'static str, String, Transport);

pub struct Report {
    rows: Vec<(&'static str, &'static str)>,
    columns: Vec<(String, Transport)>,
    outcomes: HashMap<(&'static str, String, &'static str), Result<(), String>>,
}

impl Report {
    pub fn new(
        cases: &[Case],
        columns: Vec<(String, Transport)>,
        outcomes: Vec<(Key, Result<(), String>)>,
    ) -> Self {
        let outcomes = outcomes
            .into_iter()
            .map(|((case, kind, via), outcome)| ((case, kind, name(via)), outcome));
        Report {
            rows: cases.iter().map(|c| (c.section, c.name)).collect(),
            columns,
            outcomes: outcomes.collect(),
        }
    }

    pub fn passed(&self) -> usize {
        self.outcomes
            .values()
            .filter(|outcome| outcome.is_ok())
            .count()
    }

    pub fn failed(&self) -> usize {
        self.outcomes.len() - self.passed()
    }

    pub fn print(&self) {
        let width = self
            .rows
            .iter()
            .map(|(_, name)| name.len())
            .max()
            .unwrap_or(0);
        let heads: Vec<String> = self
            .columns
            .iter()
            .map(|(kind, via)| format!("{kind}/{}", name(*via)))
            .collect();
        println!("\n§     {:width$}  {}", "case", heads.join("  "));
        for (section, case) in &self.rows {
            let cells = self.columns.iter().zip(&heads).map(|((kind, via), head)| {
                let outcome = self.outcomes.get(&(*case, kind.clone(), name(*via)));
                format!(
                    "{:^w$}",
                    outcome.map_or("-", |o| if o.is_ok() { "ok" } else { "FAIL" }),
                    w = head.len()
                )
            });
            println!(
                "{section:5} {case:width$}  {}",
                cells.collect::<Vec<_>>().join("  ")
            );
        }
        println!("\n{} cases, {} cells", self.rows.len(), self.outcomes.len());
        let mut failures: Vec<_> = self
            .outcomes
            .iter()
            .filter_map(|(key, outcome)| Some((key, outcome.as_ref().err()?)))
            .collect();
        failures.sort();
        for ((case, kind, via), why) in failures {
            let why: String = why.chars().take(MAX_WHY_CHARS).collect();
            println!("FAIL {case} on {kind}/{via}: {why}");
        }
    }
}

fn name(via: Transport) -> &'static str {
    match via {
        Transport::Poll => "poll",
        Transport::Sse => "sse",
        Transport::Grpc => "grpc",
    }
}
