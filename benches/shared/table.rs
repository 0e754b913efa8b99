//! The table a bench prints: which parts of it run, each figure beside its target, and how it ends.

#![allow(clippy::print_stdout, reason = "a bench prints its table")]

use std::process::ExitCode;

use super::figures::Row;

/// A part of the bench: its name, and the function that measures it.
pub(crate) type Part = (&'static str, fn() -> Vec<Row>);

/// Runs the parts named on the command line, or all, and prints their rows. With `--check` a missed target is an error.
pub(crate) fn run(parts: &[Part]) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // Cargo itself adds `--bench`.
    let names: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    let mut missed = false;
    println!("| part | what | measured | target | |");
    println!("| --- | --- | --- | --- | --- |");
    for (name, measure) in parts {
        if !names.is_empty() && !names.iter().any(|wanted| name.contains(wanted.as_str())) {
            continue;
        }
        for row in measure() {
            let Row { what, measured, target, reached } = row;
            let verdict = match reached {
                None => "",
                Some(true) => "ok",
                Some(false) => "MISSED",
            };
            missed |= reached == Some(false);
            println!("| {name} | {what} | {measured} | {target} | {verdict} |");
        }
    }
    let check = arguments.iter().any(|argument| argument == "--check");
    if check && missed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
