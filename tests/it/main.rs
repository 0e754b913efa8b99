//! All integration tests in one program, so that the library is linked once. A module per subject, named like the module
//! of `src/` it is about where there is one; what several of them use stands in `support`.
//!
//! Tests here share a process: none changes what belongs to the process as a whole, such as its limits, its
//! environment or its current directory. A test that must is a program of its own, such as `tests/descriptors.rs`.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

mod architecture;
mod audit_file;
mod cli;
mod client;
mod config;
mod events;
mod findings;
mod fuzz_findings;
mod gateway;
mod line;
mod meter;
mod modbus;
mod mqtt;
mod page;
mod publisher;
mod runtime;
mod scan;
mod serial;
mod server;
mod simulator;
mod sparkplug;
mod status;
mod traffic;
