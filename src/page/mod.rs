//! The status pages: the model in, HTML out.
//!
//! Owns the order, the words and the drawing. It knows no task and no clock, and decides nothing: what is wrong is in the
//! model. What is not known is said to be not known. Source: docs/design.md, "The status page".

mod assets;
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
pub use view::{Refresh, View, ViewQuery};
