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
mod overview;
mod plot;
mod scale;

pub use assets::{ASSETS, Asset};
pub use layout::{Part, notice};
pub use meter::meter;
pub use meter_link::{MeterLink, escape_query};
pub use overview::overview;
