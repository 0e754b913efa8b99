//! The cost of TLS: memory of 500 clients, and what hostile handshakes cost plain clients.
//!
//! `cargo bench --bench tls` runs all parts, `-- memory` only those with that name; with `-- --check` a missed target is
//! an error. Each part is bounded in time; about two minutes in total. It needs an idle machine.

use std::process::ExitCode;

use shared::{figures, gateway, table, wire};

#[path = "../snapshot/load.rs"]
#[allow(dead_code, reason = "the other bench uses the rest")]
mod load;
#[path = "../shared/mod.rs"]
mod shared;

mod flood;
mod handshakes;
mod memory;
mod site;

const PARTS: [table::Part; 2] = [("memory", memory::measure), ("handshakes", handshakes::measure)];

fn main() -> ExitCode {
    table::run(&PARTS)
}
