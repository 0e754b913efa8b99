//! Single values of the configuration: shares, addresses, devices, identifiers, functions, profiles, intervals.
//!
//! Each rule turns one node into a value or says what is allowed; the same units are written back by `show_*`.
//! Knows no key and reports nothing itself. Units of contract section 1: `60%`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::bus::settings::{Pace, UnitId};
use crate::modbus::pdu::FunctionCode;
use crate::yaml::tree::Node;
use crate::yaml::value::{
    Allowed, Judged, count, decimal, decimal_or_hex, duration, show_duration, whole_number,
};

/// A share in percent, from 0.1% to 100%; given as 0 to 1.
pub(super) fn share(node: &Node) -> Judged<f64> {
    share_from(node, 10)
}

/// A share in percent, from 0% to 100%; given as 0 to 1.
pub(super) fn share_or_none(node: &Node) -> Judged<f64> {
    share_from(node, 0)
}

fn share_from(node: &Node, least: u64) -> Judged<f64> {
    let hundredths = node.text().and_then(|text| decimal(text.strip_suffix('%')?.trim_end(), 2));
    let least_shown = if least == 0 { "0%" } else { "0.1%" };
    let allowed = || Allowed(format!("a share from {least_shown} to 100%"));
    let hundredths = hundredths.filter(|found| (least..=10_000).contains(found)).ok_or_else(allowed)?;
    // Hundredths of a percent are whole, so that what is written back reads as the same number.
    u32::try_from(hundredths).map(|exact| f64::from(exact) / 10_000.0).map_err(|_| allowed())
}

/// Where a listener listens.
pub(super) fn address(node: &Node) -> Judged<SocketAddr> {
    let allowed = "IPv4:port or \"[IPv6]:port\" (in quotes), such as 0.0.0.0:502";
    node.text().and_then(|text| text.parse().ok()).ok_or_else(|| Allowed(allowed.to_owned()))
}

/// A network, or one address.
pub(super) fn network(node: &Node) -> Judged<IpNet> {
    let parse = |text: &str| text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    let allowed = "a network such as 10.0.0.0/8, or one IP address";
    node.text().and_then(parse).ok_or_else(|| Allowed(allowed.to_owned()))
}

/// A serial device.
pub(super) fn device(node: &Node) -> Judged<PathBuf> {
    const SERIAL: &str = "the absolute path of a serial device, such as /dev/serial/by-id/usb-X";
    let text = node.text().unwrap_or_default();
    let upstream = ["tcp://", "modbus-tcp://"].into_iter().find(|scheme| text.starts_with(scheme));
    if let Some(scheme) = upstream {
        return Err(Allowed(format!("{SERIAL} ({scheme} is not yet supported)")));
    }
    let fits = text.starts_with('/') && text.len() <= LONGEST_PATH && !text.chars().any(char::is_control);
    if fits { Ok(PathBuf::from(text)) } else { Err(Allowed(SERIAL.to_owned())) }
}

/// A directory.
pub(super) fn directory(node: &Node) -> Judged<PathBuf> {
    let fits = |text: &&str| {
        text.starts_with('/') && text.len() <= LONGEST_PATH && !text.chars().any(char::is_control)
    };
    let allowed = || Allowed("the absolute path of a directory, such as /etc/metergate/profiles".to_owned());
    node.text().filter(fits).map(PathBuf::from).ok_or_else(allowed)
}

/// A file.
pub(super) fn file(node: &Node) -> Judged<PathBuf> {
    let fits = |text: &&str| {
        let path = text.starts_with('/') && !text.ends_with('/') && text.len() <= LONGEST_PATH;
        path && !text.chars().any(char::is_control)
    };
    let allowed =
        || Allowed("the absolute path of a file, such as /var/log/metergate/audit.jsonl".to_owned());
    node.text().filter(fits).map(PathBuf::from).ok_or_else(allowed)
}

/// A size in bytes, in units of a thousand.
pub(super) fn bytes(node: &Node, min: u64, max: u64) -> Judged<u64> {
    let parse = |text: &str| {
        let (unit, scale) = SIZE_UNITS.iter().find(|(unit, _)| text.ends_with(unit))?;
        let number = whole_number(text.strip_suffix(unit)?.trim_end())?;
        u64::from(number).checked_mul(*scale)
    };
    let allowed = || {
        Allowed(format!(
            "a size from {} to {}, with its unit: kB, MB or GB",
            show_bytes(min),
            show_bytes(max)
        ))
    };
    node.text().and_then(parse).filter(|found| (min..=max).contains(found)).ok_or_else(allowed)
}

/// As the file says it, in the largest unit that stays whole.
pub(super) fn show_bytes(bytes: u64) -> String {
    let fits = |(_, scale): &&(&str, u64)| bytes.is_multiple_of(*scale);
    SIZE_UNITS
        .iter()
        .find(fits)
        .map_or_else(|| bytes.to_string(), |(unit, scale)| format!("{}{unit}", bytes / scale))
}

