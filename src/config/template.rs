//! Topics made of a record's fields, such as `door.{doorno}`.
//!
//! Invariant: what stands between the fields has been checked to be part of a topic.

use std::fmt;

use crate::topic::Topic;

/// A topic with places for fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicTemplate {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Field(String),
}

impl TopicTemplate {
    /// Parses a template; the fault says what to write instead.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((literal, after)) = rest.split_once('{') {
            let Some((field, behind)) = after.split_once('}') else {
                return Err(format!("{text:?} has a {{ without its }}"));
            };
            if field.is_empty() || field.contains('{') {
                return Err(format!(
                    "{text:?} has braces without a field's name in them; write door.{{doorno}}"
                ));
            }
            parts.extend([
                Part::Literal(literal.to_owned()),
                Part::Field(field.to_owned()),
            ]);
            rest = behind;
        }
        parts.push(Part::Literal(rest.to_owned()));
        if parts
            .iter()
            .any(|part| matches!(part, Part::Literal(text) if text.contains('}')))
        {
            return Err(format!("{text:?} has a }} without its {{"));
        }
        let template = TopicTemplate {
            text: text.to_owned(),
            parts,
        };
        let example = template.fill(|_| Ok::<_, String>("x".to_owned()))?;
        Topic::for_publisher(&example).map_err(|fault| fault.to_string())?;
        Ok(template)
    }

    /// Does it need any field?
    pub(crate) fn has_fields(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Field(_)))
    }

    /// Puts the fields in. What comes out need not be a topic: that depends on them.
    pub(crate) fn fill<E>(
        &self,
        mut field: impl FnMut(&str) -> Result<String, E>,
    ) -> Result<String, E> {
        let mut topic = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(text) => topic.push_str(text),
                Part::Field(name) => topic.push_str(&field(name)?),
            }
        }
        Ok(topic)
    }
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
    fn a_template_that_can_never_be_a_topic_is_told() {
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
