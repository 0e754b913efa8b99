//! The text of a profile into a checked [`Profile`], or into everything that is wrong with it.
//!
//! Owns the bounds of the file's sections; a fault in one never hides those in another. What two sections say
//! about each other is in `cross`.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::cross;
use super::keys::Part;
use super::point::{self, Around, PointRead, entries};
use super::profile::{Block, Command, Identification, Profile, SystemType, Validity};
use super::value::{first_register, pattern, prose, register_function, registers, word, yes_no};
use super::words::{self, Format};
use crate::modbus::pdu::{FunctionCode, ReadRange};
use crate::yaml::problem::{Faults, Place, Problems, unreadable};
use crate::yaml::section::{Field, Section, judge, optional};
use crate::yaml::text;
use crate::yaml::tree::Node;
use crate::yaml::value::{choice, count, duration, name};

/// A block as read.
pub(super) struct BlockRead {
    pub(super) name: Option<String>,
    pub(super) name_at: Place,
    pub(super) range_at: Place,
    pub(super) core_at: Place,
    /// Its registers, as printed.
    pub(super) registers: Option<RangeInclusive<u32>>,
    /// The part of them to fall back on.
    pub(super) core: Option<RangeInclusive<u32>>,
    /// The tables that have them; empty: reported.
    pub(super) functions: Vec<FunctionCode>,
    /// Whether every entry of `points` could be read as far as its registers.
    pub(super) complete: bool,
    pub(super) points: Vec<PointRead>,
    block: Option<Block>,
}

/// A range of registers that no block may touch.
pub(super) struct GapRead {
    pub(super) registers: RangeInclusive<u32>,
}

/// A name in the file that leads to a point, and where it stands.
pub(super) type Named = (String, Place);

/// What is read beside the blocks, and each name in it that must lead somewhere, whatever else was reported.
#[derive(Default)]
pub(super) struct Extras {
    /// The points of `headline`.
    pub(super) headline: Vec<Named>,
    validity: Option<Validity>,
    /// The point of `validity`.
    pub(super) validity_point: Option<Named>,
    /// The points its types name.
    pub(super) valid_points: Vec<Named>,
    /// The codes of its types.
    pub(super) type_codes: Vec<(u16, Place)>,
    commands: Vec<Command>,
    /// The points commands are written to.
    pub(super) command_points: Vec<Named>,
    /// What the commands are called.
    pub(super) command_names: Vec<Named>,
    identification: Identification,
    /// The point of the firmware's version.
    pub(super) version: Option<Named>,
    /// Something of it was reported.
    faulty: bool,
}

impl Profile {
    /// Checks the text of a profile; `file_name` stands in the messages.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(text: &str, file_name: &str) -> Result<Self, Problems> {
        let text = text::bounded(text, file_name)?;
        let mut faults = Faults::new(file_name, text);
        let profile = read(text, &mut faults);
        faults.finish()?;
        // Not reached: a part is missing only where a fault was noted.
        profile.ok_or_else(|| unreadable(file_name, "the profile is incomplete".to_owned()))
    }
}

fn read(text: &str, faults: &mut Faults<'_>) -> Option<Profile> {
    let root = text::read(text, "a mapping with name, title and blocks", faults)?;
    let section = Section::open(&root, "", Part::Profile, faults)?;
    let profile_name = section.value("name", faults, word);
    let title = section.value("title", faults, name);
    let first = section.value("first_register", faults, first_register);
    let word_order =
        section.value("word_order", faults, |n| choice(n, words::WORD_ORDERS, words::word_order));
    let mirrored = section.value("mirrored", faults, yes_no);
    let functions = read_functions(&section, faults).or(Some(vec![FunctionCode::READ_HOLDING_REGISTERS]));
    let not_available = read_not_available(&section, faults);
    // Register numbers are judged as if they began at 1 where nobody knows at what they begin.
    let base = first.unwrap_or(1);
    let gaps = read_gaps(&section, base, faults);
    let blocks = read_blocks(&section, base, functions.as_deref(), faults);
    let extras = read_extras(&section, faults);
    let known: Vec<_> = blocks.iter().flatten().collect();
    cross::check(&known, gaps.as_deref().unwrap_or_default(), mirrored.unwrap_or(false), &extras, faults);
    if extras.faulty {
        return None;
    }
    let mut profile = Profile {
        name: profile_name?,
        title: title?,
        first_register: first?,
        word_order: word_order?,
        mirrored: mirrored?,
        not_available: not_available?,
        gaps: gaps?.into_iter().map(|gap| gap.registers).collect(),
        blocks: Vec::new(),
        points: Vec::new(),
        headline: extras.headline.into_iter().map(|(name, _)| name).collect(),
        validity: extras.validity,
        commands: extras.commands,
        identification: extras.identification,
    };
    for block in blocks {
        let BlockRead { block, points, .. } = block?;
        profile.blocks.push(block?);
        let points: Option<Vec<_>> = points.into_iter().map(|read| read.point).collect();
        profile.points.extend(points?);
    }
    profile.points.sort_by_key(|point| (point.block, point.range.start));
    describe_copies(&mut profile);
    Some(profile)
}

