//! Why a text is not YAML, in an editor's terms: tabs, spaces after colons, indentation, quotes.
//!
//! The parser reports a mistake only when it cannot continue, often a line late, and in terms of its own states. So the
//! lines are examined first, and the parser's complaint is used only for the mistakes that remain. This module never
//! decides whether there is a mistake. Source: YAML 1.2.2, chapters 5 to 8.

use super::problem::Spot;
use super::quote::shorten;
use super::sections::Sections;

/// The cause of a syntax error.
pub(super) struct SyntaxFault {
    pub(super) spot: Spot,
    pub(super) what: String,
    pub(super) help: String,
    pub(super) place: FaultPlace,
}

/// The key that the message about a syntax error names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FaultPlace {
    /// The one whose value the parser reads.
    Key,
    /// The section of that.
    Section,
    /// None: the line may belong elsewhere.
    Unknown,
}

/// The mistake behind a complaint of the parser at `spot`. `sections` are those of this kind of file.
pub(super) fn explain(lines: &[&str], spot: Spot, complaint: &str, sections: &Sections) -> SyntaxFault {
    // The parser may be a line late, and it may stop before a line that cannot be a continuation.
    let last = spot.line.min(lines.len());
    let numbered = || lines.iter().enumerate().map(|(at, text)| (at + 1, *text));
    let near = || numbered().filter(|(line, _)| line.abs_diff(spot.line) <= 1);
    let before = || numbered().take(last).filter(|(_, text)| is_content(text));
    near()
        .find_map(|(line, text)| tab(line, text, &lines[..line - 1], sections))
        .or_else(|| near().find_map(|(line, text)| address(line, text)))
        .or_else(|| near().find_map(|(line, text)| directive(line, text)))
        .or_else(|| before().rev().take(2).find_map(|(line, text)| no_space(line, text)))
        .or_else(|| before().rev().take(2).find_map(|(line, text)| no_colon(line, text, complaint)))
        .or_else(|| bracket(&lines[..last], complaint))
        .or_else(|| indentation(&lines[..last], sections))
        .or_else(|| indentation(&lines[..(last + 1).min(lines.len())], sections))
        .or_else(|| {
            let text = lines.get(spot.line.checked_sub(1)?)?;
            sign(spot, text, complaint)
                .or_else(|| comma(spot, text, complaint))
                .or_else(|| quote(spot, text, complaint))
                .or_else(|| colon(spot, text, complaint, sections))
                .filter(|fault| fault.help.len() <= LONGEST_HELP)
        })
        .unwrap_or_else(|| by_complaint(spot, complaint))
}

/// A tab in the indentation; `above` are the lines before it.
fn tab(line: usize, text: &str, above: &[&str], sections: &Sections) -> Option<SyntaxFault> {
    let indent = &text[..text.len() - text.trim_start().len()];
    let column = indent.chars().position(|c| c == '\t')? + 1;
    is_content(text).then(|| SyntaxFault {
        spot: Spot {
            line,
            column,
            width: indent.chars().skip(column - 1).take_while(|c| *c == '\t').count(),
        },
        what: "found a tab".to_owned(),
        help: match beside(key_of(text.trim_start()), above, sections) {
            Some((key, line, column)) => {
                let spaces = if column == 1 { "1 space".to_owned() } else { format!("{column} spaces") };
                format!(
                    "begin the line with {spaces} and no tab, so that it stands under `{key}` of line {line}"
                )
            }
            None => "indent with spaces; YAML does not allow tabs there".to_owned(),
        },
        place: FaultPlace::Section,
    })
}

/// The last key above that a section has beside `key`: its name, its line, and the spaces or dash before it.
fn beside<'t>(key: &str, above: &[&'t str], sections: &Sections) -> Option<(&'t str, usize, usize)> {
    above.iter().enumerate().rev().find_map(|(at, text)| {
        let bare = text.trim_start_matches([' ', '-']);
        let other = key_of(bare);
        let is_beside = |keys: &[&str]| keys.contains(&key) && keys.contains(&other);
        sections
            .iter()
            .any(|section| is_beside(section().1))
            .then(|| (other, at + 1, text.len() - bare.len()))
    })
}

/// `[::]:502` without quotes.
fn address(line: usize, text: &str) -> Option<SyntaxFault> {
    let at = text.find(": [")? + 2;
    let address = text[at..].split([' ', '#']).next().filter(|address| address.contains("]:"))?;
    Some(SyntaxFault {
        spot: Spot { line, column: text[..at].chars().count() + 1, width: address.chars().count() },
        what: "an IPv6 address needs quotes, for a bracket begins a list".to_owned(),
        help: format!("write \"{address}\""),
        place: FaultPlace::Section,
    })
}

