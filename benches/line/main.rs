//! The cost of the gateway, measured against a bare client on the same simulated line in the same run.
//!
//! `cargo bench --bench line` runs all parts, `-- crowd` only those with that name; with `-- --check` a missed target
//! is an error, which needs an idle machine. Each part is bounded in time; about six minutes in total. The gateway is
//! not tuned: settings other than the defaults are in `shared/gateway.rs`.

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
mod upstream;

const PARTS: [table::Part; 7] = [
    ("full_line", full_line::measure),
    ("dead_unit", dead_unit::measure),
    ("ignored", ignored::measure),
    ("deadline", deadline::measure),
    ("crowd", crowd::measure),
    ("latency", latency::measure),
    ("upstream", upstream::measure),
];

fn main() -> ExitCode {
    table::run(&PARTS)
}
