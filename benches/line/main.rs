//! What the gateway costs, measured against a bare client on the same simulated line in the same run.
//!
//! `cargo bench --bench line` runs all of it, `-- crowd` only what is called so; `-- --check` makes a missed
//! target an error, which a busy machine does not deserve. Each part is bounded in time; in all some six
//! minutes. It never tunes the gateway: what is not a default is written in `shared/gateway.rs`.

use std::process::ExitCode;

use shared::{client, clock, figures, gateway, table, wire};

mod crowd;
mod dead_unit;
mod deadline;
mod full_line;
mod ignored;
mod latency;
mod reference;
#[path = "../shared/mod.rs"]
mod shared;

const PARTS: [table::Part; 6] = [
    ("full_line", full_line::measure),
    ("dead_unit", dead_unit::measure),
    ("ignored", ignored::measure),
    ("deadline", deadline::measure),
    ("crowd", crowd::measure),
    ("latency", latency::measure),
];

fn main() -> ExitCode {
    table::run(&PARTS)
}
