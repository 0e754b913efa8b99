//! What the gateway costs, measured against a bare client on the same simulated line in the same run.
//!
//! `cargo bench --bench line` runs all of it, `-- crowd` only what is called so; `-- --check` makes a missed
//! target an error, which a busy machine does not deserve. Each part is bounded in time; in all some three
//! minutes. It never tunes the gateway: what is not a default is written in `gateway.rs`.

#![allow(clippy::print_stdout, reason = "a bench prints its table")]

use std::process::ExitCode;

use figures::Row;

mod client;
mod clock;
mod crowd;
mod dead_unit;
mod figures;
mod full_line;
mod gateway;
mod latency;
mod reference;
mod wire;

/// A part of the bench: its name, and what measures it.
type Part = (&'static str, fn() -> Vec<Row>);

const PARTS: [Part; 4] = [
    ("full_line", full_line::measure),
    ("dead_unit", dead_unit::measure),
    ("crowd", crowd::measure),
    ("latency", latency::measure),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // Cargo itself adds `--bench`.
    let names: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    let mut missed = false;
    println!("| part | what | measured | target | |");
    println!("| --- | --- | --- | --- | --- |");
    for (name, measure) in PARTS {
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
