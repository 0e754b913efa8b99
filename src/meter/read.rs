//! Parses a profile into a checked [`Profile`], or into everything that is wrong with it.
//!
//! Owns the checks between the keys of one block and of one point; checks between blocks and points are in `checks`.

use std::ops::RangeInclusive;

use super::checks;
use super::decimal::{Decimal, MOST_DIGITS};
use super::draft::{BlockRead, PointRead, of, show};
use super::profile::{
    Bit, Block, Code, Command, Identification, Point, Profile, Ratio, Scale, SystemType, Validity,
};
use super::section::{self, Table};
use super::value::{Pattern, ScaleFactor, ScaleFactors, Span, TableFunction, Word};
use super::vocabulary::{ByteOrder, Format, WordOrder};
use crate::document::{self, List, Name, Node, Problems, Reader, YesNo};
use crate::modbus::pdu::{FunctionCode, ReadRange};

impl Profile {
    /// Checks the text of a profile; `file_name` is shown in messages.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(text: &str, file_name: &str) -> Result<Self, Problems> {
        document::read(text, file_name, &FORMAT, read).map(|(profile, _warnings)| profile)
    }
}

static FORMAT: document::Format = document::Format {
    holds: "a file with `name:`, `title:` and `blocks:`",
    sections: &[
        document::section::<section::Profile>,
        document::section::<section::NotAvailable>,
        document::section::<section::Block>,
        document::section::<section::Point>,
        document::section::<section::Code>,
        document::section::<section::Bit>,
        document::section::<section::Validity>,
        document::section::<section::Type>,
        document::section::<section::Command>,
        document::section::<section::Identification>,
    ],
};

fn read<'n>(reader: &mut Reader<'n, '_>, root: &'n Node) -> Option<Profile> {
    let file: section::Profile = reader.section(root, "")?;
    reader.require(&file.name, "name");
    reader.require(&file.title, "title");
    let functions =
        if reader.is_sound("functions") { tables(&file.functions, "functions", reader) } else { None };
    let not_available = not_available(&file.not_available, reader);
    let first = file.first_register.0;
    let gaps: Vec<_> = of(&file.gaps).iter().map(|gap| gap.0.clone()).collect();
    for (path, gap) in reader.items("gaps", &gaps) {
        is_numbered(gap, first, &path, reader);
    }
    let mut number = 0;
    let blocks =
        reader.sections::<section::Block, _>(root, "", "blocks", MAX_BLOCKS, |reader, node, path| {
            number += 1;
            let block: section::Block = reader.section(node, path).unwrap_or_default();
            let around = Around {
                first,
                block: number - 1,
                functions: functions.as_deref(),
                word_order: block.word_order.unwrap_or(file.word_order),
                byte_order: block.byte_order.unwrap_or(file.byte_order),
            };
            read_block(&block, node, path, around, reader)
        });
    checks::check(&blocks, &gaps, &file, reader);
    if reader.has_errors() {
        return None;
    }
    let mut profile = Profile {
        name: file.name.as_ref()?.0.clone(),
        title: file.title.as_ref()?.0.clone(),
        first_register: first,
        mirrored: file.mirrored == YesNo::Yes,
        not_available,
        gaps,
        blocks: Vec::new(),
        points: Vec::new(),
        headline: of(&file.headline).iter().map(|name| name.0.clone()).collect(),
        validity: file.validity.as_ref().map(validity),
        commands: of(&file.commands).iter().filter_map(command).collect(),
        identification: identification(&file.identification),
    };
    for block in blocks {
        profile.blocks.push(block.block?);
        let points: Option<Vec<_>> = block.points.into_iter().map(|read| read.point).collect();
        profile.points.extend(points?);
    }
    profile.points.sort_by_key(|point| (point.block, point.range.start));
    describe_copies(&mut profile);
    Some(profile)
}