/// A copy is what its original is.
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

fn read_not_available(section: &Section<'_, Part>, faults: &mut Faults<'_>) -> Option<Vec<(Format, u64)>> {
    let Some(node) = section.node("not_available") else { return Some(Vec::new()) };
    let inner = Section::open(node, "not_available", Part::NotAvailable, faults)?;
    let mut codes = Vec::new();
    let mut sound = true;
    let formats = Format::ALL.iter().filter(|format| format.is_scalable() || **format == Format::F32);
    for format in formats {
        match optional(inner.field(format.word(), faults, |n| pattern(n, *format))) {
            Some(Some(code)) => codes.push((*format, code)),
            Some(None) => {}
            None => sound = false,
        }
    }
    sound.then_some(codes)
}

fn read_gaps(section: &Section<'_, Part>, first: u32, faults: &mut Faults<'_>) -> Option<Vec<GapRead>> {
    let items = entries(section, "gaps", MAX_GAPS, faults)?;
    let mut gaps = Vec::new();
    let mut sound = true;
    for (path, item) in items {
        let place = Place { spot: item.spot, key: path };
        match judge(item, &place, faults, |n| registers(n, first)) {
            Some(registers) => gaps.push(GapRead { registers }),
            None => sound = false,
        }
    }
    sound.then_some(gaps)
}

fn read_blocks(
    section: &Section<'_, Part>,
    first: u32,
    functions: Option<&[FunctionCode]>,
    faults: &mut Faults<'_>,
) -> Vec<Option<BlockRead>> {
    let items = section.list("blocks", MAX_BLOCKS, faults).unwrap_or_default();
    let numbered = items.into_iter().enumerate();
    numbered.map(|(index, (path, item))| read_block(item, &path, index, first, functions, faults)).collect()
}

fn read_block(
    node: &Node,
    path: &str,
    index: usize,
    first_register: u32,
    functions: Option<&[FunctionCode]>,
    faults: &mut Faults<'_>,
) -> Option<BlockRead> {
    let section = Section::open(node, path, Part::Block, faults)?;
    let name = section.value("name", faults, word);
    let functions = read_tables(&section, functions, faults);
    let function = functions.as_ref().and_then(|functions| functions.first().copied());
    let printed = section.value("registers", faults, |n| registers(n, first_register));
    let printed = printed.filter(|found| is_one_read(found, &section.place_of("registers"), faults));
    let core = optional(section.field("core", faults, |n| registers(n, first_register)));
    let kind = section.value("kind", faults, |n| choice(n, words::BLOCK_KINDS, words::block_kind));
    let polled = section.value("polled", faults, yes_no);
    let around = Around {
        first_register,
        function: function.unwrap_or(FunctionCode::READ_HOLDING_REGISTERS),
        block: index,
    };
    let items = section.list("points", MAX_POINTS, faults);
    let listed = items.is_some();
    let read: Vec<_> = items
        .unwrap_or_default()
        .into_iter()
        .map(|(path, item)| point::read(item, &path, around, faults))
        .collect();
    let complete = listed && read.iter().all(|point| point.as_ref().is_some_and(|p| p.registers.is_some()));
    let range = |found: &RangeInclusive<u32>| {
        let quantity = u16::try_from(found.end() - found.start() + 1).ok()?;
        Some(ReadRange {
            function: function?,
            start: u16::try_from(found.start() - first_register).ok()?,
            quantity,
        })
    };
    let block = || {
        Some(Block {
            name: name.clone()?,
            range: range(printed.as_ref()?)?,
            functions: functions.clone()?,
            core: core.clone()?.as_ref().and_then(range),
            kind: kind?,
            polled: polled?,
        })
    };
    Some(BlockRead {
        block: block(),
        name_at: section.place_of("name"),
        range_at: section.place_of("registers"),
        core_at: section.place_of("core"),
        registers: printed.clone(),
        core: core.clone().flatten(),
        functions: functions.clone().unwrap_or_default(),
        complete,
        points: read.into_iter().flatten().collect(),
        name,
    })
}

