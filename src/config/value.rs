//! Single values of the configuration: shares, addresses, devices, identifiers, profiles, intervals.
//!
//! Each rule turns one node into a value or says what is allowed; the same units are written back by `show_*`.
//! Knows no key and reports nothing itself. Units of contract section 1: `60%`.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::bus::settings::{Pace, UnitId};
use crate::yaml::tree::Node;
use crate::yaml::value::{Allowed, Judged, decimal, duration, show_duration, whole_number};

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
    if text.starts_with("tcp://") {
        return Err(Allowed(format!("{SERIAL} (tcp:// is reserved, not yet supported)")));
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
        Some("255") => Some(u8::MAX),
        Some(text) => unit_id_text(text),
        None => None,
    };
    id.map(Some).ok_or_else(|| Allowed(format!("off, 1 to {}, or 255", UnitId::STANDARD_MAX)))
}

/// One unit identifier, or a range of them.
pub(super) fn unit_ids(node: &Node) -> Judged<RangeInclusive<u8>> {
    let allowed = || Allowed(format!("1 to {}, or a range such as 2-8", UnitId::STANDARD_MAX));
    let parse = |text: &str| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Some(unit_id_text(first.trim())?..=unit_id_text(last.trim())?)
    };
    node.text().and_then(parse).filter(|ids| !ids.is_empty()).ok_or_else(allowed)
}

/// One identifier clients use.
pub(super) fn alias(node: &Node) -> Judged<u8> {
    let allowed = || Allowed(format!("a whole number from 1 to {}", UnitId::STANDARD_MAX));
    node.plain_text().and_then(unit_id_text).ok_or_else(allowed)
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

/// The largest first.
const SIZE_UNITS: [(&str, u64); 3] = [("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Letters of a profile's name.
const LONGEST_PROFILE: usize = 64;
/// Bytes of a path: Linux's PATH_MAX, its final zero included.
const LONGEST_PATH: usize = 4095;