/// A percent sign at the left margin, which begins a YAML directive.
fn directive(line: usize, text: &str) -> Option<SyntaxFault> {
    let spot = Spot { line, column: 1, width: 1 };
    text.starts_with('%')
        .then(|| SyntaxFault { place: FaultPlace::Section, ..by_complaint(spot, "directive") })
}

/// A value that begins with a sign that YAML reserves.
fn sign(spot: Spot, text: &str, complaint: &str) -> Option<SyntaxFault> {
    if mistake(complaint).0 != SIGN.0 {
        return None;
    }
    let (at, sign) = text.char_indices().nth(spot.column.checked_sub(1)?)?;
    let key = text[..at].trim_start_matches([' ', '-']);
    let value = text[at..].split(" #").next().unwrap_or_default().trim_end();
    (key.ends_with(": ") && RESERVED.contains(sign)).then(|| {
        let quote = if value.contains(['"', '\\']) { '\'' } else { '"' };
        SyntaxFault {
            spot,
            what: format!("a value cannot begin with `{sign}` unless it is in quotes"),
            help: format!("write `{key}{quote}{value}{quote}`"),
            place: FaultPlace::Key,
        }
    })
}

/// A dash, or a key, without a space behind it.
fn no_space(line: usize, text: &str) -> Option<SyntaxFault> {
    let fault = |at: usize, width: usize, what: String, help: String| {
        let spot = Spot { line, column: at + 1, width };
        Some(SyntaxFault { spot, what, help, place: FaultPlace::Unknown })
    };
    let bare = text.trim_start();
    if let Some(item) =
        bare.strip_prefix('-').filter(|item| item.starts_with(|c: char| c.is_ascii_lowercase()))
    {
        let help = format!("put a space after it: `- {}`", shorten(item.trim_end()));
        return fault(text.len() - bare.len(), 1, "found no space after the dash".to_owned(), help);
    }
    let start = text.len() - text.trim_start_matches([' ', '-']).len();
    let (key, value) = text[start..].split_once(':')?;
    let word = !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let value = value.trim_end();
    let is_glued = word && !value.is_empty() && !value.starts_with([' ', '\t']) && !value.contains(": ");
    if !is_glued || value.starts_with("//") {
        return None;
    }
    let help = format!("put a space after the colon: `{key}: {}`", shorten(value));
    fault(start, key.len() + 1, format!("found no space after `{key}:`"), help)
}

/// A line of text where a key is required.
fn no_colon(line: usize, text: &str, complaint: &str) -> Option<SyntaxFault> {
    let is_meant = complaint.contains("simple key") || complaint.contains("mapping values");
    let bare = text.split(" #").next().unwrap_or_default().trim();
    if !is_meant || bare.contains([':', '[', ']', '{', '}', '"', '\'']) || bare.starts_with('-') {
        return None;
    }
    let help = match bare.split_once('=') {
        Some((key, value)) => format!("write `{}: {}`", shorten(key.trim()), shorten(value.trim())),
        None => "write `key: value`, or put # before a remark".to_owned(),
    };
    let at = text.len() - text.trim_start().len();
    let spot = Spot { line, column: at + 1, width: bare.chars().count() };
    Some(SyntaxFault {
        spot,
        what: "found no colon in this line".to_owned(),
        help,
        place: FaultPlace::Section,
    })
}

/// A bracket that is not closed, or closes nothing.
fn bracket(lines: &[&str], complaint: &str) -> Option<SyntaxFault> {
    if !["flow", "bracket", "':'"].iter().any(|part| complaint.contains(part)) {
        return None;
    }
    let mut open = Vec::new();
    for (at, text) in lines.iter().enumerate().filter(|(_, text)| is_content(text)) {
        let mut quote = None;
        for (column, c) in text.split(" #").next().unwrap_or_default().chars().enumerate() {
            let spot = Spot { line: at + 1, column: column + 1, width: 1 };
            match (quote, c) {
                (Some(mark), c) => quote = Some(mark).filter(|mark| *mark != c),
                (None, '"' | '\'') => quote = Some(c),
                (None, '[' | '{') => open.push((spot, c)),
                (None, ']' | '}') if open.pop().is_none() => {
                    let (what, help) = (format!("`{c}` closes nothing"), format!("delete this `{c}`"));
                    return Some(SyntaxFault { spot, what, help, place: FaultPlace::Section });
                }
                (None, _) => {}
            }
        }
    }
    let &(spot, bracket) = open.last()?;
    let closing = if bracket == '[' { ']' } else { '}' };
    let (what, help) =
        (format!("`{bracket}` is not closed"), format!("put `{closing}` behind its last value"));
    Some(SyntaxFault { spot, what, help, place: FaultPlace::Section })
}