/// The tables of a block: its own `functions` or `table`, else what the profile says.
fn read_tables(
    section: &Section<'_, Part>,
    absent: Option<&[FunctionCode]>,
    faults: &mut Faults<'_>,
) -> Option<Vec<FunctionCode>> {
    let own = read_functions(section, faults);
    let named = section.field("table", faults, |n| choice(n, TABLES, table));
    match (own, named) {
        (own, Field::Absent) => own.or(absent.map(<[_]>::to_vec)),
        (Field::Absent, Field::Given(function)) => Some(vec![function]),
        (Field::Given(_), Field::Given(_)) => {
            let message = "found a table beside functions, which name it too; allowed: one of the two keys";
            faults.error(&section.place_of("table"), message);
            None
        }
        (Field::Absent | Field::Faulty | Field::Given(_), Field::Faulty | Field::Given(_)) => None,
    }
}

/// The key `functions`: each table once.
fn read_functions(section: &Section<'_, Part>, faults: &mut Faults<'_>) -> Field<Vec<FunctionCode>> {
    if section.node("functions").is_none() {
        return Field::Absent;
    }
    let Some(items) = section.list("functions", TABLES.len(), faults) else { return Field::Faulty };
    let mut functions = Vec::new();
    let mut sound = true;
    for (path, item) in items {
        let place = Place { spot: item.spot, key: path };
        match judge(item, &place, faults, register_function) {
            Some(function) if functions.contains(&function) => {
                let message = format!("found {} a second time; allowed: each function once", item.describe());
                faults.error(&place, message);
                sound = false;
            }
            Some(function) => functions.push(function),
            None => sound = false,
        }
    }
    if sound { Field::Given(functions) } else { Field::Faulty }
}

/// Whether so many registers fit one transaction.
fn is_one_read(found: &RangeInclusive<u32>, place: &Place, faults: &mut Faults<'_>) -> bool {
    let quantity = found.end() - found.start() + 1;
    if quantity > MAX_QUANTITY {
        let message =
            format!("found {quantity} registers; allowed: up to {MAX_QUANTITY}, what one read gives");
        faults.error(place, message);
    }
    quantity <= MAX_QUANTITY
}

fn read_extras(section: &Section<'_, Part>, faults: &mut Faults<'_>) -> Extras {
    let mut extras = Extras::default();
    let headline = entries(section, "headline", MAX_HEADLINE, faults);
    extras.faulty |= headline.is_none();
    for (path, item) in headline.unwrap_or_default() {
        let place = Place { spot: item.spot, key: path };
        match judge(item, &place, faults, word) {
            Some(name) => extras.headline.push((name, place)),
            None => extras.faulty = true,
        }
    }
    if let Some(node) = section.node("validity") {
        extras.validity = read_validity(node, &mut extras, faults);
        extras.faulty |= extras.validity.is_none();
    }
    let commands = entries(section, "commands", MAX_COMMANDS, faults);
    extras.faulty |= commands.is_none();
    for (path, item) in commands.unwrap_or_default() {
        let command = read_command(item, &path, &mut extras, faults);
        extras.faulty |= command.is_none();
        extras.commands.extend(command);
    }
    if let Some(node) = section.node("identification") {
        let identification = read_identification(node, &mut extras, faults);
        extras.faulty |= identification.is_none();
        extras.identification = identification.unwrap_or_default();
    }
    extras
}

/// A key's name for a point, with its place; nothing where it is absent or was reported.
fn named(section: &Section<'_, Part>, key: &str, name: Option<&String>) -> Option<Named> {
    name.map(|name| (name.clone(), section.place_of(key)))
}

fn read_validity(node: &Node, extras: &mut Extras, faults: &mut Faults<'_>) -> Option<Validity> {
    let section = Section::open(node, "validity", Part::Validity, faults)?;
    let point = section.value("point", faults, word);
    extras.validity_point = named(&section, "point", point.as_ref());
    let confidence =
        section.value("confidence", faults, |n| choice(n, words::CONFIDENCES, words::confidence));
    let mut types = Vec::new();
    for (path, item) in section.list("types", MAX_TYPES, faults)? {
        types.push(read_type(item, &path, extras, faults));
    }
    let types = types.into_iter().collect::<Option<Vec<_>>>();
    Some(Validity { point: point?, confidence: confidence?, types: types? })
}