/// The name of a profile, which is also the name of its file.
pub(super) fn profile_name(node: &Node) -> Judged<String> {
    let fits = |text: &&str| {
        let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-');
        (1..=LONGEST_PROFILE).contains(&text.len()) && text.bytes().all(letter)
    };
    let allowed = || {
        let form = "the name of a profile, such as leviton-4000r: lower-case letters, digits, _ and -";
        Allowed(form.to_owned())
    };
    node.text().filter(fits).map(str::to_owned).ok_or_else(allowed)
}

/// How often measurements are read; `None`: not at all.
pub(super) fn poll(node: &Node) -> Judged<Option<Pace>> {
    match node.text() {
        Some("auto") => Ok(Some(Pace::Auto)),
        Some("off") => Ok(None),
        Some(_) | None => duration(node, SECOND, DAY)
            .map(|interval| Some(Pace::Every(interval)))
            .map_err(|Allowed(durations)| Allowed(format!("auto, off, or {durations}"))),
    }
}

/// As the file says it.
pub(super) fn show_poll(poll: Option<Pace>) -> String {
    match poll {
        None => "off".to_owned(),
        Some(Pace::Auto) => "auto".to_owned(),
        Some(Pace::Every(interval)) => show_duration(interval),
    }
}

/// The identifier of the diagnostics unit; `None`: there is none.
pub(super) fn diagnostics_unit(node: &Node) -> Judged<Option<u8>> {
    let id = match node.plain_text() {
        Some("off") => return Ok(None),
        Some(text) => unit_id_text(text).filter(|id| *id <= UnitId::STANDARD_MAX || *id == UnitId::MAX),
        None => None,
    };
    id.map(Some).ok_or_else(|| Allowed(format!("off, 1 to {}, or 255", UnitId::STANDARD_MAX)))
}

/// One unit identifier, or a range of them. A list of them is more than one value: see [`unit_id`].
pub(super) fn unit_ids(node: &Node) -> Judged<Vec<u8>> {
    let allowed =
        || Allowed(format!("{}, a range such as 2-8, or a list such as [1, 2, 5]", unit_id_bounds()));
    let parse = |text: &str| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Some(unit_id_text(first.trim())?..=unit_id_text(last.trim())?)
    };
    let ids = node.text().and_then(parse).filter(|ids| !ids.is_empty());
    ids.map(Iterator::collect).ok_or_else(allowed)
}

/// One entry of a list of identifiers.
pub(super) fn unit_id(node: &Node) -> Judged<u8> {
    node.plain_text().and_then(unit_id_text).ok_or_else(|| Allowed(unit_id_bounds()))
}

fn unit_id_bounds() -> String {
    let most = UnitId::STANDARD_MAX;
    format!("1 to {most} ({} to {} with a warning)", most + 1, UnitId::MAX)
}

/// One identifier clients use for a unit.
pub(super) fn alias(node: &Node) -> Judged<u8> {
    let allowed = || Allowed(format!("a whole number from 1 to {}", UnitId::MAX));
    node.plain_text().and_then(unit_id_text).ok_or_else(allowed)
}

/// How many registers not asked for may join two ranges; `None`: touching ranges stay apart, too.
pub(super) fn merge_gap(node: &Node) -> Judged<Option<u16>> {
    if node.plain_text() == Some("off") {
        return Ok(None);
    }
    let number = count(node, 0, MAX_MERGE_GAP).ok().and_then(|number| u16::try_from(number).ok());
    number.map(Some).ok_or_else(|| Allowed(format!("off, or a whole number from 0 to {MAX_MERGE_GAP}")))
}

/// Registers of one read.
pub(super) fn max_read(node: &Node) -> Judged<u16> {
    let allowed = || Allowed(format!("a whole number from 1 to {MAX_READ}"));
    count(node, 1, MAX_READ).ok().and_then(|number| u16::try_from(number).ok()).ok_or_else(allowed)
}

/// A function code of a request, decimal or hexadecimal.
pub(super) fn function_code(node: &Node) -> Judged<FunctionCode> {
    let code = node.plain_text().and_then(decimal_or_hex).and_then(|code| u8::try_from(code).ok());
    let code = code.filter(|code| (1..=MAX_FUNCTION).contains(code)).map(FunctionCode);
    code.ok_or_else(|| {
        Allowed(format!("a function code from 1 to {MAX_FUNCTION}, or from 0x01 to 0x{MAX_FUNCTION:02X}"))
    })
}

/// As the file says it.
pub(super) fn show_share(share: f64) -> String {
    let percent = format!("{:.2}", share * 100.0);
    format!("{}%", percent.trim_end_matches('0').trim_end_matches('.'))
}

fn unit_id_text(text: &str) -> Option<u8> {
    let id = u8::try_from(whole_number(text)?).ok()?;
    UnitId::new(id).map(UnitId::get)
}

/// The longest gap that is worth reading over.
const MAX_MERGE_GAP: u32 = 32;
/// Registers of one read (Application Protocol Specification, chapter 6.3).
pub(super) const MAX_READ: u32 = 125;
/// The highest function code of a request (Application Protocol Specification, chapter 4.1).
const MAX_FUNCTION: u8 = 127;

/// The largest first.
const SIZE_UNITS: [(&str, u64); 3] = [("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Letters of a profile's name.
const LONGEST_PROFILE: usize = 64;
/// Bytes of a path: Linux's PATH_MAX, its final zero included.
const LONGEST_PATH: usize = 4095;
