//! The running gateway, as the built program.

mod audit;
mod daemon;
mod listeners;
mod notify;
mod reload;
mod snapshot;
