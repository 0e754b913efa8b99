//! The line time of clients that read point by point: how long a walk over all points takes, and its share of the line.
//!
//! `cargo bench --bench habits` runs all parts, `-- profile` only those with that name; with `-- --check` a missed
//! target is an error. About three minutes in total.

use std::process::ExitCode;

use shared::{client, figures, gateway, table, wire};

#[path = "../shared/mod.rs"]
mod shared;

mod walks;

const PARTS: [table::Part; 2] = [("with_profile", walks::with_profile), ("without", walks::without_profile)];

fn main() -> ExitCode {
    table::run(&PARTS)
}
