//! What is known of the gateway: one model, collected from what buses and listeners publish.
//!
//! Owns the [`model`] and how it is collected, the history of the last hours, which of several readings stands for a
//! quantity, and two of the model's views: metrics and the report of `doctor`. The JSON is the model itself, `page` lays
//! it out for people, `web` serves it. It never waits, never reads a clock, and judges nothing: that is `findings`.

mod collect;
mod current_findings;
pub mod doctor_report;
mod exposition;
pub mod history;
pub mod metrics;
pub mod model;
mod number;
pub mod published;
mod reading_metrics;
mod readings;
mod recent;
mod transactions;

pub use collect::{
    Depth, bus, bus_history, clients, findings, listener, status, status_for_pages, unit, unit_history,
};
pub use number::Number;
