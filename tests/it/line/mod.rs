//! What a bus decides, one rule each, at instants chosen by hand, and a simulation of everything at once.

mod background;
mod budget;
mod diagnostics;
mod event;
mod plan;
mod probes;
mod receive;
pub(crate) mod rules;
mod simulation;
mod snapshot;