fn read_type(node: &Node, path: &str, extras: &mut Extras, faults: &mut Faults<'_>) -> Option<SystemType> {
    let section = Section::open(node, path, Part::Type, faults)?;
    let code = section.value("code", faults, |n| count(n, 0, u32::from(u16::MAX)));
    let code = code.and_then(|code| u16::try_from(code).ok());
    if let Some(code) = code {
        let place = section.place_of("code");
        if extras.type_codes.iter().any(|(known, _)| *known == code) {
            faults.error(&place, "found the code a second time; allowed: each code once");
        }
        extras.type_codes.push((code, place));
    }
    let mut names = |key: &str| {
        let mut names = Vec::new();
        let mut sound = true;
        for (path, item) in entries(&section, key, MAX_NAMED, faults)? {
            let place = Place { spot: item.spot, key: path };
            match judge(item, &place, faults, word) {
                Some(name) => {
                    extras.valid_points.push((name.clone(), place));
                    names.push(name);
                }
                None => sound = false,
            }
        }
        sound.then_some(names)
    };
    let (not_valid, uncertain) = (names("not_valid"), names("uncertain"));
    Some(SystemType { code: code?, not_valid: not_valid?, uncertain: uncertain? })
}

fn read_command(node: &Node, path: &str, extras: &mut Extras, faults: &mut Faults<'_>) -> Option<Command> {
    let section = Section::open(node, path, Part::Command, faults)?;
    let point = section.value("point", faults, word);
    let code = section.value("code", faults, |n| count(n, 0, u32::from(u16::MAX)));
    let name = section.value("name", faults, word);
    let effect = section.value("effect", faults, prose);
    let interval = section.value("min_interval", faults, |n| duration(n, Duration::ZERO, MAX_INTERVAL));
    let confidence =
        section.value("confidence", faults, |n| choice(n, words::CONFIDENCES, words::confidence));
    extras.command_points.extend(named(&section, "point", point.as_ref()));
    extras.command_names.extend(named(&section, "name", name.as_ref()));
    Some(Command {
        point: point?,
        code: u16::try_from(code?).ok()?,
        name: name?,
        effect: effect?,
        min_interval: interval?,
        confidence: confidence?,
    })
}

fn read_identification(node: &Node, extras: &mut Extras, faults: &mut Faults<'_>) -> Option<Identification> {
    let section = Section::open(node, "identification", Part::Identification, faults)?;
    let server_id = optional(section.field("server_id", faults, |n| count(n, 0, u32::from(u8::MAX))));
    let texts = entries(&section, "server_text", MAX_TEXTS, faults).map(|items| {
        let read =
            |(path, item): (String, &Node)| judge(item, &Place { spot: item.spot, key: path }, faults, name);
        items.into_iter().map(read).collect::<Vec<_>>()
    });
    let vendor = optional(section.field("vendor", faults, name));
    let product = optional(section.field("product", faults, name));
    let version = optional(section.field("version", faults, word));
    extras.version = named(&section, "version", version.as_ref().and_then(Option::as_ref));
    Some(Identification {
        server_id: server_id?.and_then(|id| u8::try_from(id).ok()),
        server_text: texts?.into_iter().collect::<Option<_>>()?,
        vendor: vendor?,
        product: product?,
        version: version?,
    })
}

fn table(function: FunctionCode) -> &'static str {
    if function == FunctionCode::READ_INPUT_REGISTERS { "input" } else { "holding" }
}

const TABLES: &[FunctionCode] = &[FunctionCode::READ_HOLDING_REGISTERS, FunctionCode::READ_INPUT_REGISTERS];
/// Registers of one read (Application Protocol Specification, chapter 6.3).
const MAX_QUANTITY: u32 = 125;
/// Entries of `blocks`.
const MAX_BLOCKS: usize = 64;
/// Entries of `points`: one for each register of a block.
const MAX_POINTS: usize = 125;
/// Points of a headline: what fits one row of a page, and what the history keeps of each meter.
const MAX_HEADLINE: usize = 4;
/// Entries of `gaps`.
const MAX_GAPS: usize = 64;
/// Entries of `types`.
const MAX_TYPES: usize = 32;
/// Points named by one list of a type.
const MAX_NAMED: usize = 256;
/// Entries of `commands`.
const MAX_COMMANDS: usize = 64;
/// Entries of `server_text`.
const MAX_TEXTS: usize = 8;
/// The longest pause after a command.
const MAX_INTERVAL: Duration = Duration::from_secs(60 * 60);
