//! What a read from the snapshot costs, measured beside a bare TCP server that returns a prebuilt reply of the
//! same size in the same run: the ceiling of what this machine's sockets can do.
//!
//! `cargo bench --bench snapshot` runs all of it, `-- throughput` only what is called so; `-- --check` makes a
//! missed target an error. Each part is bounded in time; in all some three minutes.

use std::process::ExitCode;

#[path = "../line/clock.rs"]
#[allow(dead_code, reason = "the other bench uses the rest")]
mod clock;
#[path = "../line/figures.rs"]
#[allow(dead_code, reason = "the other bench uses the rest")]
mod figures;
#[path = "../line/gateway.rs"]
#[allow(dead_code, reason = "the other bench uses the rest")]
mod gateway;
#[path = "../line/table.rs"]
mod table;
#[path = "../line/wire.rs"]
#[allow(dead_code, reason = "the other bench uses the rest")]
mod wire;

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
