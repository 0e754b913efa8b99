//! The running gateway, as the built program.

mod audit;
mod daemon;
mod events;
mod listeners;
mod nothing_blocks;
mod notify;
mod reload;
mod serial_client;
mod snapshot;
mod upstream;
