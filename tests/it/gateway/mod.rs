//! The running gateway, as the built program.

mod audit;
mod daemon;
mod notify;
mod reload;
mod snapshot;
