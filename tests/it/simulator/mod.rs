//! The simulated meters, their line and their scenarios.

mod chain;
mod faults;
mod meter;
mod physics;
mod scenario;
mod scenario_runs;
mod state;
mod wire;
