//! What is published over MQTT in words: how many messages and bytes a day.
//!
//! `check` prints it as YAML comments below the configuration. Nothing is resolved and nothing is opened for it.

use std::time::Instant;

use crate::config::{Broker, Config};
use crate::document::show;
use crate::publisher::{Plan, Volume, devices};

/// What is published at each broker, each line a YAML comment.
#[must_use]
pub(super) fn describe(config: &Config, now: Instant) -> String {
    config.brokers.iter().map(|broker| describe_broker(config, broker, now)).collect()
}

fn describe_broker(config: &Config, broker: &Broker, now: Instant) -> String {
    let plan = Plan::new(config, broker, String::new(), now);
    let Volume { units, blocks, points, messages, bytes } = plan.volume();
    let (connection, publication) = (&broker.connection, &broker.publication);
    let below = match &publication.sparkplug {
        None => format!("below the topic {}", publication.topic),
        Some(_) => format!("at {}/#, {} devices", publication.topic, devices(&plan).len()),
    };
    let at_most = if publication.sparkplug.is_some() { "at most" } else { "about" };
    let discovery = plan.discovery().map(|filter| format!("#   Home Assistant's discovery at {filter}\n"));
    let volume = format!(
        "# MQTT at {} as {}, {below}\n#   {points} points in {blocks} blocks of {units} units every {}: \
         {at_most} {messages} messages and {} a day\n",
        connection.address,
        connection.client_id,
        show(publication.every),
        size(bytes),
    );
    volume + &discovery.unwrap_or_default()
}

/// `12.3 MB`, `830 kB`.
fn size(bytes: u64) -> String {
    match bytes {
        0..MEGABYTE => format!("{} kB", bytes.div_ceil(1000)),
        MEGABYTE.. => format!("{}.{} MB", bytes / MEGABYTE, bytes % MEGABYTE * 10 / MEGABYTE),
    }
}

const MEGABYTE: u64 = 1_000_000;