/// Copies without a description get that of their original.
fn describe_copies(profile: &mut Profile) {
    let originals: Vec<_> =
        profile.points.iter().map(|point| (point.name.clone(), point.description.clone())).collect();
    for point in profile.points.iter_mut().filter(|point| point.description.is_empty()) {
        let original = originals.iter().find(|(name, _)| Some(name) == point.copy_of.as_ref());
        if let Some((_, description)) = original {
            point.description.clone_from(description);
        }
    }
}

fn not_available(codes: &section::NotAvailable, reader: &mut Reader<'_, '_>) -> Vec<(Format, u64)> {
    let section::NotAvailable { u16, i16, u32, i32, u48, u64, i64, f32, f64 } = codes;
    let formats = [
        (Format::U16, u16),
        (Format::I16, i16),
        (Format::U32, u32),
        (Format::I32, i32),
        (Format::U48, u48),
        (Format::U64, u64),
        (Format::I64, i64),
        (Format::F32, f32),
        (Format::F64, f64),
    ];
    let mut known = Vec::new();
    for (format, pattern) in formats {
        let Some(Pattern((digits, code))) = pattern else { continue };
        let wanted = 4 * usize::from(*format.words().start());
        if *digits != wanted {
            let what = format!("found {digits} digits");
            let help = format!("allowed: 0x and {wanted} hexadecimal digits, as the registers hold it");
            reader.error(&format!("not_available.{}", format.word()), &what, &help);
        }
        known.push((format, *code));
    }
    known
}

/// The context of a block.
#[derive(Clone, Copy)]
struct Around<'a> {
    /// The printed number of the register at wire address 0.
    first: u32,
    /// The block's place in the file.
    block: usize,
    /// The tables of blocks that name none; `None`: a reported error.
    functions: Option<&'a [FunctionCode]>,
    /// Of points without an order of their own.
    word_order: WordOrder,
    byte_order: ByteOrder,
}

impl Around<'_> {
    /// The order of words of a point that has none of its own. Meters with the low words of numbers first have their
    /// texts in the order of the registers.
    fn word_order_of(&self, format: Format) -> WordOrder {
        if format == Format::Text { WordOrder::HighFirst } else { self.word_order }
    }
}

fn read_block<'n>(
    block: &section::Block,
    node: &'n Node,
    path: &str,
    around: Around<'_>,
    reader: &mut Reader<'n, '_>,
) -> BlockRead {
    let key = |name: &str| format!("{path}.{name}");
    reader.require(&block.name, &key("name"));
    reader.require(&block.kind, &key("kind"));
    reader.require(&block.registers, &key("registers"));
    let (name, kind) = (block.name.as_ref().map(|name| name.0.clone()), block.kind);
    let registers = block.registers.as_ref().map(|registers| registers.0.clone());
    let registers = registers.filter(|found| {
        is_numbered(found, around.first, &key("registers"), reader)
            && is_one_read(found, &key("registers"), reader)
    });
    let core = block.core.as_ref().map(|core| core.0.clone());
    let core = core.filter(|found| is_numbered(found, around.first, &key("core"), reader));
    let functions = own_tables(block, path, around.functions, reader);
    let function = functions.first().copied().unwrap_or(FunctionCode::READ_HOLDING_REGISTERS);
    let points =
        reader.sections::<section::Point, _>(node, path, "points", MAX_POINTS, |reader, node, path| {
            let point = reader.section(node, path).unwrap_or_default();
            read_point(&point, path, around, function, reader)
        });
    let range = |found: &RangeInclusive<u32>| {
        Some(ReadRange {
            function,
            start: u16::try_from(found.start() - around.first).ok()?,
            quantity: u16::try_from(found.end() - found.start() + 1).ok()?,
        })
    };
    let whole = || {
        Some(Block {
            name: name.clone()?,
            range: range(registers.as_ref()?)?,
            functions: functions.clone(),
            core: core.as_ref().and_then(range),
            kind: kind?,
            polled: block.polled.0 == YesNo::Yes,
        })
    };
    BlockRead { block: whole(), path: path.to_owned(), name, registers, core, functions, points }
}

