//! Home Assistant: what it calls units and kinds of quantities, and the messages of its MQTT discovery.
//!
//! A device for each meter, below the gateway's; an entity for each point. Source: the documentation of its MQTT
//! integration ("MQTT discovery", "MQTT sensor") and of its sensor entity.
//!
//! Identifiers are the topics of the gateway, of its units and of its points, so that no two gateways share one. A
//! discovery topic has room for less: see `plan::discovery_level`.

use serde::{Deserialize, Serialize};

use super::plan::{Plan, PlannedBlock, PlannedUnit, quantity};
use super::sink::json;
use crate::meter::{Group, Point};
use crate::mqtt::Message;

#[derive(Serialize)]
struct Sensor {
    name: String,
    unique_id: String,
    state_topic: String,
    value_template: String,
    availability: [Availability; 2],
    availability_mode: &'static str,
    expire_after: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit_of_measurement: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_class: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_class: Option<&'static str>,
    suggested_display_precision: u8,
    device: Device,
    origin: Origin,
}

#[derive(Serialize)]
struct BinarySensor {
    name: &'static str,
    unique_id: String,
    state_topic: String,
    payload_on: &'static str,
    payload_off: &'static str,
    device_class: &'static str,
    entity_category: &'static str,
    device: Device,
    origin: Origin,
}

#[derive(Serialize)]
struct Availability {
    topic: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_template: Option<&'static str>,
}

#[derive(Serialize)]
struct Device {
    identifiers: [String; 1],
    name: String,
    model: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sw_version: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    via_device: Option<String>,
}

#[derive(Serialize)]
struct Origin {
    name: &'static str,
    sw_version: &'static str,
}

const ORIGIN: Origin = Origin { name: "metergate", sw_version: env!("CARGO_PKG_VERSION") };

/// The gateway itself, which the devices of the meters name as theirs.
pub(super) fn gateway(plan: &Plan, prefix: &str) -> Message {
    let sensor = BinarySensor {
        name: "Connection",
        unique_id: plan.publication.status_topic(),
        state_topic: plan.publication.status_topic(),
        payload_on: "online",
        payload_off: "offline",
        device_class: "connectivity",
        entity_category: "diagnostic",
        device: Device {
            identifiers: [plan.publication.topic.clone()],
            name: plan.site.clone(),
            model: "metergate".to_owned(),
            sw_version: Some(env!("CARGO_PKG_VERSION")),
            via_device: None,
        },
        origin: ORIGIN,
    };
    let topic = gateway_topic(plan, prefix).into();
    Message { topic, payload: json(&sensor), retained: true, begun: None }
}

/// One point of one meter.
pub(super) fn entity(
    plan: &Plan,
    prefix: &str,
    unit: &PlannedUnit,
    block: &PlannedBlock,
    point: &Point,
) -> Message {
    let (name, quantity) = (&point.name, quantity(point));
    let longest = plan.longest(block);
    let longest = longest.as_secs() + u64::from(longest.subsec_nanos() > 0);
    let sensor = Sensor {
        name: title(quantity),
        unique_id: format!("{}/{quantity}", unit.topic),
        state_topic: block.topic.to_string(),
        // A reading is published again until there is a newer one, and each message begins `expire_after` anew: so a
        // value counts by the age of its reading. A message may hold only a part of the block; for a point that it lacks
        // the template renders nothing, and the entity keeps its value. `values` is also a method of every dictionary, so
        // it is named as a key.
        value_template: format!(
            "{{{{ (value_json['values']['{name}'] if \
             (now() - as_datetime(value_json['time'])).total_seconds() < {longest} else 'None') \
             if '{name}' in value_json['values'] }}}}"
        ),
        availability: [
            Availability { topic: plan.publication.status_topic(), value_template: None },
            Availability { topic: unit.state_topic.to_string(), value_template: Some(IS_ANSWERING) },
        ],
        availability_mode: "all",
        expire_after: longest,
        unit_of_measurement: point.unit.and_then(self::unit),
        device_class: device_class(point.group, point.unit),
        state_class: state_class(point),
        suggested_display_precision: precision(point.group),
        device: Device {
            identifiers: [unit.topic.clone()],
            name: unit.title(),
            model: unit.profile.as_ref().map(|profile| profile.title.clone()).unwrap_or_default(),
            sw_version: None,
            via_device: Some(plan.publication.topic.clone()),
        },
        origin: ORIGIN,
    };
    let topic = format!("{}{}-{quantity}/config", entities_below(plan, prefix), unit.object_prefix()).into();
    Message { topic, payload: json(&sensor), retained: true, begun: None }
}

/// The filters of the discovery topics of the gateway and of its meters.
pub(super) fn filters(plan: &Plan, prefix: &str) -> [String; 2] {
    ["sensor", "binary_sensor"].map(|component| format!("{prefix}/{component}/{}/+/config", plan.node))
}

