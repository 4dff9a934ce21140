//! Topics made of a record's fields, such as `door.{doorno}`.
//!
//! Invariant: the text between the fields has been checked to be part of a topic.

use std::fmt;

use crate::topic::Topic;

/// A topic with fields to fill in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicTemplate {
    text: String,
    parts: Vec<TemplatePart>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum TemplatePart {
    Literal(String),
    Field(String),
}

impl TopicTemplate {
    /// Parses a template. The error says what to write instead.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let template = TopicTemplate {
            text: text.to_owned(),
            parts: split(text)?,
        };

        // If the shortest field makes a topic, a longer one is at most too long.
        let example = template.fill(|_| Ok::<_, String>("x".to_owned()))?;
        Topic::for_publisher(&example).map_err(|error| error.to_string())?;
        Ok(template)
    }

    /// A topic that is one field.
    pub(super) fn field(name: &str) -> Self {
        TopicTemplate {
            text: format!("{{{name}}}"),
            parts: vec![TemplatePart::Field(name.to_owned())],
        }
    }

    /// Does it need any field?
    pub(crate) fn has_fields(&self) -> bool {
        let mut parts = self.parts.iter();
        parts.any(|part| matches!(part, TemplatePart::Field(_)))
    }

    /// Fills the fields in. Whether the result is a topic depends on them.
    pub(crate) fn fill<E>(
        &self,
        mut field: impl FnMut(&str) -> Result<String, E>,
    ) -> Result<String, E> {
        let mut topic = String::new();
        for part in &self.parts {
            match part {
                TemplatePart::Literal(text) => topic.push_str(text),
                TemplatePart::Field(name) => topic.push_str(&field(name)?),
            }
        }
        Ok(topic)
    }
}

fn split(text: &str) -> Result<Vec<TemplatePart>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    // Each round takes one text and the field behind it; the last text has no field.
    while let Some((literal, after)) = rest.split_once('{') {
        let (field, behind) = after.split_once('}').ok_or_else(|| unclosed(text))?;
        parts.push(literal_part(literal, text)?);
        parts.push(field_part(field, text)?);
        rest = behind;
    }
    parts.push(literal_part(rest, text)?);
    Ok(parts)
}

fn literal_part(literal: &str, text: &str) -> Result<TemplatePart, String> {
    if literal.contains('}') {
        return Err(unopened(text));
    }
    Ok(TemplatePart::Literal(literal.to_owned()))
}

fn field_part(field: &str, text: &str) -> Result<TemplatePart, String> {
    if field.is_empty() || field.contains('{') {
        return Err(unnamed(text));
    }
    Ok(TemplatePart::Field(field.to_owned()))
}

fn unclosed(text: &str) -> String {
    format!("{text:?} has a {{ without its }}")
}

fn unopened(text: &str) -> String {
    format!("{text:?} has a }} without its {{")
}

fn unnamed(text: &str) -> String {
    format!("{text:?} has braces without the name of a field in them; write door.{{doorno}}")
}

impl fmt::Display for TopicTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &str) -> Result<String, String> {
        TopicTemplate::parse(template)?.fill(|name| Ok(name.to_uppercase()))
    }

    #[test]
    fn fields_are_put_where_their_names_stand() {
        assert_eq!(filled("door.{doorno}"), Ok("door.DOORNO".to_owned()));
        assert_eq!(
            filled("{site}.door-{no}.{kind}"),
            Ok("SITE.door-NO.KIND".to_owned())
        );
        assert_eq!(filled("doors"), Ok("doors".to_owned()));
    }

    #[test]
    fn a_template_that_can_never_be_a_topic_is_refused() {
        for wrong in [
            "",
            "door.{",
            "door.{}",
            "door.}",
            "door.{a}}",
            "door.{{a}}",
            "door..{a}",
            "a b.{c}",
            "door.*",
            "vidette.{a}",
        ] {
            assert!(filled(wrong).is_err(), "{wrong:?}");
        }
    }
}
