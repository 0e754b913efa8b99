//! The cost of viewers and Prometheus to the clients of a gateway: throughput of the snapshot, the silence on the line,
//! memory.
//!
//! `cargo bench --bench viewers` runs all parts, `-- silence` only those with that name; with `-- --check` a missed
//! target is an error. Each part is bounded in time; about four minutes in total. It needs an idle machine.

use std::process::ExitCode;

use shared::{client, figures, gateway, table, wire};

#[path = "../snapshot/load.rs"]
#[allow(dead_code, reason = "the other bench uses the rest")]
mod load;
#[path = "../../tests/it/support/published.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "the tests use the rest")]
mod published;
#[path = "../shared/mod.rs"]
mod shared;

mod memory;
mod past;
mod silence;
mod throughput;
mod viewers;

const PARTS: [table::Part; 3] =
    [("throughput", throughput::measure), ("silence", silence::measure), ("memory", memory::measure)];

fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == past::FILL) {
        return past::fill();
    }
    table::run(&PARTS)
}

/// As many units as a line can have, all of them polled.
const UNITS: &str = "{id: 1-247, profile: leviton-4000r}";

/// Their number.
const UNIT_COUNT: usize = 247;