/// The tables of a block: its own `functions` or `table`, else those of the profile. Empty: a reported error.
fn own_tables(
    block: &section::Block,
    path: &str,
    absent: Option<&[FunctionCode]>,
    reader: &mut Reader<'_, '_>,
) -> Vec<FunctionCode> {
    let (functions, table) = (format!("{path}.functions"), format!("{path}.table"));
    if !reader.is_sound(&functions) || !reader.is_sound(&table) {
        return Vec::new();
    }
    match (&block.functions, block.table) {
        (Some(_), Some(_)) => {
            let what = "found a table beside functions, which name it too";
            reader.error(&table, what, "allowed: one of the two keys");
            Vec::new()
        }
        (Some(_), None) => tables(&block.functions, &functions, reader).unwrap_or_default(),
        (None, Some(Table::Holding)) => vec![FunctionCode::READ_HOLDING_REGISTERS],
        (None, Some(Table::Input)) => vec![FunctionCode::READ_INPUT_REGISTERS],
        (None, None) => absent.map(<[_]>::to_vec).unwrap_or_default(),
    }
}

/// Each table once; absent: the holding registers. `None`: a reported error.
fn tables(
    functions: &Option<List<TableFunction, 1, 2>>,
    path: &str,
    reader: &mut Reader<'_, '_>,
) -> Option<Vec<FunctionCode>> {
    let Some(functions) = functions else { return Some(vec![FunctionCode::READ_HOLDING_REGISTERS]) };
    let functions: Vec<_> = functions.0.iter().map(|function| function.0).collect();
    if let [first, second] = functions.as_slice()
        && first == second
    {
        reader.error(
            &format!("{path}[1]"),
            &format!("found {} a second time", second.0),
            "allowed: each function once",
        );
        return None;
    }
    Some(functions)
}

fn allowed_registers(first: u32) -> String {
    let last = first + u32::from(u16::MAX);
    format!("a register number from {first} to {last}, or a range such as {first}-{}", first + 9)
}

/// Whether the registers are valid numbers, starting with `first`.
fn is_numbered(found: &RangeInclusive<u32>, first: u32, path: &str, reader: &mut Reader<'_, '_>) -> bool {
    let all = first..=first + u32::from(u16::MAX);
    let fits = all.contains(found.start()) && all.contains(found.end());
    if !fits && reader.is_sound("first_register") {
        let what = format!("found `{}`", show(found));
        reader.error(path, &what, &format!("allowed: {}", allowed_registers(first)));
    }
    fits
}

/// Whether the registers fit one transaction.
fn is_one_read(found: &RangeInclusive<u32>, path: &str, reader: &mut Reader<'_, '_>) -> bool {
    let quantity = found.end() - found.start() + 1;
    if quantity > MAX_QUANTITY {
        let help = format!("allowed: up to {MAX_QUANTITY}, what one read gives");
        reader.error(path, &format!("found {quantity} registers"), &help);
    }
    quantity <= MAX_QUANTITY
}

