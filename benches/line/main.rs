//! What the gateway costs, measured against a bare client on the same simulated line in the same run.
//!
//! `cargo bench --bench line` runs all of it, `-- crowd` only what is called so; `-- --check` makes a missed
//! target an error, which a busy machine does not deserve. Each part is bounded in time; in all some three
//! minutes. It never tunes the gateway: what is not a default is written in `gateway.rs`.

use std::process::ExitCode;

mod client;
mod clock;
mod crowd;
mod dead_unit;
mod figures;
mod full_line;
#[allow(dead_code, reason = "the other benches use the rest")]
mod gateway;
mod latency;
mod reference;
mod table;
mod wire;

const PARTS: [table::Part; 4] = [
    ("full_line", full_line::measure),
    ("dead_unit", dead_unit::measure),
    ("crowd", crowd::measure),
    ("latency", latency::measure),
];

fn main() -> ExitCode {
    table::run(&PARTS)
}
