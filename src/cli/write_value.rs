//! POINT=VALUE: what would be written, all of it checked before anything is sent.
//!
//! Owns the way from a text to registers: codes and commands by name, values in the point's own unit, their range.
//! It never rounds: a value that is no whole number of steps is refused. It asks the meter nothing.

use crate::document::nearest;
use crate::meter::{Access, ByteOrder, Command, Decimal, Format, Group, Point, Profile, Scale, WordOrder};

use super::point_selection;

/// What would be written.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedWrite {
    /// In order of address.
    pub registers: Vec<u16>,
    /// The value in words, with its unit.
    pub shown: String,
    /// What cannot be taken back.
    pub warning: Option<String>,
    /// Whether the point reads back what was written; a register that takes commands does not.
    pub reads_back: bool,
}

/// The point that is written to, and the text of its value.
///
/// # Errors
/// No such point, or one that cannot be written.
pub fn writable<'p, 'w>(profile: &'p Profile, word: &'w str) -> Result<(&'p Point, &'w str), String> {
    let (name, text) =
        word.split_once('=').ok_or_else(|| format!("'{word}' is no POINT=VALUE, such as ct_primary=200"))?;
    let point = point_selection::point(profile, name.trim())?;
    if point.access == Access::Read {
        return Err(format!("{name} can only be read (`metergate points` shows what can be written)"));
    }
    if point.group == Group::Reserved {
        return Err(format!("{name} means nothing, so nothing is written to it"));
    }
    Ok((point, text.trim()))
}

/// The point that holds the exponent a value must be counted by, if there is one.
#[must_use]
pub fn exponent_of<'p>(profile: &'p Profile, point: &Point) -> Option<&'p Point> {
    match &point.scale {
        Some(Scale::Exponent(name)) => profile.point(name),
        // A value that hangs on a ratio can only be read.
        Some(Scale::Factor(_) | Scale::Ratio(_)) | None => None,
    }
}

/// What a text means to a writable point. `exponent` is what its [`exponent_of`] reads.
///
/// # Errors
/// Why it cannot be written, and what could.
pub fn plan(
    profile: &Profile,
    point: &Point,
    text: &str,
    exponent: Option<i8>,
) -> Result<PlannedWrite, String> {
    let commands: Vec<_> = profile.commands.iter().filter(|command| command.point == point.name).collect();
    if !commands.is_empty() {
        return command(point, text, &commands);
    }
    let (bits, shown) = match point.format {
        Format::Text => return characters(point, text),
        Format::F32 | Format::F64 => float(point, text, exponent)?,
        Format::U16
        | Format::I16
        | Format::U32
        | Format::I32
        | Format::U48
        | Format::U64
        | Format::I64
        | Format::Bits
        | Format::Bcd
        | Format::Mod10000
        | Format::Exponent
        | Format::Version => whole(point, text, exponent)?,
    };
    if profile.not_available(point) == Some(bits) {
        return Err(format!("{}: {text} is the code for \"no value\"", point.name));
    }
    let unit = point.unit.map_or(String::new(), |unit| format!(" {unit}"));
    let shown = format!("{shown}{unit}");
    Ok(PlannedWrite { registers: point.split(bits), shown, warning: None, reads_back: true })
}

fn command(point: &Point, text: &str, commands: &[&Command]) -> Result<PlannedWrite, String> {
    let meant = |command: &&&Command| command.name == text || command.code.to_string() == text;
    let Some(command) = commands.iter().find(meant) else {
        let hint = nearest(text, commands.iter().map(|command| command.name.as_str()));
        let hint = hint.map_or(String::new(), |near| format!("; did you mean {near}?"));
        let known = commands.iter().map(|command| format!("{} ({})", command.name, command.code));
        let known = known.collect::<Vec<_>>().join(", ");
        return Err(format!("{} takes {known}, found '{text}'{hint}", point.name));
    };
    let mut warning = format!("{}. This cannot be taken back.", command.effect);
    if !command.min_interval.is_zero() {
        warning.push_str(&format!(" Send no other for {} s after it.", command.min_interval.as_secs()));
    }
    Ok(PlannedWrite {
        registers: vec![command.code],
        shown: format!("{} ({})", command.name, command.code),
        warning: Some(warning),
        reads_back: false,
    })
}

