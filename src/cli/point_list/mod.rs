//! `export`: the points of the configured meters as a client imports them.
//!
//! Owns which points are listed, under which addresses, and how their registers make a value; each format is a file of
//! its own. Everything comes from the configuration and its profiles: no meter is asked, nothing is opened.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;

use super::args::meter::UnitList;
use super::args::{Export, ExportFormat};
use super::command_error::CommandError;
use super::exit::Exit;
use super::{instances, output, point_selection};
use crate::config::{self, Bus, Config, Listener};
use crate::line::UnitId;
use crate::meter::{ByteOrder, Decimal, Format, Group, Point, Profile, Scale, WordOrder};
use crate::modbus::AduFraming;
use crate::modbus::pdu::FunctionCode;

mod csv;
mod home_assistant;
mod modbus_exporter;
mod prometheus_scrape;
mod telegraf;

/// Prints the list.
#[must_use]
pub fn export(args: &Export) -> Exit {
    match list(args) {
        Ok(text) => output::print(text.as_bytes()),
        Err(stop) => stop.report(),
    }
}

fn list(args: &Export) -> Result<String, CommandError> {
    let Some(found) = instances::find(args.config.as_deref())? else {
        return Err(CommandError::Failed(
            Exit::Configuration,
            format!(
                "no gateway was started here, and there is no {}; --config FILE names a configuration",
                instances::CONFIGURATION
            ),
        ));
    };
    let config = config::load(found.path())?.config;
    if args.format == ExportFormat::PrometheusScrape {
        return prometheus_scrape::list(&config, args.host.as_deref());
    }
    let endpoints = endpoints(&config, args)?;
    let representation = match args.format {
        ExportFormat::Csv => Representation::Any,
        ExportFormat::HomeAssistant
        | ExportFormat::Telegraf
        | ExportFormat::Prometheus
        | ExportFormat::PrometheusScrape => Representation::Fixed,
    };
    let endpoints: Vec<Chosen<'_>> =
        endpoints.iter().map(|one| one.choose(&args.points, representation)).collect::<Result<_, _>>()?;
    Ok(match args.format {
        ExportFormat::Csv => csv::list(&endpoints),
        ExportFormat::HomeAssistant => home_assistant::list(&endpoints),
        ExportFormat::Prometheus => modbus_exporter::list(&endpoints)?,
        ExportFormat::Telegraf | ExportFormat::PrometheusScrape => telegraf::list(&endpoints),
    })
}

/// What clients connect to, and the meters they find there.
struct Endpoint {
    host: String,
    port: u16,
    framing: AduFraming,
    meters: Vec<Meter>,
}

/// One meter.
struct Meter {
    /// What clients send.
    unit: u8,
    name: Option<String>,
    bus: String,
    profile: Arc<Profile>,
}

impl Meter {
    /// What people call it.
    fn title(&self) -> String {
        self.name.clone().unwrap_or_else(|| format!("Unit {}", self.unit))
    }
}

/// An endpoint with the points that are listed of each meter.
struct Chosen<'e> {
    host: &'e str,
    port: u16,
    framing: AduFraming,
    meters: Vec<(&'e Meter, Vec<Listed<'e>>)>,
}

/// One point of a list.
#[derive(Clone, Copy)]
struct Listed<'p> {
    point: &'p Point,
    /// The name that all representations of its quantity have in common.
    quantity: &'p str,
}

impl Listed<'_> {
    /// The function that reads it: 3 for holding, 4 for input registers.
    fn function(&self) -> FunctionCode {
        self.point.range.function
    }

    fn is_input(&self) -> bool {
        self.function() == FunctionCode::READ_INPUT_REGISTERS
    }

    /// On the wire, counted from 0.
    fn address(&self) -> u16 {
        self.point.range.start
    }
}

/// What a client can make of registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Representation {
    /// Everything is listed, and a column says what it takes.
    Any,
    /// Numbers of the usual widths, with a scale that stays.
    Fixed,
}

/// The meters of a configuration by the listener through which they are reached.
fn endpoints(config: &Config, args: &Export) -> Result<Vec<Endpoint>, CommandError> {
    let wanted = args.unit.as_ref().map(UnitList::ids).unwrap_or_default();
    let listeners: Vec<&Listener> = config
        .listeners
        .iter()
        .filter(|listener| {
            let address = listener.settings.at.tcp();
            address.is_some() && args.listener.is_none_or(|wanted| address == Some(wanted))
        })
        .collect();
    if listeners.is_empty() {
        let all: Vec<String> = config
            .listeners
            .iter()
            .filter_map(|one| one.settings.at.tcp())
            .map(|one| one.to_string())
            .collect();
        return Err(CommandError::usage(format!(
            "--listener: there is no such listener; there are {}",
            all.join(", ")
        )));
    }
    let mut endpoints: Vec<Endpoint> = Vec::new();
    let mut without_profile = Vec::new();
    for (index, bus) in config.buses.iter().enumerate() {
        let mut leading = listeners.iter().filter(|listener| listener.buses.contains(&index));
        // More clients speak Modbus TCP, and its answers name their requests.
        let of_tcp = leading.clone().find(|listener| listener.settings.framing == AduFraming::Tcp);
        let Some(listener) = of_tcp.or_else(|| leading.next()) else { continue };
        let sent = |id: &UnitId| sent_by_clients(listener, bus, *id).map(|sent| (*id, sent));
        for (id, unit) in bus.wire.iter().filter_map(sent) {
            if !wanted.is_empty() && !wanted.contains(&unit) {
                continue;
            }
            let Some(known) = bus.profiles.get(&id) else {
                without_profile.push(unit.to_string());
                continue;
            };
            let settings = bus.line.units.iter().find(|settings| settings.id == id);
            let meter = Meter {
                unit,
                name: settings.and_then(|settings| settings.name.clone()),
                bus: bus.line.name.clone(),
                profile: Arc::clone(&known.profile),
            };
            let Some(address) = listener.settings.at.tcp() else { continue };
            let (host, port) = reached_at(address, args.host.as_deref());
            let framing = listener.settings.framing;
            let same =
                |known: &&mut Endpoint| (&known.host, known.port, known.framing) == (&host, port, framing);
            match endpoints.iter_mut().find(same) {
                Some(endpoint) => endpoint.meters.push(meter),
                None => endpoints.push(Endpoint { host, port, framing, meters: vec![meter] }),
            }
        }
    }
    if !without_profile.is_empty() {
        output::complain(&format!(
            "not exported, for there is no profile that says what their registers mean: units {}",
            without_profile.join(", ")
        ));
    }
    if endpoints.is_empty() {
        return Err(CommandError::usage("no unit with a profile is left to export"));
    }
    Ok(endpoints)
}

