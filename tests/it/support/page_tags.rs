//! The tags of a page, in order. Good for pages in which every `<` of a text is escaped, which is what they prove.

/// One opening tag.
#[derive(Debug)]
pub(crate) struct Tag {
    pub(crate) name: String,
    pub(crate) attributes: Vec<(String, String)>,
}

impl Tag {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// Every opening tag of `html`.
pub(crate) fn tags(html: &str) -> Vec<Tag> {
    html.split('<').skip(1).filter(|rest| rest.starts_with(char::is_alphabetic)).map(tag).collect()
}

/// The first part of `html` from `begin` up to `end`.
pub(crate) fn between<'a>(html: &'a str, begin: &str, end: &str) -> &'a str {
    let start = html.find(begin).unwrap_or_else(|| panic!("{begin} is not in the page"));
    let rest = &html[start..];
    &rest[..rest.find(end).unwrap_or_else(|| panic!("no {end} after {begin}"))]
}

/// What is left without the tags, with single spaces.
pub(crate) fn text(html: &str) -> String {
    let text = html.split('<').map(|part| part.split_once('>').map_or(part, |(_, text)| text));
    let words = text.collect::<Vec<_>>().join(" ");
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn tag(text: &str) -> Tag {
    let end = text.find(|character: char| !character.is_alphanumeric()).unwrap();
    let (name, mut rest) = text.split_at(end);
    let mut attributes = Vec::new();
    loop {
        rest = rest.trim_start();
        let Some(end) = rest.find(['=', ' ', '>']).filter(|end| *end > 0) else { break };
        let name = rest[..end].to_owned();
        let value = match rest[end..].strip_prefix("=\"") {
            Some(value) => {
                let (value, after) = value.split_once('"').unwrap();
                rest = after;
                value.to_owned()
            }
            None => {
                rest = &rest[end..];
                String::new()
            }
        };
        attributes.push((name, value));
    }
    assert!(rest.starts_with('>'), "<{text}");
    Tag { name: name.to_owned(), attributes }
}
