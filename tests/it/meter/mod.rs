//! Profiles of meters, and registers into values.

mod builtin;
mod decode;
mod docs;
mod faults;
mod figures;
mod formats;
mod other_meters;
