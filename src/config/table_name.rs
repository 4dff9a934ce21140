//! Names of PostgreSQL, as they are configured and as they are quoted in SQL.

use std::fmt;
use std::str::FromStr;

/// A table, in `public` where no schema is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableName {
    schema: String,
    table: String,
}

impl TableName {
    pub(super) fn public(table: &str) -> Self {
        TableName {
            schema: "public".to_owned(),
            table: table.to_owned(),
        }
    }

    /// Its schema, not quoted.
    pub(crate) fn schema(&self) -> &str {
        &self.schema
    }

    /// Its name without the schema, not quoted.
    pub(crate) fn table(&self) -> &str {
        &self.table
    }

    /// Another name in the same schema.
    pub(crate) fn beside(&self, name: &str) -> Self {
        TableName {
            schema: self.schema.clone(),
            table: name.to_owned(),
        }
    }

    /// The same name with a suffix.
    pub(crate) fn with_suffix(&self, suffix: &str) -> Self {
        self.beside(&format!("{}_{suffix}", self.table))
    }

    /// Without its schema, which a new index or trigger may not name; quoted.
    pub(crate) fn bare(&self) -> String {
        quote_name(&self.table)
    }
}

impl FromStr for TableName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A name that has a dot itself cannot be configured; nobody is known to need one.
        let (schema, table) = text.split_once('.').unwrap_or(("public", text));
        if !is_name_part(schema) || !is_name_part(table) {
            return Err(not_a_table(text));
        }
        Ok(TableName {
            schema: schema.to_owned(),
            table: table.to_owned(),
        })
    }
}

fn is_name_part(text: &str) -> bool {
    is_name(text) && !text.contains('.') && text.len() <= MAX_NAME_BYTES
}

fn not_a_table(text: &str) -> String {
    format!("{text:?} is not a table such as vidette_outbox or door.vidette_outbox")
}

/// As it is written in SQL.
impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", quote_name(&self.schema), self.bare())
    }
}

/// The bound on a name in PostgreSQL, in bytes, less the longest prefix that is added to it.
const MAX_NAME_BYTES: usize = 63 - "vidette_from_".len();

/// Can this be printed as a name, also in a comment and in a function's body?
pub(crate) fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control) && !text.contains("$vidette$")
}

pub(crate) fn quote_name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_without_a_schema_is_public() {
        let quoted = |text: &str| text.parse::<TableName>().map(|name| name.to_string());
        assert_eq!(
            quoted("door_log").expect("a table"),
            "\"public\".\"door_log\""
        );
        assert_eq!(
            quoted("Doors.door \"log\"").expect("a table"),
            "\"Doors\".\"door \"\"log\"\"\""
        );
        for wrong in ["", ".", "a.", ".a", "a.b.c", "a\n;b"] {
            assert!(quoted(wrong).is_err(), "{wrong:?}");
        }
        assert!(
            quoted(&"x".repeat(51)).is_err(),
            "no space for what is added to the name"
        );
    }
}
