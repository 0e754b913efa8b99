//! The status pages, the API and the metrics as they are served.

mod address;
mod first_data;
mod history;
mod http;
mod https;
mod metrics;
mod page;
mod readings;
mod serial_client;
mod unreachable;