/// Characters, two a register, the rest filled with zeros.
fn characters(point: &Point, text: &str) -> Result<PlannedWrite, String> {
    let most = 2 * usize::from(point.range.quantity);
    if text.is_empty() || text.len() > most || text.bytes().any(|byte| !(b' '..=b'~').contains(&byte)) {
        return Err(format!("{} takes 1 to {most} printable ASCII characters; found '{text}'", point.name));
    }
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(most, 0);
    let registers = bytes.chunks_exact(2).map(|pair| match point.byte_order {
        ByteOrder::HighFirst => u16::from_be_bytes([pair[0], pair[1]]),
        ByteOrder::LowFirst => u16::from_le_bytes([pair[0], pair[1]]),
    });
    let registers = match point.word_order {
        WordOrder::HighFirst => registers.collect(),
        WordOrder::LowFirst => registers.rev().collect(),
    };
    Ok(PlannedWrite { registers, shown: text.to_owned(), warning: None, reads_back: true })
}

/// What one step of a point is worth.
fn step(point: &Point, exponent: Option<i8>) -> Result<Decimal, String> {
    match &point.scale {
        Some(Scale::Factor(step)) => Ok(*step),
        Some(Scale::Exponent(name)) => match exponent {
            Some(exponent) => Ok(Decimal { digits: 1, exponent }),
            None => Err(format!("{}: its exponent, {name}, is not known", point.name)),
        },
        Some(Scale::Ratio(_)) => Err(format!("{} hangs on a ratio, so it can only be read", point.name)),
        None => Ok(Decimal::whole(1)),
    }
}

fn float(point: &Point, text: &str, exponent: Option<i8>) -> Result<(u64, String), String> {
    let scale = step(point, exponent)?;
    let is_plain = scale == Decimal::whole(1) && point.offset.is_none();
    let unscaled = |value: f64| {
        let offset = point.offset.map_or(0.0, Decimal::to_f64);
        if is_plain { value } else { (value - offset) / scale.to_f64() }
    };
    let Some(value) = text.parse().ok().map(unscaled).filter(|value: &f64| value.is_finite()) else {
        return Err(out_of_range(point, None, text));
    };
    #[expect(clippy::cast_possible_truncation, reason = "the nearest float of the meter's own format")]
    let single = value as f32;
    let (raw, bits) = if point.format == Format::F32 {
        (f64::from(single), u64::from(single.to_bits()))
    } else {
        (value, value.to_bits())
    };
    let nearest = if point.format == Format::F32 && is_plain { single.to_string() } else { text.to_owned() };
    if raw.is_finite() && point.allows_value(raw) {
        Ok((bits, nearest))
    } else {
        Err(out_of_range(point, None, text))
    }
}

fn whole(point: &Point, text: &str, exponent: Option<i8>) -> Result<(u64, String), String> {
    if let Some(code) = point.codes.iter().find(|code| code.means.eq_ignore_ascii_case(text)) {
        return Ok((code.code.into(), format!("{} ({})", code.means, code.code)));
    }
    let step = step(point, exponent)?;
    let value = Decimal::parse(text).ok_or_else(|| out_of_range(point, Some(step), text))?;
    let offset = point.offset.unwrap_or(Decimal::whole(0));
    let without = value.plus(Decimal { digits: -offset.digits, ..offset });
    let Some(count) = without.and_then(|value| count(value, step)) else {
        return Err(format!("{} has steps of {step}, found {text}", point.name));
    };
    let fits_format = point.format.bits_of(count, point.range.quantity);
    let is_code = point.codes.iter().any(|code| i128::from(code.code) == count);
    let known = point.codes.is_empty() || !point.allowed.is_empty() || is_code;
    match fits_format.filter(|_| known && point.allows(count)) {
        Some(bits) => {
            let means = point.codes.iter().find(|code| i128::from(code.code) == count);
            let shown = step.steps(count).and_then(|number| match point.offset {
                Some(offset) => number.plus(offset),
                None => Some(number),
            });
            let shown = shown.map_or(count.to_string(), |number| number.to_string());
            Ok((bits, means.map_or(shown, |code| format!("{} ({})", code.means, code.code))))
        }
        None => Err(out_of_range(point, Some(step), text)),
    }
}

