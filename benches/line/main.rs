//! What the gateway costs, measured against a bare client on the same simulated line in the same run.
//!
//! `cargo bench --bench line` runs all of it, `-- crowd` only what is called so; `-- --check` makes a missed
//! target an error, which a busy machine does not deserve. Each part is bounded in time; in all some three
//! minutes. It never tunes the gateway: what is not a default is written in `shared/gateway.rs`.

use std::process::ExitCode;

use shared::{client, clock, figures, gateway, table, wire};

mod crowd;
mod dead_unit;
mod full_line;
mod latency;
mod reference;
#[path = "../shared/mod.rs"]
mod shared;

const PARTS: [table::Part; 4] = [
    ("full_line", full_line::measure),
    ("dead_unit", dead_unit::measure),
    ("crowd", crowd::measure),
    ("latency", latency::measure),
];

fn main() -> ExitCode {
    table::run(&PARTS)
}