fn read_point(
    point: &section::Point,
    path: &str,
    around: Around<'_>,
    function: FunctionCode,
    reader: &mut Reader<'_, '_>,
) -> PointRead {
    let key = |name: &str| format!("{path}.{name}");
    reader.require(&point.name, &key("name"));
    reader.require(&point.register, &key("register"));
    reader.require(&point.format, &key("format"));
    reader.require(&point.group, &key("group"));
    let (name, printed) = (point.name.as_ref().map(|name| name.0.clone()), point.register.map(|one| one.0));
    let (format, group, last) = (point.format, point.group, around.first + u32::from(u16::MAX));
    let is_there = |register: &u32| (around.first..=last).contains(register);
    if let Some(found) = printed.filter(|found| !is_there(found) && reader.is_sound("first_register")) {
        reader.error(
            &key("register"),
            &format!("found `{found}`"),
            &format!("allowed: a register number from {} to {last}", around.first),
        );
    }
    let printed = printed.filter(is_there);
    let words = format.and_then(|format| words(point, format, path, reader));
    let registers = printed.zip(words).map(|(first, words)| first..=first + u32::from(words) - 1);
    let (codes, bits) = (codes(point, format, path, reader), bits(point, format.zip(words), path, reader));
    let keys = [("scale", point.scale.is_some()), ("divide_by", point.divide_by.is_some())];
    for (name, is_given) in keys.into_iter().chain([("offset", point.offset.is_some())]) {
        if let Some(format) = format.filter(|format| is_given && !format.is_scalable()) {
            let what = format!("found a {} on format {}", name.replace('_', " "), format.word());
            reader.error(&key(name), &what, &format!("allowed: `{name}` on numbers only"));
        }
    }
    let scale = scale(point, path, reader);
    let allowed = spans(point, format.zip(words), path, reader);
    let whole = || {
        let (registers, format) = registers.clone().zip(format)?;
        let start = u16::try_from(registers.start() - around.first).ok()?;
        Some(Point {
            name: name.clone()?,
            register: *registers.start(),
            range: ReadRange { function, start, quantity: words? },
            block: around.block,
            format,
            word_order: point.word_order.unwrap_or_else(|| around.word_order_of(format)),
            byte_order: point.byte_order.unwrap_or(around.byte_order),
            unit: point.unit.map(|unit| unit.0),
            scale,
            offset: point.offset.map(|offset| offset.0),
            bill_by: point.bill_by == YesNo::Yes,
            group: group?,
            access: point.access,
            non_volatile: point.non_volatile == YesNo::Yes,
            allowed,
            codes,
            bits,
            copy_of: point.copy_of.as_ref().map(|name| name.0.clone()),
            description: point.description.as_ref().map(|text| text.0.clone()).unwrap_or_default(),
            confidence: point.confidence,
        })
    };
    let scaled_by = scaled_by(point, path);
    PointRead { point: whole(), path: path.to_owned(), name, registers, scaled_by }
}

/// The number of registers of a point. `None`: a reported error.
fn words(point: &section::Point, format: Format, path: &str, reader: &mut Reader<'_, '_>) -> Option<u16> {
    let path = format!("{path}.words");
    if !reader.is_sound(&path) {
        return None;
    }
    let (allowed, word) = (format.words(), format.word());
    let (least, most) = (allowed.start(), allowed.end());
    let help = if least == most {
        format!("allowed: {least}, which `format: {word}` has anyway")
    } else {
        format!("allowed: `words` from {least} to {most}")
    };
    match point.words.map(|words| words.narrow::<u16>()) {
        Some(Some(found)) if allowed.contains(&found) => Some(found),
        Some(found) => {
            reader.error(&path, &format!("found {} registers", found.unwrap_or(u16::MAX)), &help);
            None
        }
        None => {
            let usual = format.usual_words();
            if usual.is_none() {
                let what = format!("format {word} does not say how many registers it has");
                reader.error(&path, &what, &help);
            }
            usual
        }
    }
}

/// The value of one step.
fn scale(point: &section::Point, path: &str, reader: &mut Reader<'_, '_>) -> Option<Scale> {
    let divided_by: Vec<_> = of(&point.divide_by).iter().map(|name| name.0.clone()).collect();
    let steps = match (&point.scale, divided_by.is_empty()) {
        (None, true) => return None,
        (Some(ScaleFactors::One(ScaleFactor::Factor(factor))), true) => return Some(Scale::Factor(*factor)),
        (Some(ScaleFactors::One(ScaleFactor::Name(name))), true) => {
            return Some(Scale::Exponent(name.0.clone()));
        }
        (None, false) => &[][..],
        (Some(ScaleFactors::One(step)), false) => std::slice::from_ref(step),
        (Some(ScaleFactors::Product(steps)), _) => steps.as_slice(),
    };
    let (mut factor, mut times) = (Some(Decimal::whole(1)), Vec::new());
    for step in steps {
        match step {
            ScaleFactor::Factor(number) => factor = factor.and_then(|factor| factor.times(*number)),
            ScaleFactor::Name(name) => times.push(name.0.clone()),
        }
    }
    let fits = |factor: &Decimal| factor.digits.unsigned_abs() < 10_u128.pow(MOST_PRODUCT);
    let Some(factor) = factor.filter(fits) else {
        let help = format!("allowed: numbers whose product has up to {MOST_DIGITS} digits");
        reader.error(&format!("{path}.scale"), "found numbers whose product is too long", &help);
        return None;
    };
    if times.is_empty() && divided_by.is_empty() {
        return Some(Scale::Factor(factor));
    }
    Some(Scale::Ratio(Ratio { factor, times, divided_by }))
}

