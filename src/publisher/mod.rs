//! What is published over MQTT, and when: topics, payloads, Home Assistant's discovery, devices of Sparkplug.
//!
//! Owns the topics and the shape of the messages, which stay; `docs/mqtt.md` explains them. Values are those of the
//! published snapshot, decoded as pages and metrics decode them, each with the instant its request began to be sent.
//! Never reads a clock, waits or connects: `mqtt` delivers, the gateway has the clocks.
//!
//! `plan` is what the configuration makes of a broker's entry; `readings` chooses the transactions; `publisher` has the
//! times; `sink` has the forms, `home_assistant` and `announcements` its discovery, `sparkplug` the devices and types of
//! metrics.

mod announcements;
pub mod home_assistant;
mod plan;
#[expect(clippy::module_inception, reason = "the module is named after its main type")]
mod publisher;
mod readings;
mod sink;
mod sparkplug;

pub use plan::{Plan, Volume};
pub use publisher::{Publisher, StateTracks};
pub use sink::Clocks;
pub use sparkplug::devices;
