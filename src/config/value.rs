//! Single values: numbers, durations, shares, words, addresses, names.
//!
//! Each rule turns one node into a value or says what is allowed; the same units are written back by `show_*`.
//! Knows no key and reports nothing itself. Units of contract section 1: `500ms` `2s` `10m` `1h`, `60%`.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::tree::Node;
use crate::bus::settings::UnitId;

/// Why a value is refused; what was found is added by the reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Allowed(pub(super) String);

/// What a rule gives.
pub(super) type Judged<T> = Result<T, Allowed>;

/// A whole number.
pub(super) fn count(node: &Node, min: u32, max: u32) -> Judged<u32> {
    let number = node.plain_text().and_then(whole_number);
    let allowed = || Allowed(format!("a whole number from {min} to {max}"));
    number.filter(|number| (min..=max).contains(number)).ok_or_else(allowed)
}

/// A whole number of things.
pub(super) fn size(node: &Node, min: u32, max: u32) -> Judged<usize> {
    count(node, min, max).map(|number| number as usize)
}

/// A duration, bounds included.
pub(super) fn duration(node: &Node, min: Duration, max: Duration) -> Judged<Duration> {
    let found = node.text().and_then(parse_duration);
    let allowed = || {
        let (min, max) = (show_duration(min), show_duration(max));
        Allowed(format!("a duration from {min} to {max}, with its unit: ms, s, m or h"))
    };
    found.filter(|found| (min..=max).contains(found)).ok_or_else(allowed)
}

/// A share in percent, from 0.1% to 100%; given as 0 to 1.
pub(super) fn share(node: &Node) -> Judged<f64> {
    let hundredths = node.text().and_then(|text| decimal(text.strip_suffix('%')?.trim_end(), 2));
    let allowed = || Allowed("a share from 0.1% to 100%".to_owned());
    let hundredths = hundredths.filter(|found| (10..=10_000).contains(found)).ok_or_else(allowed)?;
    // Hundredths of a percent are whole, so that what is written back reads as the same number.
    u32::try_from(hundredths).map(|exact| f64::from(exact) / 10_000.0).map_err(|_| allowed())
}

/// One of a closed set of words.
pub(super) fn choice<T: Copy>(node: &Node, all: &[T], word: impl Fn(T) -> &'static str) -> Judged<T> {
    let chosen = all.iter().copied().find(|one| node.text() == Some(word(*one)));
    chosen.ok_or_else(|| Allowed(all.iter().map(|one| word(*one)).collect::<Vec<_>>().join(", ")))
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

/// What people call a thing.
pub(super) fn name(node: &Node) -> Judged<String> {
    let fits = |text: &&str| {
        let printable = |c: char| !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}');
        text.trim() == *text
            && (1..=LONGEST_NAME).contains(&text.chars().count())
            && text.chars().all(printable)
    };
    let allowed = || Allowed(format!("a name of 1 to {LONGEST_NAME} printable characters"));
    node.text().filter(fits).map(str::to_owned).ok_or_else(allowed)
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

/// One unit identifier, or a range of them.
pub(super) fn unit_ids(node: &Node) -> Judged<RangeInclusive<u8>> {
    let allowed = || Allowed(format!("1 to {}, or a range such as 2-8", UnitId::MAX));
    let parse = |text: &str| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Some(unit_id_text(first.trim())?..=unit_id_text(last.trim())?)
    };
    node.text().and_then(parse).filter(|ids| !ids.is_empty()).ok_or_else(allowed)
}

/// One identifier clients use.
pub(super) fn alias(node: &Node) -> Judged<u8> {
    let allowed = || Allowed(format!("a whole number from 1 to {}", UnitId::MAX));
    node.plain_text().and_then(unit_id_text).ok_or_else(allowed)
}

/// As the file says it, in the largest unit that stays whole.
pub(super) fn show_duration(duration: Duration) -> String {
    if duration.is_zero() {
        return "0s".to_owned();
    }
    let (seconds, micros) = (duration.as_secs(), duration.subsec_micros());
    if micros != 0 {
        let millis = format!("{}.{:03}", duration.as_millis(), micros % 1000);
        return format!("{}ms", millis.trim_end_matches('0').trim_end_matches('.'));
    }
    match seconds {
        whole if whole.is_multiple_of(3600) => format!("{}h", whole / 3600),
        whole if whole > 60 && whole.is_multiple_of(60) => format!("{}m", whole / 60),
        whole => format!("{whole}s"),
    }
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

/// Digits alone, without a leading zero: `010` means ten to some and eight to others.
fn whole_number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let clear = digits && (text == "0" || !text.starts_with('0'));
    if clear { text.parse().ok() } else { None }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let end = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(end);
    let micros_per_unit: u64 = match unit {
        "ms" => 1_000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        "h" => 3_600_000_000,
        _ => return None,
    };
    let millionths = decimal(number, 6)?.checked_mul(micros_per_unit)?;
    millionths.is_multiple_of(1_000_000).then(|| Duration::from_micros(millionths / 1_000_000))
}

/// A number with up to `places` decimals, in units of the last place.
fn decimal(text: &str, places: usize) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if fraction.is_empty() || fraction.len() > places || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let scale = (0..places).fold(1u64, |scale, _| scale * 10);
    let fraction = format!("{fraction:0<places$}").parse::<u64>().ok()?;
    u64::from(whole_number(whole)?).checked_mul(scale)?.checked_add(fraction)
}

/// Characters of a name.
pub(super) const LONGEST_NAME: usize = 64;

/// Bytes of a device's path: Linux's PATH_MAX, its final zero included.
const LONGEST_PATH: usize = 4095;
