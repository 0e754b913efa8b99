//! The simulated serial line of `bus/simulation.rs`. It names nothing outside this folder.
//!
//! `rng` draws, `swarm` decides what a seed is about, `unit` and `wire` are the world, `answers` is what can
//! go wrong with an answer, `traffic` is what clients ask, `polling` what is read without them, `invariants` and `own`
//! hold the promises, `record_log` what the records must say, `world` runs it all.
//!
//! One thing is left out on purpose, because nothing on a serial line can tell it apart: an answer that comes
//! later than the late guard. Late answers here begin before the guard ends.

mod answers;
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

pub(crate) use record_log::LimitedAnswers;
pub(crate) use rng::Rng;

/// Runs one seed, and gives what became of limited answers in it.
///
/// # Errors
/// What promise was broken, when, and how to run it again.
pub(crate) fn run(seed: u64) -> Result<LimitedAnswers, String> {
    run_with(seed, FarEnd::Wire)
}

/// The same with a Modbus TCP server in place of the wire.
///
/// # Errors
/// As [`run`].
pub(crate) fn run_upstream(seed: u64) -> Result<(), String> {
    run_with(seed, FarEnd::Server).map(|_| ())
}

/// What the machine is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FarEnd {
    Wire,
    Server,
}

fn run_with(seed: u64, far_end: FarEnd) -> Result<LimitedAnswers, String> {
    let outcome = catch_unwind(AssertUnwindSafe(|| world::World::new(seed, far_end).run()));
    let fault = match outcome {
        Ok(Ok(limited)) => return Ok(limited),
        Ok(Err(fault)) => fault,
        Err(_) => "panicked (see above)".into(),
    };
    let test = match far_end {
        FarEnd::Wire => "seeded",
        FarEnd::Server => "upstream",
    };
    Err(format!(
        "seed {seed}: {fault}\n  again: METERGATE_FIRST_SEED={seed} METERGATE_SEEDS=1 METERGATE_TRACE=1 \
         cargo test --test it simulation::{test} -- --nocapture"
    ))
}
