//! Telegraf: its Modbus input, in the style of requests, a section for each meter, so that a silent one does not cost
//! the others their readings.
//!
//! Source: the documentation of the plugin. Addresses count from 0.

use std::fmt::Write;

use super::{Chosen, Listed, Meter, Number, NumberKind};
use crate::meter::{ByteOrder, Decimal, WordOrder};
use crate::modbus::AduFraming;

pub(super) fn list(endpoints: &[Chosen<'_>]) -> String {
    let mut text = HEAD.to_owned();
    for endpoint in endpoints {
        for (meter, points) in &endpoint.meters {
            write_meter(&mut text, endpoint, meter, points);
        }
    }
    text
}

fn write_meter(text: &mut String, endpoint: &Chosen<'_>, meter: &Meter, points: &[Listed<'_>]) {
    let host =
        if endpoint.host.contains(':') { format!("[{}]", endpoint.host) } else { endpoint.host.to_owned() };
    // Without it, an address with tcp:// means Modbus TCP.
    let mode = match endpoint.framing {
        AduFraming::Tcp => "",
        AduFraming::Rtu => "  transmission_mode = \"RTUoverTCP\"\n",
    };
    // Writing to a String cannot fail.
    let _never = write!(
        text,
        "\n[[inputs.modbus]]\n  name = \"metergate\"\n  controller = {}\n{mode}  timeout = \"5s\"\n  \
         configuration_type = \"request\"\n",
        quoted(&format!("tcp://{host}:{}", endpoint.port))
    );
    let mut numbers: Vec<(Listed<'_>, Number)> =
        points.iter().filter_map(|listed| Some((*listed, number(*listed)?))).collect();
    numbers.sort_by_key(|(listed, number)| (listed.is_input(), order(number), listed.address()));
    let same = |one: &(Listed<'_>, Number), other: &(Listed<'_>, Number)| {
        (one.0.is_input(), order(&one.1)) == (other.0.is_input(), order(&other.1))
    };
    for request in numbers.chunk_by(same) {
        let [(first, number), ..] = request else { continue };
        let register = if first.is_input() { "input" } else { "holding" };
        let _never = write!(
            text,
            "\n  [[inputs.modbus.request]]\n    slave_id = {}\n    byte_order = \"{}\"\n    register = \
             \"{register}\"\n    measurement = \"meter\"\n    fields = [\n",
            meter.unit,
            order(number)
        );
        for (listed, number) in request {
            let _never = writeln!(text, "      {},", field(*listed, number));
        }
        let _never = write!(
            text,
            "    ]\n    [inputs.modbus.request.tags]\n      meter = {}\n      bus = {}\n      unit = \"{}\"\n",
            quoted(&meter.title()),
            quoted(&meter.bus),
            meter.unit
        );
    }
}

fn number(listed: Listed<'_>) -> Option<Number> {
    Number::of(listed.point).filter(|number| number.offset.is_none())
}

fn field(listed: Listed<'_>, number: &Number) -> String {
    let kind = match number.kind {
        NumberKind::Signed => "INT",
        NumberKind::Unsigned => "UINT",
        NumberKind::Float => "FLOAT",
    };
    let unit = listed.point.unit.filter(|unit| !matches!(*unit, "ratio" | "count" | "pulses"));
    let unit = unit.map(|unit| format!("_{}", unit.to_lowercase().replace('/', "_per_")));
    let name = quoted(&format!("{}{}", listed.quantity, unit.unwrap_or_default().replace('%', "percent")));
    let scale = number.scale.map(|scale| format!(", scale = {}", float(scale)));
    format!(
        "{{ address = {}, name = {name}, type = \"{kind}{}\"{} }}",
        listed.address(),
        number.bits,
        scale.unwrap_or_default()
    )
}

/// The plugin's letters: A is the highest byte.
fn order(number: &Number) -> &'static str {
    match (number.word_order, number.byte_order) {
        (WordOrder::HighFirst, ByteOrder::HighFirst) => "ABCD",
        (WordOrder::LowFirst, ByteOrder::HighFirst) if number.bits > 16 => "CDAB",
        (WordOrder::LowFirst, ByteOrder::HighFirst) => "ABCD",
        (WordOrder::HighFirst, ByteOrder::LowFirst) => "BADC",
        (WordOrder::LowFirst, ByteOrder::LowFirst) => "DCBA",
    }
}

/// A float of TOML has a point.
fn float(number: Decimal) -> String {
    let text = number.to_f64().to_string();
    if text.contains('.') { text } else { format!("{text}.0") }
}

/// A string of TOML. JSON's escapes are those of TOML; names have no control characters.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

const HEAD: &str = "\
# Telegraf, by `metergate export telegraf`: its Modbus input. Not tried with Telegraf itself; checked with a TOML
# parser and pymodbus.
# Points with an offset are left out: the plugin has none.
";
