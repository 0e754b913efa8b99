//! Listeners and connections: on in-memory pipes with a clock that is stepped, and on real sockets.

mod connections;
mod listener;
mod pipelined;
mod requests_and_replies;
mod rtu_over_tcp;
mod rules;
mod serial_client;
mod serial_client_task;
mod simulated_serial_client;
mod tls;