/// A key inside brackets that follows a value without a comma; the parser stops at the key's colon.
fn comma(spot: Spot, text: &str, complaint: &str) -> Option<SyntaxFault> {
    let (at, _) = text.char_indices().nth(spot.column.checked_sub(1)?)?;
    let (before, after) = text.split_at(at);
    let value = before.rsplit(['[', '{', ',']).next().filter(|value| value.contains(": "))?;
    let key = value.rsplit(' ').next().filter(|key| !key.is_empty())?;
    ["flow", "bracket", "':'"].iter().any(|part| complaint.contains(part)).then(|| {
        let width = key.chars().count();
        let last = value.strip_suffix(key).unwrap_or(value).trim();
        let next = after.split([',', ']', '}']).next().unwrap_or_default();
        SyntaxFault {
            spot: Spot { column: spot.column - width, width, ..spot },
            what: format!("a comma is missing before `{key}`"),
            help: format!("write `{last}, {key}{next}`"),
            place: FaultPlace::Section,
        }
    })
}

/// A quote that is not closed, at `spot`; or text after one that is.
fn quote(spot: Spot, text: &str, complaint: &str) -> Option<SyntaxFault> {
    if mistake(complaint).0 != QUOTE.0 {
        return None;
    }
    let start = text.find(": ").map_or(0, |at| at + 2);
    let (key, value) = text.split_at(start);
    let key = key.trim_start_matches([' ', '-']);
    let value = value.split(" #").next().unwrap_or_default().trim();
    let mark = value.chars().next().filter(|mark| matches!(mark, '"' | '\''))?;
    let inside = value.replace(mark, "");
    let is_open = value.matches(mark).count() == 1;
    let what = if is_open { "this quote is not closed" } else { "found text after the closing quote" };
    Some(SyntaxFault {
        spot,
        what: what.to_owned(),
        help: format!("write `{key}{mark}{inside}{mark}`"),
        place: FaultPlace::Key,
    })
}

/// A colon and a space inside a value: a second key in the line, or a value that needs quotes.
fn colon(spot: Spot, text: &str, complaint: &str, sections: &Sections) -> Option<SyntaxFault> {
    if mistake(complaint).0 != COLON.0 {
        return None;
    }
    let (at, _) = text.char_indices().nth(spot.column.checked_sub(1)?)?;
    let (before, after) = text.split_at(at);
    let (key, value) = before.trim_start_matches([' ', '-']).split_once(": ")?;
    let second = before.rsplit(' ').next().unwrap_or_default();
    let rest = after.split(" #").next().unwrap_or_default().trim_end();
    if sections.iter().any(|section| section().1.contains(&second)) {
        let width = second.chars().count();
        return Some(SyntaxFault {
            spot: Spot { column: spot.column - width, width, ..spot },
            what: format!("found a second key, `{second}`, in this line"),
            help: format!("put `{second}{rest}` in a line of its own, under `{key}`"),
            place: FaultPlace::Section,
        });
    }
    let mark = if value.contains('"') || rest.contains('"') { '\'' } else { '"' };
    Some(SyntaxFault {
        spot,
        what: "found a colon and a space inside a value".to_owned(),
        help: format!("write `{key}: {mark}{value}{rest}{mark}`"),
        place: FaultPlace::Section,
    })
}

/// A column at which lines of one list or mapping begin.
#[derive(Clone)]
struct OpenBlock<'t> {
    /// From 0.
    column: usize,
    /// The line that opened it.
    line: usize,
    /// The keys of its lines.
    keys: Vec<&'t str>,
    /// Whether its lines begin with dashes rather than keys.
    is_list: bool,
}

impl OpenBlock<'_> {
    fn first_key(&self) -> &str {
        self.keys.first().copied().unwrap_or_default()
    }
}

