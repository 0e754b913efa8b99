//! Single values of a profile: words, register numbers and ranges, codes, steps.
//!
//! Each rule turns one node into a value or says what is allowed. Knows no key and reports nothing itself.

use std::ops::RangeInclusive;

use super::decimal::{Decimal, MOST_DIGITS};
use super::profile::Scale;
use super::words::{Format, UNITS};
use crate::modbus::pdu::FunctionCode;
use crate::yaml::tree::Node;
use crate::yaml::value::{Allowed, Judged, choice, decimal_or_hex};

/// A name others refer to.
pub(super) fn word(node: &Node) -> Judged<String> {
    let fits = |text: &&str| {
        let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-');
        text.len() <= LONGEST_WORD
            && text.as_bytes().first().is_some_and(u8::is_ascii_lowercase)
            && text.bytes().all(letter)
    };
    let allowed = || {
        Allowed(format!(
            "a letter, then letters, digits, _ or -, all lower case, up to {LONGEST_WORD} of them"
        ))
    };
    node.text().filter(fits).map(str::to_owned).ok_or_else(allowed)
}

/// A few words for people.
pub(super) fn prose(node: &Node) -> Judged<String> {
    let fits = |text: &&str| {
        let length = text.chars().count();
        (1..=LONGEST_PROSE).contains(&length) && !text.chars().any(char::is_control)
    };
    let allowed = || Allowed(format!("1 to {LONGEST_PROSE} printable characters"));
    node.text().filter(fits).map(str::to_owned).ok_or_else(allowed)
}

/// `yes` or `no`.
pub(super) fn yes_no(node: &Node) -> Judged<bool> {
    choice(node, &[true, false], |value| if value { "yes" } else { "no" })
}

/// The printed number of the first register.
pub(super) fn first_register(node: &Node) -> Judged<u32> {
    let number = node.plain_text().and_then(decimal_or_hex);
    let allowed = || Allowed(FIRST_REGISTERS.map(|one| one.to_string()).join(", "));
    number.filter(|number| FIRST_REGISTERS.contains(number)).ok_or_else(allowed)
}

/// A register number, or a range of them, as printed; `first` is the lowest there is.
pub(super) fn registers(node: &Node, first: u32) -> Judged<RangeInclusive<u32>> {
    let all = first..=first + u32::from(u16::MAX);
    let parse = |text: &str| {
        let (low, high) = text.split_once('-').unwrap_or((text, text));
        Some(decimal_or_hex(low.trim())?..=decimal_or_hex(high.trim())?)
    };
    let fits = |found: &RangeInclusive<u32>| {
        !found.is_empty() && all.contains(found.start()) && all.contains(found.end())
    };
    let allowed = || {
        let (low, high) = (all.start(), all.end());
        Allowed(format!("a register number from {low} to {high}, or a range such as {low}-{}", low + 9))
    };
    node.text().and_then(parse).filter(fits).ok_or_else(allowed)
}

/// One register number, as printed.
pub(super) fn register(node: &Node, first: u32) -> Judged<u32> {
    let last = first + u32::from(u16::MAX);
    let number = node.plain_text().and_then(decimal_or_hex).filter(|found| (first..=last).contains(found));
    number.ok_or_else(|| Allowed(format!("a register number from {first} to {last}")))
}

/// A function that reads registers, and so a table of them.
pub(super) fn register_function(node: &Node) -> Judged<FunctionCode> {
    let found = node.plain_text().and_then(decimal_or_hex);
    let known = REGISTER_FUNCTIONS.into_iter().find(|function| found == Some(u32::from(function.0)));
    known.ok_or_else(|| Allowed("3 (holding registers), 4 (input registers)".to_owned()))
}

/// A unit.
pub(super) fn unit(node: &Node) -> Judged<&'static str> {
    choice(node, UNITS, |unit| unit)
}

/// A step, or the name of a point with an exponent.
pub(super) fn scale(node: &Node) -> Judged<Scale> {
    let number = node.plain_text().and_then(Decimal::parse).filter(|step| step.digits != 0);
    let name = || word(node).ok().map(Scale::Exponent);
    let allowed = || {
        Allowed(format!(
            "what one step is worth, such as 0.01, with up to {MOST_DIGITS} digits, or the name of a point of \
             format exponent"
        ))
    };
    number.map(Scale::Factor).or_else(name).ok_or_else(allowed)
}

/// One number or span a point of that format may hold.
pub(super) fn span(node: &Node, format: Format) -> Judged<RangeInclusive<f64>> {
    let (least, most) = format.limits();
    let parse = |text: &str| {
        let (low, high) = text.split_once("..").unwrap_or((text, text));
        Some(signed(low.trim())?..=signed(high.trim())?)
    };
    let fits = |found: &RangeInclusive<f64>| {
        let whole = |number: f64| format == Format::F32 || number.fract() == 0.0;
        !found.is_empty()
            && *found.start() >= least
            && *found.end() <= most
            && whole(*found.start())
            && whole(*found.end())
    };
    let allowed = || {
        let example = if format == Format::F32 { "45.0..65.0" } else { "0..32767" };
        Allowed(format!("a number, or a span such as {example}, within what {} holds", format.word()))
    };
    node.plain_text().and_then(parse).filter(fits).ok_or_else(allowed)
}

/// What a not-available code looks like in the registers.
pub(super) fn pattern(node: &Node, format: Format) -> Judged<u64> {
    let digits = 4 * usize::from(format.words());
    let parse = |text: &str| {
        let hex = text.strip_prefix("0x")?;
        let fits = hex.len() == digits && hex.bytes().all(|b| b.is_ascii_hexdigit());
        if fits { u64::from_str_radix(hex, 16).ok() } else { None }
    };
    let allowed = || Allowed(format!("0x and {digits} hexadecimal digits, as the registers hold it"));
    node.plain_text().and_then(parse).ok_or_else(allowed)
}

fn signed(text: &str) -> Option<f64> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let number = Decimal::parse(digits)?.to_f64();
    Some(if negative { -number } else { number })
}

/// What reads registers.
const REGISTER_FUNCTIONS: [FunctionCode; 2] =
    [FunctionCode::READ_HOLDING_REGISTERS, FunctionCode::READ_INPUT_REGISTERS];
/// The numbers makers give the register at wire address 0.
const FIRST_REGISTERS: [u32; 6] = [0, 1, 30001, 40001, 300_001, 400_001];
/// Characters of a name.
const LONGEST_WORD: usize = 64;
/// Characters of a description.
const LONGEST_PROSE: usize = 200;
