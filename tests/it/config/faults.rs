//! The limits of messages about a faulty configuration file; see `golden` for their contents.

use metergate::config::{MAX_ERRORS, parse};

#[test]
fn the_errors_of_one_file_are_bounded_and_counted() {
    let many = MAX_ERRORS + 5;
    let mut text: String = (0..many).map(|key| format!("key{key}: 1\n")).collect();
    text.push_str(
        "listeners: [{address: 0.0.0.0:502}]\nbuses: [{name: a, device: /dev/ttyS0, units: [{id: 1}]}]\n",
    );
    let problems = parse(&text, "m.yaml").unwrap_err();
    assert_eq!(problems.errors().len(), MAX_ERRORS);
    assert!(problems.to_string().ends_with("\nm.yaml: 1000 errors or more"));
}

#[test]
fn of_a_very_long_line_only_the_surroundings_are_shown() {
    let text = format!("{{{}buse: 1}}\n", " ".repeat(100_000));
    let problems = parse(&text, "m.yaml").unwrap_err();
    let unknown = problems.errors().iter().find(|error| error.key() == "buse").unwrap();
    assert_eq!(unknown.column(), Some(100_002));
    let expected = format!("\n1 | {0}buse: 1}}\n  | {0}^^^^\n", " ".repeat(60));
    assert!(unknown.to_string().contains(&expected), "{unknown}");
}
