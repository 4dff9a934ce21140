//! Texts with columns of a row in braces, as SQL: `door.{doorno}`.
//!
//! Invariant: every name and text of the user's is quoted.

use std::str::FromStr;

use crate::config::{is_name, quote_name};

/// A text with columns of a row in braces: `door.{doorno}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowTemplate(Vec<RowTemplatePart>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum RowTemplatePart {
    Text(String),
    Column(String),
}

impl FromStr for RowTemplate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once('{') {
            let (column, after) = split_column(after).ok_or_else(|| not_a_column(text))?;
            push_text(&mut parts, before);
            parts.push(RowTemplatePart::Column(column.to_owned()));
            rest = after;
        }

        // What is left has no opening brace; PostgreSQL allows no zero byte in a text.
        if text.is_empty() || rest.contains('}') || text.contains('\0') {
            return Err(not_a_template(text));
        }
        push_text(&mut parts, rest);
        Ok(RowTemplate(parts))
    }
}

/// A column's name, and what follows its closing brace.
fn split_column(text: &str) -> Option<(&str, &str)> {
    text.split_once('}')
        .filter(|(name, _)| is_name(name) && !name.contains('{'))
}

fn push_text(parts: &mut Vec<RowTemplatePart>, text: &str) {
    if !text.is_empty() {
        parts.push(RowTemplatePart::Text(text.to_owned()));
    }
}

fn not_a_column(text: &str) -> String {
    format!("{text:?} has a brace that encloses no column; write, for example, door.{{doorno}}")
}

fn not_a_template(text: &str) -> String {
    format!("{text:?} is not a template such as door.{{doorno}}")
}

impl RowTemplate {
    fn sql(&self, column: impl Fn(&str) -> String) -> String {
        // NULL in any column makes the whole text NULL, as the operator does.
        let parts = self.0.iter().map(|part| match part {
            RowTemplatePart::Text(text) => quote_text(text),
            RowTemplatePart::Column(name) => column(&quote_name(name)),
        });
        parts.collect::<Vec<_>>().join(" || ")
    }

    pub(super) fn text_sql(&self) -> String {
        self.sql(|name| format!("r.{name}::text"))
    }

    /// Any value becomes a single token of the topic, so that no writer of a row ever fails because
    /// of its topic.
    pub(super) fn topic_sql(&self) -> String {
        self.sql(|name| {
            let token =
                format!("regexp_replace(r.{name}::text, '[[:space:][:cntrl:].*>]', '_', 'g')");

            // A topic has no empty tokens, and NULL would make the whole topic NULL.
            format!("coalesce(nullif({token}, ''), '_')")
        })
    }
}

/// A text that means the same whether or not backslashes escape. It may be part of a body quoted by
/// `$vidette$`.
fn quote_text(text: &str) -> String {
    // A body ends at the first `$vidette$`; a backslash within keeps it from being one.
    let text = text
        .replace('\'', "''")
        .replace('\\', "\\\\")
        .replace("$vidette$", "$vidette\\$");
    if text.contains('\\') {
        format!("E'{text}'")
    } else {
        format!("'{text}'")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_texts_and_columns() {
        let sql = |text: &str| text.parse::<RowTemplate>().expect("a template").text_sql();
        assert_eq!(sql("opened"), "'opened'");
        assert_eq!(sql("{kind}"), "r.\"kind\"::text");
        assert_eq!(
            sql("door.{no}.{ro\"om}.x'y\\"),
            r#"'door.' || r."no"::text || '.' || r."ro""om"::text || E'.x''y\\'"#
        );
        for wrong in [
            "",
            "{",
            "}",
            "a{}",
            "a{b",
            "a}b",
            "a{b{c}",
            "{a\nb}",
            "{$vidette$}",
        ] {
            assert!(wrong.parse::<RowTemplate>().is_err(), "{wrong:?}");
        }
    }
}
