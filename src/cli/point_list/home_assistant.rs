//! Home Assistant: sensors of its Modbus integration, as a package or for `configuration.yaml`.
//!
//! Source: the documentation of the integration. Addresses count from 0; `swap` is what differs from high word and high
//! byte first; the value is the number times `scale`, plus `offset`.

use serde::Serialize;

use super::{Chosen, Listed, Meter, Number, NumberKind};
use crate::meter::{ByteOrder, Decimal, Group, WordOrder};
use crate::modbus::AduFraming;
use crate::publisher::home_assistant::{device_class, identifier, precision, unit};

#[derive(Serialize)]
struct Package {
    modbus: Vec<Hub>,
}

#[derive(Serialize)]
struct Hub {
    name: String,
    r#type: &'static str,
    host: String,
    port: u16,
    timeout: u8,
    sensors: Vec<Sensor>,
}

#[derive(Serialize)]
struct Sensor {
    name: String,
    unique_id: String,
    slave: u8,
    address: u16,
    input_type: &'static str,
    data_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    swap: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scale: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<f64>,
    precision: u8,
    scan_interval: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit_of_measurement: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_class: Option<&'static str>,
    state_class: &'static str,
}

pub(super) fn list(endpoints: &[Chosen<'_>]) -> String {
    let hub = |(index, endpoint): (usize, &Chosen<'_>)| {
        let sensors = endpoint
            .meters
            .iter()
            .flat_map(|(meter, points)| points.iter().filter_map(move |listed| sensor(meter, *listed)));
        Hub {
            name: if index == 0 { "metergate".to_owned() } else { format!("metergate_{}", index + 1) },
            r#type: match endpoint.framing {
                AduFraming::Tcp => "tcp",
                AduFraming::Rtu => "rtuovertcp",
            },
            host: endpoint.host.to_owned(),
            port: endpoint.port,
            // Longer than the gateway takes to answer anything.
            timeout: 5,
            sensors: sensors.collect(),
        }
    };
    let package = Package { modbus: endpoints.iter().enumerate().map(hub).collect() };
    let yaml = serde_yaml::to_string(&package).expect("text keys with plain values can always be written");
    format!("{HEAD}{yaml}")
}

fn sensor(meter: &Meter, listed: Listed<'_>) -> Option<Sensor> {
    let point = listed.point;
    let number = Number::of(point)?;
    let kind = match number.kind {
        NumberKind::Signed => "int",
        NumberKind::Unsigned => "uint",
        NumberKind::Float => "float",
    };
    let is_wide = number.bits > 16;
    let swap = match (number.word_order, number.byte_order) {
        (WordOrder::LowFirst, ByteOrder::LowFirst) if is_wide => Some("word_byte"),
        (WordOrder::LowFirst, ByteOrder::HighFirst) if is_wide => Some("word"),
        (_, ByteOrder::LowFirst) => Some("byte"),
        (_, ByteOrder::HighFirst) => None,
    };
    let is_counter = point.group == Group::Energy || point.group == Group::Pulses;
    Some(Sensor {
        name: format!("{} {}", meter.title(), listed.quantity.replace('_', " ")),
        unique_id: format!("metergate_{}_{}_{}", identifier(&meter.bus), meter.unit, listed.quantity),
        slave: meter.unit,
        address: listed.address(),
        input_type: if listed.is_input() { "input" } else { "holding" },
        data_type: format!("{kind}{}", number.bits),
        swap,
        scale: number.scale.map(Decimal::to_f64),
        offset: number.offset.map(Decimal::to_f64),
        precision: precision(point.group),
        scan_interval: if is_counter { 60 } else { 10 },
        unit_of_measurement: point.unit.and_then(unit),
        device_class: device_class(point.group, point.unit),
        state_class: match (point.group, number.kind) {
            // A net energy falls while energy is delivered; as total_increasing that would count as a new meter.
            (Group::Energy, NumberKind::Signed) => "total",
            (_, _) if is_counter => "total_increasing",
            (_, _) => "measurement",
        },
    })
}

const HEAD: &str = "\
# Home Assistant, by `metergate export home-assistant`: a package, or for configuration.yaml. Checked with the
# schema of its Modbus integration (2025.4) and with pymodbus, the library below it; not tried in a running Home
# Assistant.
";
