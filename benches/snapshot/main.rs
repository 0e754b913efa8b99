//! The cost of a read from the snapshot, measured beside a bare TCP server that returns a prebuilt reply of the same
//! size in the same run: the ceiling of this machine's sockets.
//!
//! `cargo bench --bench snapshot` runs all parts, `-- throughput` only those with that name; with `-- --check` a missed
//! target is an error. Each part is bounded in time; about three minutes in total.

use std::process::ExitCode;

use shared::{figures, gateway, table, wire};

#[path = "../shared/mod.rs"]
mod shared;

mod ceiling;
mod framing;
mod load;
mod memory;
mod rules;
mod throughput;
mod traffic;

const PARTS: [table::Part; 5] = [
    ("throughput", throughput::measure),
    ("framing", framing::measure),
    ("rules", rules::measure),
    ("traffic", traffic::measure),
    ("memory", memory::measure),
];

fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == ceiling::SERVE) {
        return ceiling::serve();
    }
    table::run(&PARTS)
}
