//! The cost of publishing over MQTT: a gateway that publishes 60 points of 247 meters on eight lines every ten seconds,
//! beside one on lines like them that does not; as JSON, then as an edge node of Sparkplug whose values all move.
//!
//! `cargo bench --bench publishing` runs all parts, `-- silence` only those with that in their names; with `-- --check` a
//! missed target is an error. Each part is bounded in time; about eight minutes in total. It needs an idle machine.

use std::process::ExitCode;

use shared::{client, figures, gateway, table, wire};

#[path = "../../tests/it/support/at_last.rs"]
mod at_last;
#[path = "../snapshot/load.rs"]
#[allow(dead_code, reason = "the other bench uses the rest")]
mod load;
#[path = "../../tests/it/support/mqtt_broker.rs"]
#[allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "the tests use the rest")]
mod mqtt_broker;
#[path = "../shared/mod.rs"]
mod shared;
#[path = "../viewers/viewers.rs"]
#[allow(dead_code, reason = "the other bench uses the rest")]
mod viewers;

mod cost;
mod silence;
mod site;
mod throughput;

const PARTS: [table::Part; 6] = [
    ("cost", cost::of_json),
    ("throughput", throughput::of_json),
    ("silence", silence::of_json),
    ("sparkplug-cost", cost::of_sparkplug),
    ("sparkplug-throughput", throughput::of_sparkplug),
    ("sparkplug-silence", silence::of_sparkplug),
];

fn main() -> ExitCode {
    table::run(&PARTS)
}

/// The meters of all lines together.
const UNIT_COUNT: usize = 247;
