//! One edge node of Sparkplug B 3.0 that only reads: births, deaths, data, and the order in which they are sent.
//!
//! Owns bdSeq, seq, aliases, which devices were born, and what waits to be sent. Knows neither meters nor brokers:
//! `publisher` says which devices there are and what was read, `mqtt` connects and sends. The only command obeyed is
//! `Node Control/Rebirth`. Time is an argument.
//! Source: Eclipse Sparkplug 3.0.0, chapters 4 to 6; docs/sparkplug.md has the rules by their identifiers.
//!
//! `payload` is the encoding, `metric` a metric and its last value, `device` a device with its metrics and what waits
//! of it, `primary_host` the host that births wait for, `edge_node` all of them.

mod device;
mod edge_node;
mod metric;
mod payload;
mod primary_host;

pub use device::{DeviceDefinition, Meter};
pub use edge_node::{Counts, EdgeNode, Ids, Outgoing, Received};
pub use metric::{DataType, MetricDefinition, Quality, Taken, millis};
pub use payload::{Metric, MetricValue, Payload, PropertySet, PropertyValue, PropertyValueKind};

/// A name as an identifier of Sparkplug, which is a level of topics: `/`, `+` and `#` become `_`.
#[must_use]
pub fn identifier(name: &str) -> String {
    name.replace(['/', '+', '#'], "_")
}
