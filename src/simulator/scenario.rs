//! Parses a scenario into a chain of meters, or into everything that is wrong with it.
//!
//! Owns the checks between the keys of a meter and of a fault, and which meters a fault concerns; never reads a file.
//! The format: `docs/simulator.md`.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::Deserialize;

use super::section::{self, BaudRate, FaultName, Load, Scenario};
use super::settings::{ChainSettings, Fault, FaultKind, MeterSettings, Phase, SystemType};
use crate::document::{self, Format, Name, Node, Problems, Reader, did_you_mean, whole_number};

/// Checks the text of a scenario; `file_name` is shown in messages.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(text: &str, file_name: &str) -> Result<ChainSettings, Problems> {
    document::read(text, file_name, &FORMAT, read).map(|(chain, _warnings)| chain)
}

static FORMAT: Format = Format {
    holds: "a file with `meters:`",
    sections: &[
        document::section::<Scenario>,
        document::section::<section::Meter>,
        document::section::<Load>,
        document::section::<section::Fault>,
    ],
};

/// An entry of `meters`.
struct MeterRead {
    /// `None`: reported.
    ids: Option<RangeInclusive<u8>>,
    /// Without its identifier.
    settings: MeterSettings,
}

impl MeterRead {
    /// One item per meter of the entry.
    fn ids(&self) -> impl Iterator<Item = u8> + use<> {
        self.ids.clone().unwrap_or(0..=0)
    }
}

fn read<'n>(reader: &mut Reader<'n, '_>, root: &'n Node) -> Option<ChainSettings> {
    let scenario: Scenario = reader.section(root, "")?;
    let meters =
        reader.sections::<section::Meter, _>(root, "", "meters", MAX_METERS, |reader, node, path| {
            let meter = reader.section(node, path).unwrap_or_default();
            read_meter(&meter, path, &scenario, reader)
        });
    let faults =
        reader.sections_if_any::<section::Fault, _>(root, "", "faults", MAX_FAULTS, |reader, node, path| {
            let fault = reader.section(node, path).unwrap_or_default();
            read_fault(&fault, path, &meters, reader)
        });
    if reader.has_errors() {
        return None;
    }
    let each = |read: &MeterRead| {
        read.ids().map(|unit| MeterSettings { unit, ..read.settings.clone() }).collect::<Vec<_>>()
    };
    Some(ChainSettings {
        baud_rate: rate(scenario.baud_rate)?,
        character_bits: 10,
        meters: meters.iter().flat_map(each).collect(),
        faults: faults.into_iter().collect::<Option<_>>()?,
        age: Duration::ZERO,
        past: Vec::new(),
        seed: scenario.seed.get().into(),
    })
}

fn rate(rate: BaudRate) -> Option<NonZeroU32> {
    NonZeroU32::new(rate.get())
}

fn read_meter(
    meter: &section::Meter,
    path: &str,
    scenario: &Scenario,
    reader: &mut Reader<'_, '_>,
) -> MeterRead {
    let key = |name: &str| format!("{path}.{name}");
    reader.require(&meter.id, &key("id"));
    let ids = meter.id.as_ref().map(|ids| ids.0.clone());
    if meter.name.is_some() && ids.as_ref().is_some_and(|ids| ids.len() > 1) {
        reader.error(
            &key("name"),
            "found a name for several meters",
            "allowed: a name where id is one number",
        );
    }
    let wiring = meter.system_type.0;
    let voltage = meter.voltage.and_then(|voltage| voltage.narrow());
    if ["system_type", "voltage", "pt_ratio"].iter().all(|name| reader.is_sound(&key(name))) {
        let name = if voltage.is_some() { "voltage" } else { "pt_ratio" };
        check_voltage(voltage.unwrap_or(wiring.usual_voltage()), meter.pt_ratio.0, &key(name), reader);
    }
    let settings = MeterSettings {
        unit: 0,
        name: meter.name.as_ref().map(|name| name.0.clone()),
        system_type: wiring,
        sensor_rating: meter.ct_rating.and_then(|rating| rating.narrow()),
        system_voltage: voltage,
        transformer_ratio: meter.pt_ratio.0,
        shape: meter.load.shape,
        amperes: meter.load.amps.map(|amps| amps.get()),
        power_factor: meter.load.pf.map(|factor| factor.get()),
        turnaround: meter.turnaround.unwrap_or(scenario.turnaround).get(),
        baud_rate: meter.baud_rate.and_then(rate),
    };
    MeterRead { ids, settings }
}

/// The meter itself refuses such a voltage, so it cannot have been configured with it.
fn check_voltage(volts: u16, ratio: u16, path: &str, reader: &mut Reader<'_, '_>) {
    let input = f64::from(volts) * 100.0 / f64::from(ratio);
    if !(82.0..=660.0).contains(&input) {
        let ratio = f64::from(ratio) / 100.0;
        let what = format!("found {volts} V, which are {input:.0} V behind a pt_ratio of {ratio}");
        reader.error(path, &what, "allowed: 82 to 660 V there");
    }
}

