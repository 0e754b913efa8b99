//! The simulated serial line of `line/simulation.rs`. It names nothing outside this folder.
//!
//! `rng` draws, `swarm` decides what a seed is about, `unit` and `wire` are the world, `answers` is what can
//! go wrong with an answer, `traffic` is what clients ask, `polling` what is read without them, `invariants` and `own`
//! hold the promises, `record_log` what the records must say, `world` runs it all. `client_line` is the line of a serial
//! client, where a run has one.
//!
//! One thing is left out on purpose, because nothing on a serial line can tell it apart: an answer that comes
//! later than the late guard. Late answers here begin before the guard ends. Another on the line of a serial client:
//! whether a request to another server that equals its own answer is one, or a late answer. Nothing is expected of it.

mod answers;
mod client_line;
mod invariants;
mod own;
mod polling;
mod record_log;
mod rng;
mod swarm;
mod traffic;
mod unit;
mod upstream;
mod wire;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub(crate) use client_line::{ClientGateway, ClientListener, ClientTally};
pub(crate) use record_log::LimitedAnswers;
pub(crate) use rng::Rng;
pub(crate) use world::NewGateway;

/// Runs one seed, and gives what became of limited answers in it.
///
/// # Errors
/// What promise was broken, when, and how to run it again.
pub(crate) fn run(seed: u64) -> Result<LimitedAnswers, String> {
    let again = "cargo test --test it simulation::seeded";
    run_with(again, seed, FarEnd::Wire, None).map(|(limited, _)| limited)
}

/// The same with a Modbus TCP server in place of the wire.
///
/// # Errors
/// As [`run`].
pub(crate) fn run_upstream(seed: u64) -> Result<(), String> {
    let again = "cargo test --test it simulation::upstream";
    run_with(again, seed, FarEnd::Server, None).map(|_| ())
}

/// The same with a serial client beside the others, on a wire or a Modbus TCP server. `gateway` makes what is between
/// the client's port and the bus; `again` runs the test.
///
/// # Errors
/// As [`run`].
pub(crate) fn run_serial_client(seed: u64, gateway: NewGateway, again: &str) -> Result<ClientTally, String> {
    let far_end = if rng::mix(seed).is_multiple_of(5) { FarEnd::Server } else { FarEnd::Wire };
    run_with(again, seed, far_end, Some(gateway)).map(|(_, tally)| tally)
}

/// What the machine is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FarEnd {
    Wire,
    Server,
}

fn run_with(
    again: &str,
    seed: u64,
    far_end: FarEnd,
    gateway: Option<NewGateway>,
) -> Result<(LimitedAnswers, ClientTally), String> {
    let outcome = catch_unwind(AssertUnwindSafe(|| world::World::new(seed, far_end, gateway).run()));
    let fault = match outcome {
        Ok(Ok(outcome)) => return Ok(outcome),
        Ok(Err(fault)) => fault,
        Err(_) => "panicked (see above)".into(),
    };
    Err(format!(
        "seed {seed}: {fault}\n  again: METERGATE_FIRST_SEED={seed} METERGATE_SEEDS=1 METERGATE_TRACE=1 {again} -- --nocapture"
    ))
}