/// The first line with a different indentation than its neighbours.
fn indentation(lines: &[&str], sections: &Sections) -> Option<SyntaxFault> {
    let mut open: Vec<OpenBlock<'_>> = Vec::new();
    let mut may_deepen = true;
    let mut brackets = 0_usize;
    // The line before: its number, its column, and what it closed.
    let mut before = (0, 0, Vec::new());
    for (at, text) in lines.iter().enumerate().filter(|(_, text)| is_content(text)) {
        let line = at + 1;
        let bare = text.split(" #").next().unwrap_or_default().trim_end();
        let is_inside = brackets > 0;
        brackets =
            (brackets + bare.matches(['[', '{']).count()).saturating_sub(bare.matches([']', '}']).count());
        if is_inside {
            continue;
        }
        let column = bare.len() - bare.trim_start_matches(' ').len();
        let is_item = bare[column..].starts_with("- ") || &bare[column..] == "-";
        let kept = open.iter().position(|one| one.column > column).unwrap_or(open.len());
        let closed = open.split_off(kept);
        let around = open.last();
        let fits = around.is_some_and(|one| one.column == column);
        let is_key_among_dashes = fits && !is_item && around.is_some_and(|one| one.is_list);
        let is_between = !fits && !closed.is_empty();
        let is_too_deep = !fits && closed.is_empty() && around.is_some() && !may_deepen;
        if let (None, Some(first)) = (around, closed.first())
            && first.keys.len() == 1
            && column == 0
        {
            // Only the first line of the file is indented.
            return Some(indented(first, key_of(&bare[column..]), line));
        }
        if is_between || is_key_among_dashes || is_too_deep {
            let misplaced = |line: usize, column: usize, candidates: &[OpenBlock<'_>]| {
                misplaced(line, column, lines[line - 1], candidates, sections)
            };
            // The line before may be the one that is too far left.
            if let Some(own) =
                before.2.iter().find(|one: &&OpenBlock<'_>| one.column == column).filter(|_| is_too_deep)
            {
                return Some(misplaced(before.0, before.1, std::slice::from_ref(own)));
            }
            let deeper = closed.first().filter(|one| one.is_list == is_item);
            let outer = open.iter().rev().find(|one| one.column != column && one.is_list == is_item);
            let same = around.filter(|one| is_too_deep && one.is_list == is_item);
            let candidates: Vec<_> =
                deeper.or(same).into_iter().chain(outer.filter(|_| same.is_none())).cloned().collect();
            return Some(misplaced(line, column, &candidates));
        }
        if !fits {
            open.push(OpenBlock { column, line, keys: vec![key_of(&bare[column..])], is_list: is_item });
        } else if let Some(block) = open.last_mut() {
            block.keys.push(key_of(&bare[column..]));
        }
        let mut rest = &bare[column..];
        while let Some(item) = rest.strip_prefix("- ") {
            rest = item.trim_start();
            let is_list = rest.starts_with("- ");
            let column = bare.len() - rest.len();
            open.push(OpenBlock { column, line, keys: vec![key_of(rest)], is_list });
        }
        may_deepen = rest.ends_with(':') || rest == "-" || rest.ends_with(['|', '>']);
        before = (line, column, closed);
    }
    None
}

fn key_of(text: &str) -> &str {
    text.split([':', ' ']).next().unwrap_or_default()
}

/// The line `text` begins in a wrong column. It may belong to one of the `candidates` if a section has its key and all
/// of theirs.
fn misplaced(
    line: usize,
    column: usize,
    text: &str,
    candidates: &[OpenBlock<'_>],
    sections: &Sections,
) -> SyntaxFault {
    let key = key_of(text.trim_start());
    let is_known = |one: &&OpenBlock<'_>| {
        sections.iter().any(|section| {
            let (_, keys) = section();
            keys.contains(&key) && one.keys.iter().all(|other| keys.contains(other))
        })
    };
    let mut likely: Vec<_> = candidates.iter().filter(is_known).collect();
    if likely.is_empty() {
        likely = candidates.iter().collect();
    }
    likely.sort_by_key(|one| one.column);
    let name = |one: &OpenBlock<'_>| {
        let name = if one.is_list { "the dash".to_owned() } else { format!("`{}`", one.first_key()) };
        format!("{name} of line {}", one.line)
    };
    let at = |one: &&OpenBlock<'_>| format!("{} in column {}", name(one), one.column + 1);
    let under = |one: &&OpenBlock<'_>| {
        let spaces = match one.column {
            0 => "without spaces".to_owned(),
            1 => "with 1 space".to_owned(),
            spaces => format!("with {spaces} spaces"),
        };
        format!("{spaces}, under {}", name(one))
    };
    let subject = if text.trim_start().starts_with('-') {
        "this dash".to_owned()
    } else if text.contains(':') {
        format!("`{key}`")
    } else {
        "this line".to_owned()
    };
    let (others, help) = if likely.is_empty() {
        ("unlike the lines above it".to_owned(), LAYOUT_HELP.to_owned())
    } else {
        let others: Vec<_> = likely.iter().map(at).collect();
        let places: Vec<_> = likely.iter().map(under).collect();
        (format!("but {}", others.join(" and ")), format!("begin it {}", places.join(", or ")))
    };
    SyntaxFault {
        spot: Spot { line, column: column + 1, width: 1 },
        what: format!("{subject} begins in column {}, {others}", column + 1),
        help,
        place: FaultPlace::Section,
    }
}

