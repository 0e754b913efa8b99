//! What would be YAML, where something is not: a remedy beside each complaint of the parser.
//!
//! Owns words only. The parser speaks of its own states; whoever wrote the file wants to know what to type instead.
//! It never decides what is a fault, and looks at nothing but the complaint and its line.
//! Source: YAML 1.2.2, chapters 5 to 8.

/// What is allowed where the parser makes this complaint of this line.
pub(super) fn remedy(complaint: &str, line: &str) -> &'static str {
    // What the line shows says more than the state the parser was in.
    let indent = &line[..line.len() - line.trim_start().len()];
    if indent.contains('\t') {
        return "spaces to indent, never tabs";
    }
    if line.contains(": [") && line.contains("]:") {
        return "an IPv6 address in quotes, such as \"[::]:502\"";
    }
    REMEDIES.iter().find(|(part, _)| complaint.contains(part)).map_or(LAYOUT, |(_, remedy)| remedy)
}

/// A part of a complaint and what is allowed there; the first that fits.
const REMEDIES: [(&str, &str); 19] = [
    ("unprintable", "printable characters"),
    ("byte order mark", "printable characters"),
    ("tabs disallowed", "spaces, never tabs"),
    ("tab cannot", "spaces, never tabs"),
    ("a tab", "spaces, never tabs"),
    ("unexpected character", SIGNS),
    ("anchor", SIGNS),
    ("directive", SIGNS),
    ("<document", ENDED),
    ("block scalar", SIGNS),
    (" tag", SIGNS),
    ("escape", "single quotes around text with backslashes in it"),
    ("hexadecimal", "single quotes around text with backslashes in it"),
    ("quoted scalar", QUOTES),
    ("double-quoted", QUOTES),
    (
        "mapping values are not allowed",
        "keys that belong together in one column, each with a space after its colon, and one value after a key, in quotes \
         if it has a colon and a space in it",
    ),
    ("flow", BRACKETS),
    ("bracket", BRACKETS),
    ("illegal placement of ':'", BRACKETS),
];

const SIGNS: &str = "quotes around text that begins with one of % @ ` & * ! | >";

/// The parser took the file for ended: an indentation that was given up, or a line it takes for a directive.
const ENDED: &str = "keys that belong together each in one column; quotes around text that \
                     begins with %";

const QUOTES: &str = "a closing quote for each that opens, with nothing after it but a comment";

const BRACKETS: &str =
    "[ and { each closed, with commas between what is in them; text with brackets in quotes";

const LAYOUT: &str = "`key: value` with a space after the colon, the keys of a mapping and the dashes of a list each \
                      in one column";