/// Each point a scale refers to, with the path of the reference.
fn scaled_by(point: &section::Point, path: &str) -> Vec<(String, String)> {
    let scale = format!("{path}.scale");
    let mut named: Vec<(String, String)> = match &point.scale {
        Some(ScaleFactors::One(ScaleFactor::Name(name))) => vec![(name.0.clone(), scale)],
        Some(ScaleFactors::One(ScaleFactor::Factor(_))) | None => Vec::new(),
        Some(ScaleFactors::Product(steps)) => {
            let names = steps.iter().enumerate().filter_map(|(index, step)| match step {
                ScaleFactor::Name(name) => Some((name.0.clone(), format!("{scale}[{index}]"))),
                ScaleFactor::Factor(_) => None,
            });
            names.collect()
        }
    };
    let divisors = of(&point.divide_by).iter().enumerate();
    named.extend(divisors.map(|(index, name)| (name.0.clone(), format!("{path}.divide_by[{index}]"))));
    named
}

/// The allowed values; an exponent without them gets the plausible ones.
fn spans(
    point: &section::Point,
    format: Option<(Format, u16)>,
    path: &str,
    reader: &mut Reader<'_, '_>,
) -> Vec<RangeInclusive<f64>> {
    let path = format!("{path}.range");
    let format = format.filter(|_| reader.is_whole(&path, of(&point.range)));
    let Some((format, words)) = format else { return Vec::new() };
    if format == Format::Text && point.range.is_some() {
        reader.error(&path, "found a range on format text", "allowed: ranges on numbers only");
        return Vec::new();
    }
    let (least, most) = format.limits(words);
    let is_whole = |number: &f64| format.is_float() || number.fract() == 0.0;
    for (index, Span(found)) in of(&point.range).iter().enumerate() {
        let (low, high) = (found.start(), found.end());
        let help = if *low < least || *high > most || !is_whole(low) || !is_whole(high) {
            let example = if format.is_float() { "45.0..65.0" } else { "0..32767" };
            format!("allowed: a number, or a span such as {example}, within what {} holds", format.word())
        } else if format == Format::Exponent && (*low < -MAX_EXPONENT || *high > MAX_EXPONENT) {
            format!("allowed: exponents from -{MAX_EXPONENT} to {MAX_EXPONENT}")
        } else {
            continue;
        };
        let shown = if low == high { low.to_string() } else { format!("{low}..{high}") };
        reader.error(&format!("{path}[{index}]"), &format!("found `{shown}`"), &help);
    }
    let default =
        (format == Format::Exponent && point.range.is_none()).then_some(-MAX_EXPONENT..=MAX_EXPONENT);
    of(&point.range).iter().map(|span| span.0.clone()).chain(default).collect()
}