/// Whether something is announced at this topic.
pub(super) fn is_announced(plan: &Plan, prefix: &str, topic: &str) -> bool {
    let object =
        topic.strip_prefix(&entities_below(plan, prefix)).and_then(|object| object.strip_suffix("/config"));
    let Some(object) = object else { return topic == gateway_topic(plan, prefix) };
    let Some((end, _)) = object.match_indices('-').nth(1) else { return false };
    plan.unit_of(&object[..end]).is_some_and(|unit| unit.has_entity(&object[end + 1..]))
}

/// Whether this is an announcement of the gateway: another one's entity may have the same discovery topic by accident, and
/// never the same state topic.
pub(super) fn is_own(plan: &Plan, payload: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Announced {
        state_topic: String,
    }
    let announced: Option<Announced> = serde_json::from_slice(payload).ok();
    let below = announced.as_ref().and_then(|one| one.state_topic.strip_prefix(&plan.publication.topic));
    below.is_some_and(|rest| rest.starts_with('/'))
}

fn gateway_topic(plan: &Plan, prefix: &str) -> String {
    format!("{prefix}/binary_sensor/{}/connection/config", plan.node)
}

fn entities_below(plan: &Plan, prefix: &str) -> String {
    format!("{prefix}/sensor/{}/", plan.node)
}

/// `real_power_total` as `Real power total`.
fn title(quantity: &str) -> String {
    let text = quantity.replace('_', " ");
    let mut rest = text.chars();
    rest.next().map(|first| first.to_uppercase().chain(rest).collect()).unwrap_or_default()
}

/// How it adds up; `None` for flags.
fn state_class(point: &Point) -> Option<&'static str> {
    if !point.bits.is_empty() || !point.codes.is_empty() {
        return None;
    }
    Some(match point.group {
        Group::Energy | Group::Pulses => total(point.format.is_signed()),
        Group::Power
        | Group::PowerFactor
        | Group::Voltage
        | Group::Current
        | Group::Frequency
        | Group::Demand
        | Group::Configuration
        | Group::Scale
        | Group::Diagnostics
        | Group::Identity
        | Group::Other
        | Group::Reserved => "measurement",
    })
}

/// A running total: a net energy falls while energy is delivered, and as `total_increasing` that would count as a new
/// meter.
#[must_use]
pub fn total(is_signed: bool) -> &'static str {
    if is_signed { "total" } else { "total_increasing" }
}

/// Digits after the point that are worth showing.
#[must_use]
pub fn precision(group: Group) -> u8 {
    match group {
        Group::PowerFactor | Group::Frequency => 3,
        Group::Pulses => 0,
        Group::Energy
        | Group::Power
        | Group::Voltage
        | Group::Current
        | Group::Demand
        | Group::Configuration
        | Group::Scale
        | Group::Diagnostics
        | Group::Identity
        | Group::Other
        | Group::Reserved => 2,
    }
}

/// A profile's unit as Home Assistant writes it; `None`: it has none.
#[must_use]
pub fn unit(unit: &'static str) -> Option<&'static str> {
    match unit {
        "ratio" | "count" | "pulses" => None,
        "VAR" => Some("var"),
        "kVAR" => Some("kvar"),
        "VARh" => Some("varh"),
        "kVARh" => Some("kvarh"),
        "degC" => Some("°C"),
        "degF" => Some("°F"),
        "m3" => Some("m³"),
        "m3/h" => Some("m³/h"),
        "l" => Some("L"),
        other => Some(other),
    }
}

/// The kind of a quantity, where every version of Home Assistant of the last years has it with that unit.
#[must_use]
pub fn device_class(group: Group, unit: Option<&str>) -> Option<&'static str> {
    match (group, unit) {
        (_, Some("kWh" | "Wh" | "MWh")) => Some("energy"),
        (_, Some("kW" | "W")) => Some("power"),
        (_, Some("VA")) => Some("apparent_power"),
        (_, Some("V" | "mV")) => Some("voltage"),
        (_, Some("A" | "mA")) => Some("current"),
        (_, Some("Hz")) => Some("frequency"),
        (_, Some("degC" | "degF" | "K")) => Some("temperature"),
        (Group::PowerFactor, Some("ratio") | None) => Some("power_factor"),
        (_, Some(_) | None) => None,
    }
}

/// A name in identifiers of a package: small letters, digits and underscores.
#[must_use]
pub fn identifier(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect()
}

/// Whether the meter's values count: it answers, or its silence is being confirmed.
const IS_ANSWERING: &str = "{{ 'online' if value_json['state'] in ['online', 'confirming'] else 'offline' }}";