fn read_fault(
    fault: &section::Fault,
    path: &str,
    meters: &[MeterRead],
    reader: &mut Reader<'_, '_>,
) -> Option<Fault> {
    let key = |name: &str| format!("{path}.{name}");
    reader.require(&fault.fault, &key("fault"));
    let whom = read_whom(fault, &key("meter"), meters, reader);
    let kind = fault.fault?;
    belongs(&fault.delay, &[FaultName::Late], kind, &key("delay"), reader);
    belongs(&fault.share, &[FaultName::Noisy], kind, &key("share"), reader);
    belongs(&fault.unit, &[FaultName::WrongUnit], kind, &key("as"), reader);
    belongs(&fault.phase, &[FaultName::ReversedCt, FaultName::PhaseLoss], kind, &key("phase"), reader);
    let found = match kind {
        FaultName::Dead => FaultKind::Dead,
        FaultName::Late => FaultKind::Late(fault.delay?.get()),
        FaultName::Noisy => FaultKind::Noisy(fault.share?.get()),
        FaultName::Echo => FaultKind::Echo,
        FaultName::WrongUnit => FaultKind::WrongUnit(fault.unit?.narrow()?),
        FaultName::ReversedCt => FaultKind::ReversedCt(fault.phase?),
        FaultName::PhaseLoss => FaultKind::PhaseLoss(fault.phase?),
        FaultName::PowerCycle => FaultKind::PowerCycle,
        FaultName::Garbage => FaultKind::Garbage,
    };
    let whom = whom?;
    let wirings: Vec<_> =
        meters.iter().flat_map(|read| read.ids().map(|_| read.settings.system_type)).collect();
    for wiring in whom.iter().filter_map(|index| wirings.get(*index)) {
        if !has_phase(&found, *wiring, &key("phase"), reader) {
            return None;
        }
    }
    let usual = (kind == FaultName::PowerCycle).then_some(POWER_OFF);
    let lasts = fault.lasts.map(|lasts| lasts.get());
    Some(Fault { at: fault.at.0.get(), lasts: lasts.or(usual), meters: whom, kind: found })
}

/// Reports a key that this kind of fault needs and lacks, or that only other kinds have.
fn belongs<T: for<'de> Deserialize<'de>>(
    value: &Option<T>,
    owners: &[FaultName],
    kind: FaultName,
    path: &str,
    reader: &mut Reader<'_, '_>,
) {
    if owners.contains(&kind) {
        reader.require(value, path);
    } else if value.is_some() {
        let owners: Vec<_> = owners.iter().map(|owner| owner.word()).collect();
        let what = format!("found a key that does not go with {}", kind.word());
        reader.error_at_key(path, &what, &format!("allowed: on {} only", owners.join(" and ")));
    }
}

/// The places of the meters a fault concerns; none: the line. `None`: reported.
fn read_whom(
    fault: &section::Fault,
    path: &str,
    meters: &[MeterRead],
    reader: &mut Reader<'_, '_>,
) -> Option<Vec<usize>> {
    let Some(Name(typed)) = &fault.meter else {
        if fault.fault.is_none_or(|kind| matches!(kind, FaultName::Echo | FaultName::Noisy))
            && reader.is_sound(path)
        {
            return Some(Vec::new());
        }
        if reader.is_sound(path) {
            reader.error(
                path,
                "the key is missing",
                "allowed: the id or the name of a meter of this scenario",
            );
        }
        return None;
    };
    if fault.fault == Some(FaultName::Echo) {
        reader.error(path, "found a meter", "allowed: none, an echo is of the whole line");
        return None;
    }
    let unit = whole_number(typed);
    let all = meters.iter().flat_map(|read| read.ids().map(move |id| (id, read.settings.name.as_ref())));
    let is_meant = |(id, name): (u8, Option<&String>)| unit == Some(u32::from(id)) || name == Some(typed);
    let found: Vec<_> = all.enumerate().filter(|(_, one)| is_meant(*one)).map(|(index, _)| index).collect();
    // If an id could not be read, it may be this one.
    if found.is_empty() && meters.iter().all(|read| read.ids.is_some()) {
        let ids = meters.iter().filter_map(|read| read.ids.as_ref());
        let ids = ids.map(|ids| match ids.len() {
            1 => ids.start().to_string(),
            _ => format!("{}-{}", ids.start(), ids.end()),
        });
        let names = meters.iter().filter_map(|read| read.settings.name.as_deref());
        let help = format!("{}there are: {}", did_you_mean(typed, names), ids.collect::<Vec<_>>().join(", "));
        reader.error(path, "no meter of this scenario has this id or name", &help);
    }
    (!found.is_empty()).then_some(found)
}

/// Whether a meter with this wiring has the phase of a fault.
fn has_phase(kind: &FaultKind, wiring: SystemType, path: &str, reader: &mut Reader<'_, '_>) -> bool {
    let (phase, what, there) = match kind {
        FaultKind::ReversedCt(phase) => (*phase, "sensor", wiring.phases()),
        FaultKind::PhaseLoss(phase) => (*phase, "conductor", wiring.conductors()),
        FaultKind::Dead
        | FaultKind::Late(_)
        | FaultKind::Noisy(_)
        | FaultKind::Echo
        | FaultKind::WrongUnit(_)
        | FaultKind::Garbage
        | FaultKind::PowerCycle => return true,
    };
    if phase.index() < there {
        return true;
    }
    let all: Vec<_> = Phase::ALL.iter().take(there).map(|phase| phase.letter()).collect();
    let what = format!("a meter of system type {} has no {what} of phase {}", wiring.code(), phase.letter());
    reader.error(path, &what, &format!("allowed: {}", all.join(", ")));
    false
}

/// Entries of `meters`: more than a line has identifiers, because some may share one.
const MAX_METERS: usize = 256;
/// Entries of `faults`.
const MAX_FAULTS: usize = 1000;
/// How long a power cycle is without power by default.
const POWER_OFF: Duration = Duration::from_secs(2);