/// What clients of the listener send for a unit; `None`: it is not served there.
fn sent_by_clients(listener: &Listener, bus: &Bus, id: UnitId) -> Option<u8> {
    let alias = bus.aliases.iter().find(|(_, known)| **known == id).map(|(alias, _)| *alias)?;
    match &listener.unit_map {
        Some(map) => map.iter().find(|(_, meant)| **meant == alias).map(|(sent, _)| *sent),
        None => Some(alias),
    }
}

/// Where other machines find a listener: under the name that is given, its own address, or this machine's name.
fn reached_at(address: SocketAddr, host: Option<&str>) -> (String, u16) {
    let own = if address.ip().is_unspecified() { host_name() } else { address.ip().to_string() };
    (host.map_or(own, str::to_owned), address.port())
}

/// The name of this machine.
pub(super) fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "localhost".to_owned() } else { name.trim().to_owned() }
}

impl Endpoint {
    fn choose(&self, words: &[String], representation: Representation) -> Result<Chosen<'_>, CommandError> {
        let mut meters = Vec::new();
        for meter in &self.meters {
            meters.push((meter, choose(&meter.profile, words, representation)?));
        }
        Ok(Chosen { host: &self.host, port: self.port, framing: self.framing, meters })
    }
}

/// The points the words mean, without words each measured quantity once; of a quantity that the client could not make a
/// value of, another representation, and where there is none, nothing.
fn choose<'p>(
    profile: &'p Profile,
    words: &[String],
    representation: Representation,
) -> Result<Vec<Listed<'p>>, CommandError> {
    let chosen = point_selection::choose(profile, words).map_err(CommandError::usage)?;
    let mut listed: Vec<Listed<'_>> = Vec::new();
    for point in chosen.into_iter().filter(|point| !words.is_empty() || is_measured(point)) {
        let quantity = point.copy_of.as_deref().unwrap_or(&point.name);
        let fits = |point: &&Point| representation == Representation::Any || Number::of(point).is_some();
        let same = |other: &&Point| other.copy_of.as_deref().unwrap_or(&other.name) == quantity;
        let is_polled = |other: &&Point| profile.blocks.get(other.block).is_some_and(|block| block.polled);
        let mut others = profile.points.iter().filter(same).filter(fits);
        let found = Some(point).filter(fits).or_else(|| {
            let mut all = others.clone();
            all.find(is_polled).or_else(|| others.next())
        });
        if let Some(point) = found
            && !listed.iter().any(|known| known.point.name == point.name)
        {
            listed.push(Listed { point, quantity });
        }
    }
    Ok(listed)
}

fn is_measured(point: &Point) -> bool {
    match point.group {
        Group::Energy
        | Group::Power
        | Group::PowerFactor
        | Group::Voltage
        | Group::Current
        | Group::Frequency
        | Group::Demand
        | Group::Pulses
        | Group::Other => true,
        Group::Configuration | Group::Scale | Group::Diagnostics | Group::Identity | Group::Reserved => false,
    }
}

/// A number as clients without a profile can read it: of a usual width, with a scale that stays.
struct Number {
    kind: NumberKind,
    bits: u16,
    /// What one step is worth, where that is not 1.
    scale: Option<Decimal>,
    /// What is added after scaling.
    offset: Option<Decimal>,
    word_order: WordOrder,
    byte_order: ByteOrder,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NumberKind {
    Signed,
    Unsigned,
    Float,
}

impl Number {
    /// `None`: it takes more to make a value of the point's registers.
    fn of(point: &Point) -> Option<Self> {
        let kind = match point.format {
            Format::I16 | Format::I32 | Format::I64 => NumberKind::Signed,
            Format::U16 | Format::U32 | Format::U64 | Format::Bits => NumberKind::Unsigned,
            Format::F32 | Format::F64 => NumberKind::Float,
            Format::U48
            | Format::Text
            | Format::Bcd
            | Format::Mod10000
            | Format::Exponent
            | Format::Version => return None,
        };
        let scale = match &point.scale {
            None => None,
            Some(Scale::Factor(factor)) => Some(*factor),
            Some(Scale::Exponent(_) | Scale::Ratio(_)) => return None,
        };
        let (word_order, byte_order) = (point.word_order, point.byte_order);
        Some(Self {
            kind,
            bits: point.range.quantity * 16,
            scale,
            offset: point.offset,
            word_order,
            byte_order,
        })
    }
}
