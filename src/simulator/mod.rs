//! Simulated meters on a pseudo terminal that keeps the timing of the wire, and scenarios of faults.
//!
//! Owns the substitute for a line of meters. The gateway has no knowledge of it.

pub mod chain;
mod demand;
pub mod fault_schedule;
mod link;
mod load;
mod measure;
mod medium;
mod meter;
mod meter_state;
mod outage;
mod phasor;
mod quantity;
mod registers;
mod rng;
pub mod scenario;
pub mod section;
mod service;
mod settings;
mod setup;
mod wire;

pub use chain::Chain;
pub use link::DeviceLink;
pub use meter::{Meter, START};
pub use section::{Load, Scenario};
pub use settings::{ChainSettings, Fault, FaultKind, MeterSettings, Phase, Shape, SystemType};
pub use wire::{Counters, Wire};
