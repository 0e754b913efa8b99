//! The status pages: the model in, HTML out.
//!
//! Owns the order, the words and the drawing. It uses no task and no clock, and decides no fault: faults are in the
//! model. Unknown values are shown as unknown. Reasons: docs/design.md, "The status page".
//!
//! `overview` is the first page (`bus_section`: a line and the table of its meters; `clients`; `events`), `meter` the
//! page of one meter.

mod assets;
mod brokers;
mod bus_section;
mod clients;
mod events;
mod findings;
mod format;
mod layout;
mod meter;
mod meter_link;
mod meters;
mod overview;
mod phases;
mod plot;
mod quantity;
mod scale;
mod time_axis;
mod view;

pub use assets::{ASSETS, Asset};
pub use layout::{Part, notice};
pub use meter::{MeterView, meter};
pub use meter_link::{MeterLink, escape_query};
pub use overview::overview;
pub use view::{OverviewView, Refresh, ViewQuery};
