//! Comma-separated values: a row for each point of each meter, with its address in every way clients count.

use super::{Chosen, Listed, Meter};
use crate::cli::export::csv;
use crate::cli::points::scale;
use crate::meter::{Access, ByteOrder, Point, WordOrder};

pub(super) fn list(endpoints: &[Chosen<'_>]) -> String {
    let mut text = csv(HEAD.iter().map(|name| (*name).to_owned()));
    for endpoint in endpoints {
        for (meter, points) in &endpoint.meters {
            for listed in points {
                text.push_str(&csv(row(endpoint, meter, *listed).into_iter()));
            }
        }
    }
    text
}

fn row(endpoint: &Chosen<'_>, meter: &Meter, listed: Listed<'_>) -> [String; 22] {
    let point = listed.point;
    let (address, one_based) = (listed.address(), u32::from(listed.address()) + 1);
    let table = if listed.is_input() { 3 } else { 4 };
    // Five digits as long as they hold the number, as the makers' papers have it.
    let modicon = if one_based > 9_999 { table * 100_000 + one_based } else { table * 10_000 + one_based };
    [
        endpoint.host.to_owned(),
        endpoint.port.to_string(),
        meter.unit.to_string(),
        meter.name.clone().unwrap_or_default(),
        meter.bus.clone(),
        point.name.clone(),
        listed.quantity.to_owned(),
        point.unit.unwrap_or_default().to_owned(),
        listed.function().0.to_string(),
        point.register.to_string(),
        address.to_string(),
        one_based.to_string(),
        modicon.to_string(),
        point.range.quantity.to_string(),
        point.format.word().to_owned(),
        word_order(point).to_owned(),
        byte_order(point).to_owned(),
        scale(point).unwrap_or_default(),
        point.offset.map(|offset| offset.to_string()).unwrap_or_default(),
        match point.access {
            Access::Read => "R".to_owned(),
            Access::ReadWrite => "R/W".to_owned(),
        },
        point.description.clone(),
        endpoint.framing.word().to_owned(),
    ]
}

fn word_order(point: &Point) -> &'static str {
    match (point.range.quantity, point.word_order) {
        (1, _) => "",
        (_, WordOrder::HighFirst) => "high_first",
        (_, WordOrder::LowFirst) => "low_first",
    }
}

fn byte_order(point: &Point) -> &'static str {
    match point.byte_order {
        ByteOrder::HighFirst => "high_first",
        ByteOrder::LowFirst => "low_first",
    }
}

const HEAD: [&str; 22] = [
    "host",
    "port",
    "unit_id",
    "meter",
    "bus",
    "point",
    "quantity",
    "unit",
    "function",
    "register",
    "address_0",
    "address_1",
    "modicon",
    "registers",
    "format",
    "word_order",
    "byte_order",
    "scale",
    "offset",
    "access",
    "description",
    // Last, so that the others stay where they are.
    "framing",
];
