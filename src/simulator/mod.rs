//! Simulated meters on a pseudo terminal that keeps the time of the wire, and scenarios of what goes wrong.
//!
//! Owns what stands in for a line of meters where there is none. The gateway knows nothing of it.

pub mod chain;
mod demand;
pub mod fault_schedule;
pub mod link;
mod load;
mod measure;
mod medium;
pub mod meter;
mod meter_state;
mod outage;
mod phasor;
mod quantity;
mod registers;
mod rng;
pub mod scenario;
pub mod section;
mod service;
pub mod settings;
mod setup;
pub mod wire;