fn out_of_range(point: &Point, step: Option<Decimal>, text: &str) -> String {
    let shown = |limit: f64| match step.filter(|_| limit.fract() == 0.0) {
        // Limits of counts are whole numbers that every format holds.
        #[expect(clippy::cast_possible_truncation, reason = "a whole number, far from the limits of i128")]
        Some(step) => {
            let scaled = step.steps(limit as i128);
            let moved =
                scaled.and_then(|number| point.offset.map_or(Some(number), |offset| number.plus(offset)));
            moved.map_or(limit.to_string(), |number| number.to_string())
        }
        None => limit.to_string(),
    };
    let span = |span: &std::ops::RangeInclusive<f64>| {
        let (low, high) = (*span.start(), *span.end());
        if span.start() == span.end() { shown(low) } else { format!("{} to {}", shown(low), shown(high)) }
    };
    let unit = point.unit.map_or(String::new(), |unit| format!(" {unit}"));
    let takes = if !point.codes.is_empty() {
        let codes = point.codes.iter().map(|code| format!("{} ({})", code.code, code.means));
        codes.collect::<Vec<_>>().join(", ")
    } else if point.allowed.is_empty() {
        let (low, high) = point.format.limits(point.range.quantity);
        format!("a number from {} to {}{unit}", shown(low), shown(high))
    } else {
        format!("{}{unit}", point.allowed.iter().map(span).collect::<Vec<_>>().join(", "))
    };
    format!("{} takes {takes}; found '{text}'", point.name)
}

