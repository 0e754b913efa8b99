//! What the tests of several subjects use.

pub(crate) mod at_last;
pub(crate) mod captured;
pub(crate) mod certificates;
pub(crate) mod clients;
pub(crate) mod counter_unit;
pub(crate) mod findings_case;
pub(crate) mod log;
pub(crate) mod mqtt_broker;
pub(crate) mod page;
pub(crate) mod page_fixture;
pub(crate) mod page_tags;
pub(crate) mod pcapng;
pub(crate) mod program;
pub(crate) mod published;
pub(crate) mod settings;
pub(crate) mod simulated_line;
pub(crate) mod simulation;
pub(crate) mod tcp_server;
pub(crate) mod terminal;