fn codes(
    point: &section::Point,
    format: Option<Format>,
    path: &str,
    reader: &mut Reader<'_, '_>,
) -> Vec<Code> {
    let path = format!("{path}.codes");
    let is_whole = reader.is_whole(&path, of(&point.codes));
    if let Some(format) = format.filter(|format| *format != Format::U16 && point.codes.is_some()) {
        let what = format!("found codes on format {}", format.word());
        reader.error(&path, &what, "allowed: codes on u16 only");
    }
    let mut codes: Vec<Code> = Vec::new();
    for (index, read) in of(&point.codes).iter().enumerate() {
        let Some(code) = read.code.narrow() else { continue };
        if codes.iter().any(|known| known.code == code) && is_whole {
            let at = format!("{path}[{index}].code");
            reader.error(&at, "found the code a second time", "allowed: each code once");
        }
        codes.push(Code { code, means: read.means.0.clone() });
    }
    codes
}

fn bits(
    point: &section::Point,
    format: Option<(Format, u16)>,
    path: &str,
    reader: &mut Reader<'_, '_>,
) -> Vec<Bit> {
    let path = format!("{path}.bits");
    let is_whole = reader.is_whole(&path, of(&point.bits));
    if let Some((format, _)) = format.filter(|(format, _)| *format != Format::Bits && point.bits.is_some()) {
        let what = format!("found bits on format {}", format.word());
        reader.error(&path, &what, "allowed: bits on format bits only");
    }
    let mut bits: Vec<Bit> = Vec::new();
    for (index, read) in of(&point.bits).iter().enumerate() {
        let Some(bit) = read.bit.narrow() else { continue };
        let at = format!("{path}[{index}]");
        let wide =
            format.is_some_and(|(format, words)| format == Format::Bits && u16::from(bit) >= 16 * words);
        if is_whole && wide {
            let help = "allowed: 0 to 15, or with `words: 2` 0 to 31";
            reader.error(&format!("{at}.bit"), &format!("found `{bit}`"), help);
        }
        if is_whole && bits.iter().any(|known| known.bit == bit) {
            reader.error(&format!("{at}.bit"), "found the bit a second time", "allowed: each bit once");
        }
        if is_whole && bits.iter().any(|known| known.name == read.name.0) {
            reader.error(&format!("{at}.name"), "found the name a second time", "allowed: each name once");
        }
        let remedy = read.remedy.as_ref().map(|remedy| remedy.0.clone());
        bits.push(Bit { bit, name: read.name.0.clone(), means: read.means.0.clone(), remedy });
    }
    bits.sort_by_key(|bit| bit.bit);
    bits
}

fn validity(read: &section::Validity) -> Validity {
    let names = |list: &Option<List<Word, 1, 256>>| of(list).iter().map(|name| name.0.clone()).collect();
    let types = read.types.0.iter().filter_map(|one| {
        let (not_valid, uncertain) = (names(&one.not_valid), names(&one.uncertain));
        Some(SystemType { code: one.code.narrow()?, not_valid, uncertain })
    });
    Validity { point: read.point.0.clone(), confidence: read.confidence, types: types.collect() }
}

fn command(read: &section::Command) -> Option<Command> {
    Some(Command {
        point: read.point.0.clone(),
        code: read.code.narrow()?,
        name: read.name.0.clone(),
        effect: read.effect.0.clone(),
        min_interval: read.min_interval.get(),
        confidence: read.confidence,
    })
}

fn identification(read: &section::Identification) -> Identification {
    let text = |name: &Option<Name>| name.as_ref().map(|name| name.0.clone());
    Identification {
        server_id: read.server_id.and_then(|id| id.narrow()),
        server_text: of(&read.server_text).iter().map(|name| name.0.clone()).collect(),
        vendor: text(&read.vendor),
        product: text(&read.product),
        version: read.version.as_ref().map(|name| name.0.clone()),
    }
}

/// Registers of one read (Application Protocol Specification, chapter 6.3).
const MAX_QUANTITY: u32 = 125;
/// Entries of `blocks`.
const MAX_BLOCKS: usize = 64;
/// Entries of `points`: one for each register of a block.
const MAX_POINTS: usize = 125;
/// Digits of a product of scales.
const MOST_PRODUCT: u32 = 18;
/// The range of exponents a meter may scale by.
const MAX_EXPONENT: f64 = 10.0;
