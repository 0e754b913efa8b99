//! Messages about a file that is not usable YAML, or that cannot be read at all.

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
    let expected = "error: the file is empty
 --> m.yaml:1:1
  |
1 |
  | ^
  = help: allowed: a file with `listeners:` and `buses:`

m.yaml: 1 error";
    assert_eq!(faults(""), expected);
}

#[test]
fn whatever_breaks_the_syntax_comes_with_what_would_be_right() {
    for (text, place, help) in [
        ("a: 1\nb:\tc\n d: 2\n", "3:2", "begin it without spaces, under `a` of line 1"),
        ("a: x\n\tb: 2\n", "2:1", "indent with spaces"),
        ("a: %x\n", "1:4", "write `a: \"%x\"`"),
        ("a: @x\n", "1:4", "write `a: \"@x\"`"),
        ("a: *x\n", "1:4", "write `a: \"*x\"`"),
        ("a: &\n", "1:4", "write `a: \"&\"`"),
        ("a: |x\n", "1:4", "write `a: \"|x\"`"),
        ("a: !<x\n", "1:4", "write `a: \"!<x\"`"),
        ("%x\na: 1\n", "1:1", "put text that begins"),
        ("a: \"C:\\x\"\n", "1:4", "put text with backslashes in single quotes"),
        ("a: 'x\n", "1:4", "write `a: 'x'`"),
        ("a: \"x\" y\n", "1:8", "write `a: \"x y\"`"),
        ("name: Panel: 1\n", "1:12", "write `name: \"Panel: 1\"`"),
        ("a: [1, 2\n", "1:4", "put `]` behind its last value"),
        ("a: {b: 1\n", "1:4", "put `}` behind its last value"),
        ("a: ]\n", "1:4", "delete this `]`"),
        ("a: - b\n", "1:4", "put each `- ` in a line of its own"),
        ("a: 1\n  b: 2\n c: 3\n", "2:3", "begin it without spaces, under `a` of line 1"),
        (
            "a:\n  b: 1\n c: 2\n",
            "3:2",
            "begin it without spaces, under `a` of line 1, or with 2 spaces, under `b` of line 2",
        ),
        ("a: 1\nb\nc: 2\n", "2:1", "write `key: value`"),
        ("  a: 1\nb: 2\n", "1:1", "delete the 2 spaces before it"),
        ("{a: 1}\nb: 2\n", "2:1", "each in one column"),
        ("a:\n  - name:riser-a\n    device: /dev/x\n", "2:5", "put a space after the colon: `name: riser-a`"),
    ] {
        let said = faults(text);
        assert!(said.contains(&format!("--> m.yaml:{place}\n")), "{text:?}: {place}\n{said}");
        assert!(said.contains("= help: ") && said.contains(help), "{text:?}: {said}");
    }
}

#[test]
fn a_file_that_is_not_there_is_refused_by_its_name() {
    let problems = load(Path::new("/nonexistent/metergate.yaml")).unwrap_err();
    let expected = "error: the file cannot be read: No such file or directory (os error 2)
--> /nonexistent/metergate.yaml
 = help: `--config FILE` names another, and `metergate scan /dev/ttyUSB0 > metergate.yaml` makes a first one

/nonexistent/metergate.yaml: 1 error";
    assert_eq!(problems.to_string(), expected);
}

#[test]
fn bytes_that_are_no_utf8_are_shown_where_they_stand() {
    let file = Scratch::new("latin1", b"log_level: info\nname: Z\xe4hler\n");
    let expected = "error: found the byte E4
 --> m.yaml:2:8
  |
2 | name: Z\u{fffd}hler
  |        ^
  = help: allowed: text saved as UTF-8, which the editor offers when saving

m.yaml: 1 error";
    assert_eq!(file.faults(), expected);
}

#[test]
fn utf16_is_called_by_its_name() {
    let file = Scratch::new("utf16", b"\xff\xfea\0:\0");
    assert!(file.faults().starts_with("error: found UTF-16 text\n --> m.yaml:1:1\n"), "{}", file.faults());
}

#[test]
fn a_file_of_one_mebibyte_is_read_and_one_more_byte_is_refused() {
    let most = 1024 * 1024;
    let mut text = MINIMAL.to_owned();
    text.push_str(&"#".repeat(most - text.len()));
    assert!(load(&Scratch::new("full", text.as_bytes()).0).is_ok());
    text.push('#');
    let expected = "error: the file is larger than 1024 KiB\n--> m.yaml\n = help: is it the right file?\n\nm.yaml: 1 error";
    assert_eq!(Scratch::new("large", text.as_bytes()).faults(), expected);
    assert_eq!(faults(&text), expected);
}
