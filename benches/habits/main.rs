//! What it costs a line that clients read point by point: how long a walk over all points takes, and how much of the
//! line it needs.
//!
//! `cargo bench --bench habits` runs all of it, `-- profile` only what is called so; `-- --check` makes a missed target
//! an error. In all some three minutes.

use std::process::ExitCode;

use shared::{client, figures, gateway, table, wire};

#[path = "../shared/mod.rs"]
mod shared;

mod walks;

const PARTS: [table::Part; 2] = [("with_profile", walks::with_profile), ("without", walks::without_profile)];

fn main() -> ExitCode {
    table::run(&PARTS)
}
