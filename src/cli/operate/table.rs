//! Columns for a person.

/// Rows under a head, each column as wide as its widest cell.
pub(super) struct Table<const COLUMNS: usize> {
    rows: Vec<[String; COLUMNS]>,
    /// These are numbers, which end below each other.
    numbers: [bool; COLUMNS],
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    pub(super) fn new(head: [&str; COLUMNS], numbers: [bool; COLUMNS]) -> Self {
        Table {
            rows: vec![head.map(str::to_owned)],
            numbers,
        }
    }

    pub(super) fn add(&mut self, row: [String; COLUMNS]) {
        self.rows.push(row);
    }

    pub(super) fn text(&self) -> String {
        let width = |at: usize| {
            let cells = self.rows.iter().map(|row| row[at].chars().count());
            cells.max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..COLUMNS).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let cells = row.iter().zip(&widths).zip(self.numbers);
            let line: Vec<String> = cells
                .map(|((cell, width), is_number)| {
                    if is_number {
                        format!("{cell:>width$}")
                    } else {
                        format!("{cell:<width$}")
                    }
                })
                .collect();
            text += line.join("  ").trim_end();
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_end_and_words_begin_below_each_other() {
        let mut table = Table::new(["LAG", "WHO"], [true, false]);
        table.add(["7".into(), "alice".into()]);
        table.add(["12345".into(), "-".into()]);
        assert_eq!(table.text(), "  LAG  WHO\n    7  alice\n12345  -\n");
    }
}
