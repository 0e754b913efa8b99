//! Parts of a file as messages repeat them.

/// Text in which passwords are asterisks, character for character: that of a URL (`mqtt://user:password@host`), and the
/// value of a key `password`. Messages go into logs, and into mails for help.
pub(super) fn mask_passwords(text: &str) -> String {
    let mut shown: Vec<char> = text.chars().collect();
    let find = |shown: &[char], what: &str, from: usize| {
        let what: Vec<char> = what.chars().collect();
        let places = shown.get(from..)?.windows(what.len());
        places.into_iter().position(|window| window == what).map(|place| from + place + what.len())
    };
    let mut from = 0;
    while let Some(begin) = find(&shown, "://", from) {
        let length = shown[begin..].iter().position(|c| c.is_whitespace() || *c == '/' || *c == '#');
        let end = length.map_or(shown.len(), |length| begin + length);
        if let Some(at) = shown[begin..end].iter().rposition(|c| *c == '@')
            && let Some(colon) = shown[begin..begin + at].iter().position(|c| *c == ':')
        {
            shown[begin + colon + 1..begin + at].fill('*');
        }
        from = begin;
    }
    let mut from = 0;
    while let Some(begin) = find(&shown, "password:", from) {
        let rest = &mut shown[begin..];
        rest.iter_mut().take_while(|c| !matches!(c, ',' | '}')).filter(|c| **c != ' ').for_each(|c| *c = '*');
        from = begin;
    }
    shown.into_iter().collect()
}

/// Text on one line, shortened to fit a message, without passwords.
pub(crate) fn shorten(text: &str) -> String {
    let text = &mask_passwords(text);
    let line: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_QUOTE).collect();
    if text.chars().count() > LONGEST_QUOTE { line + "..." } else { line }
}

/// Characters of the file's text repeated in a message.
const LONGEST_QUOTE: usize = 60;
