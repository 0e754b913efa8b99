//! The commands, as the built program.

mod gateway;
mod here;
mod odd_meters;
mod read;
mod scenario;
mod start;
