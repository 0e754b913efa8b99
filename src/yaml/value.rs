//! Single values that any file may hold: numbers, durations, words, names.
//!
//! Each rule turns one node into a value or says what is allowed. Knows no key and reports nothing itself.
//! Durations carry their unit: `500ms` `2s` `10m` `1h`.

use std::time::Duration;

use super::tree::Node;

/// Why a value is refused; what was found is added by the reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Allowed(pub(crate) String);

/// What a rule gives.
pub(crate) type Judged<T> = Result<T, Allowed>;

/// A whole number.
pub(crate) fn count(node: &Node, min: u32, max: u32) -> Judged<u32> {
    let number = node.plain_text().and_then(whole_number);
    let allowed = || Allowed(format!("a whole number from {min} to {max}"));
    number.filter(|number| (min..=max).contains(number)).ok_or_else(allowed)
}

/// A whole number of things.
pub(crate) fn size(node: &Node, min: u32, max: u32) -> Judged<usize> {
    count(node, min, max).map(|number| number as usize)
}

/// A duration, bounds included.
pub(crate) fn duration(node: &Node, min: Duration, max: Duration) -> Judged<Duration> {
    let found = node.text().and_then(parse_duration);
    let allowed = || {
        let (min, max) = (show_duration(min), show_duration(max));
        Allowed(format!("a duration from {min} to {max}, with its unit: ms, s, m or h"))
    };
    found.filter(|found| (min..=max).contains(found)).ok_or_else(allowed)
}

/// As the file says it, in the largest unit that stays whole.
pub(crate) fn show_duration(duration: Duration) -> String {
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

/// One of a closed set of words.
pub(crate) fn choice<T: Copy>(node: &Node, all: &[T], word: impl Fn(T) -> &'static str) -> Judged<T> {
    let chosen = all.iter().copied().find(|one| node.text() == Some(word(*one)));
    chosen.ok_or_else(|| Allowed(all.iter().map(|one| word(*one)).collect::<Vec<_>>().join(", ")))
}

/// What people call a thing.
pub(crate) fn name(node: &Node) -> Judged<String> {
    let fits = |text: &&str| {
        let printable = |c: char| !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}');
        text.trim() == *text
            && (1..=LONGEST_NAME).contains(&text.chars().count())
            && text.chars().all(printable)
    };
    let allowed = || Allowed(format!("a name of 1 to {LONGEST_NAME} printable characters"));
    node.text().filter(fits).map(str::to_owned).ok_or_else(allowed)
}

/// Digits alone, without a leading zero: `010` means ten to some and eight to others.
pub(crate) fn whole_number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let clear = digits && (text == "0" || !text.starts_with('0'));
    if clear { text.parse().ok() } else { None }
}

/// Digits as [`whole_number`] has them, or `0x` and hexadecimal digits.
pub(crate) fn decimal_or_hex(text: &str) -> Option<u32> {
    let Some(hex) = text.strip_prefix("0x") else { return whole_number(text) };
    let digits = !hex.is_empty() && hex.bytes().all(|b| b.is_ascii_hexdigit());
    if digits { u32::from_str_radix(hex, 16).ok() } else { None }
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
pub(crate) fn decimal(text: &str, places: usize) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if fraction.is_empty() || fraction.len() > places || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let scale = (0..places).fold(1u64, |scale, _| scale * 10);
    let fraction = format!("{fraction:0<places$}").parse::<u64>().ok()?;
    u64::from(whole_number(whole)?).checked_mul(scale)?.checked_add(fraction)
}

/// Characters of a name.
pub(crate) const LONGEST_NAME: usize = 64;
