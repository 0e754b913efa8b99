//! The commands, as the built program.

mod demo;
mod docs;
mod export;
mod field_cases;
mod gateway;
mod here;
mod instances;
mod odd_meters;
mod read;
mod scenario;
mod setup;
mod start;
mod tls;
mod token;
