//! Serial ports, and the task that drives the line of a bus.
//!
//! Owns the port and the task: opens it, hands its bytes to the [`Line`](crate::line::state_machine::Line), does what
//! the line asks for, and publishes its view. What is sent to a meter is decided in `line`.

pub mod bus_task;
pub mod clock;
mod direction;
pub mod handle;
pub mod ioctl;
pub mod port;
pub mod port_view;
pub mod settings;
pub mod supervision;
pub mod watchdog;
