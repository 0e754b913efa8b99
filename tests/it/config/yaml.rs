//! What is said about a file that is no usable YAML, or that cannot be read at all.

use std::path::{Path, PathBuf};

use metergate::config::{load, parse};

const MINIMAL: &str = include_str!("../../../config/minimal.yaml");

/// Every fault of a text, as people read it.
fn faults(text: &str) -> String {
    parse(text, "m.yaml").expect_err(text).to_string()
}

/// A file of its own for one test, gone with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, bytes: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("metergate-yaml-{}-{name}", std::process::id()));
        std::fs::write(&path, bytes).expect("the directory for temporary files can be written");
        Self(path)
    }

    /// Every fault of the file, its name shortened.
    fn faults(&self) -> String {
        load(&self.0).expect_err("a faulty file").to_string().replace(&self.0.display().to_string(), "m.yaml")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn an_empty_file_is_refused() {
    let expected = "m.yaml:1:1: error: the file is empty; allowed: a mapping with listeners and buses
 1 |
   | ^
m.yaml: 1 error";
    assert_eq!(faults(""), expected);
}

#[test]
fn comments_alone_are_an_empty_file() {
    let text = "# nothing
";
    let expected = "m.yaml:1:1: error: the file is empty; allowed: a mapping with listeners and buses
 1 | # nothing
   | ^
m.yaml: 1 error";
    assert_eq!(faults(text), expected);
}

#[test]
fn a_second_document_is_refused() {
    let text = "listeners:
  - address: 0.0.0.0:502
buses:
  - name: riser-a
    device: /dev/ttyS0
    units:
      - id: 1
---
listeners:
  - address: 0.0.0.0:502
buses:
  - name: riser-a
    device: /dev/ttyS0
    units:
      - id: 1
";
    let expected = "m.yaml:8:1: error: found a second YAML document; allowed: one document in a file
 8 | ---
   | ^^^
m.yaml: 1 error";
    assert_eq!(faults(text), expected);
}

#[test]
fn anchors_aliases_merge_keys_and_tags_are_refused() {
    let text = "listeners:
  - address: 0.0.0.0:502
buses:
  - name: riser-a
    device: /dev/ttyS0
    units:
      - id: &one 1
      - <<: {as: 3}
        id: !!int 2
        as: *one
";
    let expected = "m.yaml:7:13: error: buses[0].units[0].id: found an anchor (&name); allowed: plain values, each written out where it is needed
 7 |       - id: &one 1
   |             ^^^^^^
m.yaml:8:9: error: buses[0].units[1].<<: found a merge key (<<); allowed: the keys themselves, written out
 8 |       - <<: {as: 3}
   |         ^^
m.yaml:9:13: error: buses[0].units[1].id: found a tag (!name); allowed: plain values without tags
 9 |         id: !!int 2
   |             ^^^^^^^
m.yaml:10:13: error: buses[0].units[1].as: found an alias (*name); allowed: the value itself, written out
 10 |         as: *one
    |             ^^^^
m.yaml: 4 errors";
    assert_eq!(faults(text), expected);
}

#[test]
fn keys_that_are_no_words_are_refused() {
    let text = "listeners:
  - address: 0.0.0.0:502
buses:
  - name: riser-a
    device: /dev/ttyS0
    units:
      - id: 1
? [a, b]
: 1
: 2
";
    let expected = "m.yaml:8:3: error: found a list as a key; allowed: a word before the colon
 8 | ? [a, b]
   |   ^
m.yaml:10:1: error: found nothing as a key; allowed: a word before the colon
 10 | : 2
    | ^
m.yaml: 2 errors";
    assert_eq!(faults(text), expected);
}

#[test]
fn tabs_do_not_indent() {
    let text = "listeners:
	- address: 0.0.0.0:502
";
    let expected = "m.yaml:2:2: error: listeners: this is not YAML: tabs disallowed within this context (block indentation); allowed: spaces to indent, never tabs
 2 |  - address: 0.0.0.0:502
   |  ^
m.yaml: 1 error";
    assert_eq!(faults(text), expected);
}

#[test]
fn an_ipv6_address_without_quotes_is_explained() {
    let text = "listeners:
  - address: [::]:502
buses:
  - name: riser-a
    device: /dev/ttyS0
    units:
      - id: 1
";
    let expected = r#"m.yaml:2:18: error: listeners: this is not YAML: while parsing a block mapping, did not find expected key; allowed: an IPv6 address in quotes, such as "[::]:502"
 2 |   - address: [::]:502
   |                  ^
m.yaml: 1 error"#;
    assert_eq!(faults(text), expected);
}

#[test]
fn wrong_indentation_is_shown_where_it_breaks() {
    let text = "listeners:
  - address: 0.0.0.0:502
buses:
  - name: riser-a
   device: /dev/ttyS0
    units:
      - id: 1
";
    let expected = "m.yaml:5:4: error: buses: this is not YAML: while parsing a block collection, did not find expected '-' indicator; allowed: `key: value` with a space after the colon, the keys of a mapping and the dashes of a list each in one column
 5 |    device: /dev/ttyS0
   |    ^
m.yaml: 1 error";
    assert_eq!(faults(text), expected);
}

#[test]
fn an_open_quote_is_shown_where_it_begins() {
    let text = r#"listeners:
  - address: 0.0.0.0:502
buses:
  - name: "riser-a
    device: /dev/ttyS0
    units:
      - id: 1
"#;
    let expected = r#"m.yaml:4:11: error: buses[0].name: this is not YAML: invalid indentation in quoted scalar; allowed: a closing quote for each that opens, with nothing after it but a comment
 4 |   - name: "riser-a
   |           ^
m.yaml: 1 error"#;
    assert_eq!(faults(text), expected);
}

#[test]
fn whatever_breaks_the_syntax_comes_with_what_is_allowed() {
    for (text, allowed) in [
        ("a: 1\nb:\tc\n d: 2\n", "a space after the colon"),
        ("a: x\n\tb: 2\n", "never tabs"),
        ("a: %x\n", "quotes around text that begins with one of % @"),
        ("a: @x\n", "quotes around text"),
        ("a: *x\n", "quotes around text"),
        ("a: &\n", "quotes around text"),
        ("a: |x\n", "quotes around text"),
        ("a: !<x\n", "quotes around text"),
        ("%x\na: 1\n", "quotes around text"),
        ("a: \"C:\\x\"\n", "single quotes around text with backslashes"),
        ("a: 'x\n", "a closing quote"),
        ("a: \"x\" y\n", "a closing quote"),
        ("name: Panel: 1\n", "one value after a key, in quotes"),
        ("a: [1, 2\n", "[ and { each closed"),
        ("a: {b: 1\n", "[ and { each closed"),
        ("a: ]\n", "[ and { each closed"),
        ("a: - b\n", "each in one column"),
        ("a: 1\n  b: 2\n c: 3\n", "one value after a key"),
        ("a:\n  b: 1\n c: 2\n", "each in one column"),
        ("a: 1\nb\nc: 2\n", "a space after the colon"),
        ("  a: 1\nb: 2\n", "each in one column"),
        ("{a: 1}\nb: 2\n", "each in one column"),
        ("a:\n  - name:riser-a\n    device: /dev/x\n", "each with a space after its colon"),
    ] {
        let said = faults(text);
        let first = said.lines().next().unwrap_or_default();
        assert!(first.contains(": this is not YAML: "), "{text:?}: {said}");
        assert!(first.contains("; allowed: ") && first.contains(allowed), "{text:?}: {said}");
    }
}

#[test]
fn a_key_without_the_space_before_its_value_is_recognised() {
    let said = faults("listeners:\n  - address:0.0.0.0:502\nbuses: []\n");
    assert!(
        said.contains("found address:0.0.0.0:502 (a space is missing after address:); allowed: a mapping"),
        "{said}"
    );
    let said = faults("listeners:\n  - somewhere:502\nbuses: []\n");
    assert!(said.contains("found somewhere:502; allowed: a mapping"), "{said}");
}

#[test]
fn nesting_without_end_is_refused() {
    let text = "a: [[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]
";
    let expected = "m.yaml:1:19: error: a[0][0][0][0][0][0][0][0][0][0][0][0][0][0][0]: lists and mappings are nested too deeply; allowed: 16 levels
 1 | a: [[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]
   |                   ^
m.yaml: 1 error";
    assert_eq!(faults(text), expected);
}

#[test]
fn control_characters_are_refused() {
    let text = "listeners:
  - address: 0.0.0.0:502
buses:
  - name: riser\u{0}-a
    device: /dev/ttyS0
    units:
      - id: 1
";
    let expected =
        "m.yaml:4:16: error: found a control character; allowed: printable text, spaces and ends of line
 4 |   - name: riser -a
   |                ^
m.yaml: 1 error";
    assert_eq!(faults(text), expected);
}

#[test]
fn a_file_that_is_not_there_is_refused_by_its_name() {
    let problems = load(Path::new("/nonexistent/metergate.yaml")).unwrap_err();
    let expected =
        "/nonexistent/metergate.yaml: error: the file cannot be read: No such file or directory (os error 2); `--config FILE` names another, and `metergate scan /dev/ttyUSB0 > metergate.yaml` makes a first one
/nonexistent/metergate.yaml: 1 error";
    assert_eq!(problems.to_string(), expected);
}

#[test]
fn bytes_that_are_no_utf8_are_shown_where_they_stand() {
    let file = Scratch::new("latin1", b"log_level: info\nname: Z\xe4hler\n");
    let expected = "m.yaml:2:8: error: found the byte E4; allowed: text saved as UTF-8
 2 | name: Z\u{fffd}hler
   |        ^
m.yaml: 1 error";
    assert_eq!(file.faults(), expected);
}

#[test]
fn utf16_is_called_by_its_name() {
    let file = Scratch::new("utf16", b"\xff\xfea\0:\0");
    assert!(
        file.faults().starts_with("m.yaml:1:1: error: found UTF-16 text; allowed: text saved as UTF-8\n")
    );
}

#[test]
fn a_file_of_one_mebibyte_is_read_and_one_more_byte_is_refused() {
    let most = 1024 * 1024;
    let mut text = MINIMAL.to_owned();
    text.push_str(&"#".repeat(most - text.len()));
    assert!(load(&Scratch::new("full", text.as_bytes()).0).is_ok());
    text.push('#');
    let expected = "m.yaml: error: the file is larger than 1024 KiB; allowed: up to that\nm.yaml: 1 error";
    assert_eq!(Scratch::new("large", text.as_bytes()).faults(), expected);
    assert_eq!(faults(&text), expected);
}
