//! POINT=VALUE: what would be written, all of it checked before anything is sent.
//!
//! Owns the way from a text to registers: codes and commands by name, values in the point's own unit, their range.
//! It never rounds: a value that is no whole number of steps is refused. It asks the meter nothing.

use crate::document::nearest;
use crate::meter::{Access, Command, Decimal, Format, Group, Point, Profile, Scale, WordOrder};

use super::point_selection;

/// What would be written.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
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
        Some(Scale::Factor(_)) | None => None,
    }
}

/// What a text means to a writable point. `exponent` is what its [`exponent_of`] reads.
///
/// # Errors
/// Why it cannot be written, and what could.
pub fn plan(profile: &Profile, point: &Point, text: &str, exponent: Option<i8>) -> Result<Plan, String> {
    let commands: Vec<_> = profile.commands.iter().filter(|command| command.point == point.name).collect();
    if !commands.is_empty() {
        return command(point, text, &commands);
    }
    let (bits, shown) = match point.format {
        Format::F32 => float(point, text)?,
        Format::U16
        | Format::I16
        | Format::U32
        | Format::I32
        | Format::U64
        | Format::I64
        | Format::Bits
        | Format::Exponent
        | Format::Version => whole(point, text, exponent)?,
    };
    if profile.not_available(point) == Some(bits) {
        return Err(format!("{}: {text} is the code for \"no value\"", point.name));
    }
    let unit = point.unit.map_or(String::new(), |unit| format!(" {unit}"));
    let shown = format!("{shown}{unit}");
    Ok(Plan { registers: registers(profile, point, bits), shown, warning: None, reads_back: true })
}

fn command(point: &Point, text: &str, commands: &[&Command]) -> Result<Plan, String> {
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
    Ok(Plan {
        registers: vec![command.code],
        shown: format!("{} ({})", command.name, command.code),
        warning: Some(warning),
        reads_back: false,
    })
}

fn float(point: &Point, text: &str) -> Result<(u64, String), String> {
    let value: Option<f32> = text.parse().ok().filter(|value: &f32| value.is_finite());
    match value {
        Some(value) if point.allows_value(value.into()) => Ok((value.to_bits().into(), value.to_string())),
        Some(_) | None => Err(out_of_range(point, None, text)),
    }
}

fn whole(point: &Point, text: &str, exponent: Option<i8>) -> Result<(u64, String), String> {
    if let Some(code) = point.codes.iter().find(|code| code.means.eq_ignore_ascii_case(text)) {
        return Ok((code.code.into(), format!("{} ({})", code.means, code.code)));
    }
    let step = match &point.scale {
        Some(Scale::Factor(step)) => *step,
        Some(Scale::Exponent(name)) => match exponent {
            Some(exponent) => Decimal { digits: 1, exponent },
            None => return Err(format!("{}: its exponent, {name}, is not known", point.name)),
        },
        None => Decimal::whole(1),
    };
    let value = signed(text).ok_or_else(|| out_of_range(point, Some(step), text))?;
    let Some(count) = count(value, step) else {
        return Err(format!("{} has steps of {step}, found {text}", point.name));
    };
    let fits_format = bits(point.format, count);
    let is_code = point.codes.iter().any(|code| i128::from(code.code) == count);
    let known = point.codes.is_empty() || !point.allowed.is_empty() || is_code;
    match fits_format.filter(|_| known && point.allows(count)) {
        Some(bits) => {
            let means = point.codes.iter().find(|code| i128::from(code.code) == count);
            let shown = step.steps(count).map_or(count.to_string(), |number| number.to_string());
            Ok((bits, means.map_or(shown, |code| format!("{} ({})", code.means, code.code))))
        }
        None => Err(out_of_range(point, Some(step), text)),
    }
}

fn out_of_range(point: &Point, step: Option<Decimal>, text: &str) -> String {
    let shown = |limit: f64| match step.filter(|_| limit.fract() == 0.0) {
        // Limits of counts are whole numbers that every format holds.
        #[expect(clippy::cast_possible_truncation, reason = "a whole number, far from the limits of i128")]
        Some(step) => step.steps(limit as i128).map_or(limit.to_string(), |number| number.to_string()),
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
        let (low, high) = point.format.limits();
        format!("a number from {} to {}{unit}", shown(low), shown(high))
    } else {
        format!("{}{unit}", point.allowed.iter().map(span).collect::<Vec<_>>().join(", "))
    };
    format!("{} takes {takes}; found '{text}'", point.name)
}

fn signed(text: &str) -> Option<Decimal> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let number = Decimal::parse(digits)?;
    Some(Decimal { digits: number.digits * sign, ..number })
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

/// A count as its registers hold it, joined high word first; `None` where the format cannot hold it.
fn bits(format: Format, count: i128) -> Option<u64> {
    match format {
        Format::U16 | Format::Bits | Format::Version => u16::try_from(count).ok().map(u64::from),
        Format::I16 | Format::Exponent => i16::try_from(count).ok().map(|count| count.cast_unsigned().into()),
        Format::U32 => u32::try_from(count).ok().map(u64::from),
        Format::I32 => i32::try_from(count).ok().map(|count| count.cast_unsigned().into()),
        Format::U64 => u64::try_from(count).ok(),
        Format::I64 => i64::try_from(count).ok().map(i64::cast_unsigned),
        Format::F32 => None,
    }
}

fn registers(profile: &Profile, point: &Point, bits: u64) -> Vec<u16> {
    let bytes = bits.to_be_bytes();
    let words = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    let mut words: Vec<_> = words.skip(4 - usize::from(point.range.quantity)).collect();
    if profile.word_order == WordOrder::LowFirst {
        words.reverse();
    }
    words
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
        let low_first = Profile { word_order: WordOrder::LowFirst, ..with(Format::U32, 2, None) };
        assert_eq!(of(&low_first, "65538"), Ok(vec![2, 1]));
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
