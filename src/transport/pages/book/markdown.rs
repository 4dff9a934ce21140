//! Markdown as HTML, with a name for each heading, which links and the search lead to.

use std::collections::HashMap;

use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd, html};

use super::links::link_within;

/// The text below a heading, up to the next one.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) anchor: String,
    pub(super) heading: String,
    pub(super) text: String,
}

/// What the first heading says.
pub(super) fn title<'t>(path: &'t str, text: &'t str) -> &'t str {
    let heading = text.lines().find_map(|line| line.strip_prefix("# "));
    heading.unwrap_or(path)
}

pub(super) fn render(path: &str, text: &str) -> String {
    let mut events = events(text);
    link_within(path, &mut events);
    let mut body = String::new();
    html::push_html(&mut body, with_anchors(events).into_iter());
    // Pages may not have styles of their own.
    let sides = ["left", "center", "right"];
    sides.iter().fold(body, |body, side| {
        let style = format!(" style=\"text-align: {side}\"");
        body.replace(&style, &format!(" class=\"{side}\""))
    })
}

pub(super) fn sections(text: &str) -> Vec<Section> {
    let mut sections = vec![Section::default()];
    let mut is_heading = false;
    for event in events(text) {
        let Some(section) = sections.last_mut() else {
            break;
        };
        match event {
            Event::Start(Tag::Heading { id, .. }) => {
                is_heading = true;
                let anchor = id.map(CowStr::into_string).unwrap_or_default();
                sections.push(Section {
                    anchor,
                    ..Section::default()
                });
            }
            Event::End(TagEnd::Heading(_)) => is_heading = false,
            // Words of two blocks stay two words.
            Event::End(_) | Event::SoftBreak if !section.text.ends_with(' ') => {
                section.text.push(' ');
            }
            other => {
                let words = text_of(&other).unwrap_or_default();
                if is_heading {
                    section.heading.push_str(words);
                } else {
                    section.text.push_str(words);
                }
            }
        }
    }
    sections.retain(|section| !(section.heading.is_empty() && section.text.trim().is_empty()));
    sections
}

/// A page's events, in which each heading has its name.
fn events(text: &str) -> Vec<Event<'_>> {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
    let mut events: Vec<_> = Parser::new_ext(text, options).collect();
    let mut counts: HashMap<String, usize> = HashMap::new();
    for at in 0..events.len() {
        if !matches!(events[at], Event::Start(Tag::Heading { .. })) {
            continue;
        }
        let texts = events[at..].iter();
        let within = texts.take_while(|event| !matches!(event, Event::End(TagEnd::Heading(_))));
        let name = slug(&within.filter_map(text_of).collect::<String>());
        let earlier = counts.entry(name.clone()).or_default();
        let unique = if *earlier == 0 {
            name
        } else {
            format!("{name}-{earlier}")
        };
        *earlier += 1;
        if let Event::Start(Tag::Heading { id, .. }) = &mut events[at] {
            *id = Some(unique.into());
        }
    }
    events
}

/// Puts a link to itself behind the text of each heading but the page's own.
fn with_anchors(events: Vec<Event<'_>>) -> Vec<Event<'_>> {
    let mut out = Vec::with_capacity(events.len());
    let mut name: Option<CowStr<'_>> = None;
    for event in events {
        match &event {
            Event::Start(Tag::Heading { id, .. }) => name.clone_from(id),
            Event::End(TagEnd::Heading(level)) if *level as usize > 1 => {
                if let Some(name) = name.take() {
                    let link = format!(" <a class=\"anchor\" href=\"#{name}\">#</a>");
                    out.push(Event::InlineHtml(link.into()));
                }
            }
            _ => {}
        }
        out.push(event);
    }
    out
}

fn text_of<'e>(event: &'e Event<'_>) -> Option<&'e str> {
    match event {
        Event::Text(text) | Event::Code(text) => Some(text),
        _ => None,
    }
}

/// As GitHub makes it of a heading.
fn slug(heading: &str) -> String {
    let lower = heading.to_lowercase();
    let kept = lower
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_have_names_that_are_used_once() {
        assert_eq!(slug("What *is* `a.b`, then?"), "what-is-ab-then");
        let page = render("a.md", "# A\n\n## Undo\n\n## Undo\n");
        assert!(page.contains("<h2 id=\"undo\">Undo <a"), "{page}");
        assert!(page.contains("<h2 id=\"undo-1\">"), "{page}");
        assert!(page.contains("href=\"#undo-1\""), "{page}");
        assert!(!page.contains("href=\"#a\""), "{page}");
    }

    #[test]
    fn cells_of_tables_have_no_style_of_their_own() {
        let page = render("a.md", "| x | y |\n|---|--:|\n| 1 | 2 |\n");
        assert!(page.contains("<td class=\"right\">2</td>"), "{page}");
        assert!(!page.contains("style"), "{page}");
    }

    #[test]
    fn text_belongs_to_the_heading_above_it() {
        let found =
            sections("# A\n\none `two`\nthree\n\n## B\n\n| x | y |\n|---|---|\n| 1 | 2 |\n");
        let section = |anchor: &str, heading: &str, text: &str| Section {
            anchor: anchor.to_owned(),
            heading: heading.to_owned(),
            text: text.to_owned(),
        };
        let expected = [
            section("a", "A", "one two three "),
            section("b", "B", "x y 1 2 "),
        ];
        assert_eq!(found, expected);
    }
}