/// The first line of the file is indented, and the next of its section, at `line`, is not.
fn indented(first: &OpenBlock<'_>, next: &str, line: usize) -> SyntaxFault {
    let spaces = if first.column == 1 { "space".to_owned() } else { format!("{} spaces", first.column) };
    SyntaxFault {
        spot: Spot { line: first.line, column: 1, width: first.column },
        what: format!(
            "`{}` begins in column {}, but `{next}` of line {line} in column 1",
            first.first_key(),
            first.column + 1
        ),
        help: format!("delete the {spaces} before it"),
        place: FaultPlace::Section,
    }
}

/// The mistake by the parser's complaint, if the lines show none.
fn by_complaint(spot: Spot, complaint: &str) -> SyntaxFault {
    let (what, help) = mistake(complaint);
    SyntaxFault { spot, what: what.to_owned(), help: help.to_owned(), place: FaultPlace::Key }
}

fn mistake(complaint: &str) -> Mistake {
    let known = COMPLAINTS.iter().find(|(part, _)| complaint.contains(part));
    known.map_or(LAYOUT, |(_, mistake)| *mistake)
}

fn is_content(text: &str) -> bool {
    let text = text.trim_start();
    !text.is_empty() && !text.starts_with('#')
}

/// Bytes of a remedy that repeats a line; a longer one is replaced by a general one.
const LONGEST_HELP: usize = 300;

/// Signs with which a value cannot begin.
const RESERVED: &str = "%@`&*!|>";

/// Parts of complaints and the mistakes they indicate; the first match counts.
const COMPLAINTS: [(&str, Mistake); 19] = [
    ("unprintable", UNPRINTABLE),
    ("byte order mark", UNPRINTABLE),
    ("tab", TAB),
    ("unexpected character", SIGN),
    ("anchor", SIGN),
    ("directive", SIGN),
    ("<document", OUTSIDE),
    ("block scalar", SIGN),
    (" tag", SIGN),
    ("escape", BACKSLASH),
    ("hexadecimal", BACKSLASH),
    ("quoted scalar", QUOTE),
    ("double-quoted", QUOTE),
    ("mapping values are not allowed", COLON),
    ("flow", BRACKET),
    ("bracket", BRACKET),
    ("illegal placement of ':'", BRACKET),
    ("block sequence entries are not allowed", DASH),
    ("simple key", NO_KEY),
];

/// What is wrong, and the remedy.
type Mistake = (&'static str, &'static str);

const UNPRINTABLE: Mistake = ("found a character that cannot be printed", "leave it out");
const TAB: Mistake = ("found a tab", "use spaces; YAML does not allow tabs there");
const SIGN: Mistake =
    ("found a sign with a meaning of its own", "put text that begins with one of % @ ` & * ! | > in quotes");
const OUTSIDE: Mistake = ("this line belongs to nothing before it", LAYOUT_HELP);
const BACKSLASH: Mistake = (
    "found a backslash in double quotes, where it begins a code",
    "put text with backslashes in single quotes",
);
const QUOTE: Mistake = (
    "found a quote that is not closed, or text after one that is",
    "close each quote in its line, with nothing after it but a comment",
);
const COLON: Mistake = (
    "found a second colon in a value, or a key after one",
    "put a value with a colon and a space in it in quotes; put each key in a line of its own",
);
const BRACKET: Mistake = ("what is in these brackets is not understood", BRACKET_HELP);
const BRACKET_HELP: &str =
    "close each [ and {, with commas between what is in them; put text with brackets in quotes";
const DASH: Mistake =
    ("found a dash in a line with a key", "put each `- ` in a line of its own, below its key");
const NO_KEY: Mistake = ("found a line that is no key with a value", LAYOUT_HELP);
const LAYOUT: Mistake = ("this does not fit what stands before it", LAYOUT_HELP);
const LAYOUT_HELP: &str = "write `key: value` with a space after the colon, the keys of a section and the dashes of a \
    list each in one column";
