//! What a read from the snapshot costs, measured beside a bare TCP server that returns a prebuilt reply of the
//! same size in the same run: the ceiling of what this machine's sockets can do.
//!
//! `cargo bench --bench snapshot` runs all of it, `-- throughput` only what is called so; `-- --check` makes a
//! missed target an error. Each part is bounded in time; in all some three minutes.

use std::process::ExitCode;

use shared::{figures, gateway, table, wire};

#[path = "../shared/mod.rs"]
mod shared;

mod ceiling;
mod load;
mod memory;
mod throughput;
mod traffic;

const PARTS: [table::Part; 3] =
    [("throughput", throughput::measure), ("traffic", traffic::measure), ("memory", memory::measure)];

fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == ceiling::SERVE) {
        return ceiling::serve();
    }
    table::run(&PARTS)
}
