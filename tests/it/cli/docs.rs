//! Every command line printed in README and docs is one that the program takes.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use clap::error::ErrorKind;
use metergate::cli::args::Args;

fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let docs = docs.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let others = ["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(|name| root.join(name));
    docs.chain(others).collect()
}

/// Where a command is printed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// To be pasted.
    Block,
    /// Within a sentence, which may leave out its target.
    Text,
}

/// The shell lines of a page, and its code in running text.
fn shell_lines(text: &str) -> Vec<(Place, String)> {
    let mut found = Vec::new();
    for (index, part) in text.split("```").enumerate() {
        if index % 2 == 1 {
            let (kind, body) = part.split_once('\n').unwrap_or_default();
            let prompt = |line: &str| line.strip_prefix("$ ").map(str::to_owned);
            let lines: Vec<String> = match kind {
                "sh" => body.lines().map(str::to_owned).collect(),
                "text" => body.lines().filter_map(prompt).collect(),
                _ => continue,
            };
            found.extend(lines.into_iter().map(|line| (Place::Block, line)));
        } else {
            let spans = part.split('`').skip(1).step_by(2);
            found.extend(spans.map(|span| (Place::Text, span.replace('\n', " "))));
        }
    }
    found
}

/// The calls of metergate in a shell line, each as its words. Placeholders stay out of it.
fn calls(line: &str) -> Vec<Vec<String>> {
    let line = line.split(" #").next().unwrap_or_default();
    let parts = line.split(['|', ';', '>']).flat_map(|part| part.split("&&"));
    let call = |part: &str| {
        let words: Vec<String> = part
            .split_whitespace()
            .skip_while(|word| matches!(*word, "sudo" | "do"))
            .map(|word| word.replace(['\'', '"'], ""))
            .collect();
        let is_whole = words
            .iter()
            .skip(1)
            .all(|word| word.chars().any(|c| c.is_lowercase() || c.is_numeric() || c == '-'));
        (words.first().is_some_and(|word| word == "metergate") && words.len() > 1 && is_whole)
            .then_some(words)
    };
    parts.filter_map(call).collect()
}

#[test]
fn every_printed_command_is_one_the_program_takes() {
    let (mut seen, mut wrong) = (0, Vec::new());
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for (place, line) in shell_lines(&text) {
            for words in calls(&line) {
                // What a shell puts in.
                let words: Vec<String> = words.iter().map(|word| word.replace("$unit", "1")).collect();
                seen += 1;
                let Err(error) = Args::try_parse_from(&words) else { continue };
                let is_shortened = place == Place::Text && error.kind() == ErrorKind::MissingRequiredArgument;
                if error.use_stderr() && !is_shortened {
                    wrong.push(format!("{}: {}\n{error}", page.display(), words.join(" ")));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 100, "{seen} commands were found");
}