/// How many steps make up a value, if a whole number of them does.
fn count(value: Decimal, step: Decimal) -> Option<i128> {
    let shift = i32::from(value.exponent) - i32::from(step.exponent);
    let power = 10_i128.checked_pow(shift.unsigned_abs())?;
    let (above, below) = if shift >= 0 {
        (value.digits.checked_mul(power)?, step.digits)
    } else {
        (value.digits, step.digits.checked_mul(power)?)
    };
    (below != 0 && above % below == 0).then(|| above / below)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leviton() -> Profile {
        Profile::builtin("leviton-4000r").expect("built in").clone()
    }

    fn planned(word: &str) -> Result<(Vec<u16>, String), String> {
        let profile = leviton();
        let (point, text) = writable(&profile, word)?;
        plan(&profile, point, text, None).map(|plan| (plan.registers, plan.shown))
    }

    #[test]
    fn values_are_in_the_points_own_unit_and_codes_go_by_number_or_name() {
        for (word, register, shown) in [
            ("ct_primary=200", 200, "200 A"),
            ("pt_ratio=1", 100, "1.00 ratio"),
            ("pt_ratio = 2.5", 250, "2.50 ratio"),
            ("system_type=40", 40, "wye, four wires (40)"),
            ("system_type=Delta, three wires", 31, "delta, three wires (31)"),
            ("display_units=ieee", 1, "IEEE (1)"),
            ("pulse_energy=1000", 1000, "1000 Wh"),
            ("command=clear_energy", 30078, "clear_energy (30078)"),
            ("command=21211", 21211, "next_subinterval (21211)"),
        ] {
            assert_eq!(planned(word), Ok((vec![register], shown.to_owned())), "{word}");
        }
    }

    #[test]
    fn what_is_out_of_range_or_between_two_steps_is_refused_with_what_is_allowed() {
        for (word, said) in [
            ("ct_primary=19", "ct_primary takes 20 to 5000 A; found '19'"),
            ("ct_primary=5001", "20 to 5000 A"),
            ("ct_primary=20.5", "steps of 1"),
            ("ct_primary=many", "20 to 5000 A"),
            ("pt_ratio=0.005", "steps of 0.01"),
            ("pt_ratio=320.01", "0.01 to 320.00 ratio"),
            ("pulse_energy=11", "10, 100, 1000, 10000 Wh"),
            ("system_type=41", "40 (wye, four wires)"),
            ("demand_subinterval_s=9", "0, 10 to 32767 s"),
            ("command=16640", "clear_energy (30078)"),
            ("command=clear_enery", "did you mean clear_energy?"),
            ("frequency=50", "can only be read"),
            ("reserved_151=1", "means nothing"),
            ("ct_primry=1", "did you mean ct_primary?"),
            ("ct_primary", "no POINT=VALUE"),
        ] {
            let error = planned(word).expect_err(word);
            assert!(error.contains(said), "{word}: {error}");
        }
    }

    #[test]
    fn a_command_warns_and_is_not_read_back() {
        let profile = leviton();
        let (point, text) = writable(&profile, "command=reset_peaks").expect("a command");
        let plan = plan(&profile, point, text, None).expect("a plan");
        assert!(!plan.reads_back);
        let warning = plan.warning.expect("a warning");
        assert!(warning.contains("Sets the demand peaks") && warning.contains("for 10 s after"), "{warning}");
    }

    /// The profile with a writable point of another format.
    fn with(format: Format, quantity: u16, scale: Option<Scale>) -> Profile {
        let mut profile = leviton();
        let point = profile.points.iter_mut().find(|point| point.name == "ct_primary").expect("there");
        (point.format, point.scale, point.allowed) = (format, scale, Vec::new());
        point.range.quantity = quantity;
        profile
    }

    #[test]
    fn wide_and_signed_values_and_floats_keep_their_order_of_words() {
        let of = |profile: &Profile, text| {
            let point = profile.point("ct_primary").expect("there");
            plan(profile, point, text, Some(-1)).map(|plan| plan.registers)
        };
        assert_eq!(of(&with(Format::U32, 2, None), "65537"), Ok(vec![1, 1]));
        assert_eq!(of(&with(Format::I32, 2, None), "-2"), Ok(vec![0xFFFF, 0xFFFE]));
        assert_eq!(of(&with(Format::I16, 1, None), "-32768").map(|words| words[0]), Ok(0x8000));
        assert_eq!(of(&with(Format::I64, 4, None), "-1"), Ok(vec![0xFFFF; 4]));
        assert_eq!(of(&with(Format::F32, 2, None), "1.5"), Ok(vec![0x3FC0, 0]));
        let scaled = with(Format::U16, 1, Some(Scale::Exponent("scale_current".to_owned())));
        assert_eq!(of(&scaled, "12.3"), Ok(vec![123]));
        let mut low_first = with(Format::U32, 2, None);
        for point in &mut low_first.points {
            point.word_order = WordOrder::LowFirst;
        }
        assert_eq!(of(&low_first, "65538"), Ok(vec![2, 1]));
        let mut text = with(Format::Text, 2, None);
        assert_eq!(of(&text, "Mete"), Ok(vec![0x4D65, 0x7465]));
        for point in &mut text.points {
            point.word_order = WordOrder::LowFirst;
        }
        assert_eq!(of(&text, "Mete"), Ok(vec![0x7465, 0x4D65]));
        for (format, quantity, text) in [
            (Format::U32, 2, "4294967296"),
            (Format::U16, 1, "-1"),
            (Format::F32, 2, "inf"),
            (Format::U16, 1, "32768"),
        ] {
            assert!(
                of(&with(format, quantity, None), text).is_err(),
                "{text}: 32768 is the code for no value"
            );
        }
    }
}
