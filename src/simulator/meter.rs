//! One simulated Series 4000-R power meter: a request PDU in, its reply PDU out, time as an argument.
//!
//! Owns the functions the meter has, its commands and the exceptions it gives. All registers of one reply are
//! of one instant. It knows no line, no unit but its own, and never reads a clock.
//! Source: the Series 4000-R guide, chapter on Modbus; MODBUS Application Protocol V1.1b3, chapter 6.

use std::time::Instant;

use bytes::{BufMut, Bytes, BytesMut};

use super::load::{Load, PHASES, Power};
use super::registers::{
    CONFIGURATION_LENGTH, CONFIGURATION_START, FIRMWARE_START, FLOATS_START, INTEGERS_START, Readings,
};
use super::setup::Setup;
use crate::modbus::pdu::{ExceptionCode, FunctionCode, ReadRange, RequestPdu, exception_reply};

/// One meter of a chain.
#[derive(Debug)]
pub struct Meter {
    unit: u8,
    started: Instant,
    load: Load,
    setup: Setup,
    totals: Totals,
    demand: Demand,
    energy_clears: u16,
}

/// What was counted up to the instant `until`; what came after is computed when it is asked for.
#[derive(Clone, Copy, Debug)]
struct Totals {
    /// Seconds after the start.
    until: u64,
    energy: [Power; PHASES],
    /// Pulses of the real and of the reactive output, with the fraction under way.
    pulses: [f64; 2],
}

/// The demand interval in progress and the highest of those before.
#[derive(Clone, Copy, Debug)]
struct Demand {
    /// Seconds after the start.
    began: u64,
    highest: Power,
}

impl Meter {
    /// The meter with this unit identifier; equal seeds make equal meters. Its totals begin to run at `now`.
    #[must_use]
    pub fn new(unit: u8, seed: u64, now: Instant) -> Self {
        let load = Load::new(unit, seed);
        let setup = Setup::new(load.sensor_rating);
        let energy = std::array::from_fn(|phase| load.used_before(phase));
        Self {
            unit,
            started: now,
            load,
            setup,
            totals: Totals { until: 0, energy, pulses: [0.0; 2] },
            demand: Demand { began: 0, highest: Power::default() },
            energy_clears: 0,
        }
    }

    /// Its unit identifier.
    #[must_use]
    pub fn unit(&self) -> u8 {
        self.unit
    }

    /// The reply PDU to the request PDU that arrived at `now`: data, or the exception this meter gives.
    #[must_use]
    pub fn answer(&mut self, pdu: &[u8], now: Instant) -> Bytes {
        let function = FunctionCode(pdu.first().copied().unwrap_or_default());
        self.carry_out(function, pdu, now).unwrap_or_else(|code| exception_reply(function, code))
    }

    /// Acts on a request to all units. What it cannot carry out changes nothing, and nobody hears of it.
    pub fn handle_broadcast(&mut self, pdu: &[u8], now: Instant) {
        let function = FunctionCode(pdu.first().copied().unwrap_or_default());
        if matches!(function, FunctionCode::WRITE_SINGLE_REGISTER | FunctionCode::WRITE_MULTIPLE_REGISTERS) {
            // A broadcast has no reply to put a refusal into.
            let _unheard = self.carry_out(function, pdu, now);
        }
    }

    fn carry_out(
        &mut self,
        function: FunctionCode,
        pdu: &[u8],
        now: Instant,
    ) -> Result<Bytes, ExceptionCode> {
        if !FUNCTIONS.contains(&function) {
            return Err(ExceptionCode::ILLEGAL_FUNCTION);
        }
        let request = RequestPdu::decode(Bytes::copy_from_slice(pdu))?;
        let at = self.advance(now);
        if let Some(range) = request.range() {
            return self.read(range, at);
        }
        let data = request.data();
        match function {
            FunctionCode::REPORT_SERVER_ID => Ok(report_server_id()),
            FunctionCode::ENCAPSULATED_INTERFACE => identification(data),
            FunctionCode::WRITE_SINGLE_REGISTER => {
                self.write(word_at(data, 0), &data[2..4], at).map(|()| request.acknowledgement())
            }
            FunctionCode::WRITE_MULTIPLE_REGISTERS => {
                self.write(word_at(data, 0), &data[5..], at).map(|()| request.acknowledgement())
            }
            _ => Err(ExceptionCode::ILLEGAL_FUNCTION),
        }
    }

    /// The words of `range`, all of them of the instant `at`. A range that touches a gap is refused whole.
    fn read(&self, range: ReadRange, at: u64) -> Result<Bytes, ExceptionCode> {
        let (start, block) = match range.start {
            start @ ..CONFIGURATION_START => {
                (start - INTEGERS_START, self.readings(at).integers(self.setup.exponents()))
            }
            start @ CONFIGURATION_START..FLOATS_START => {
                (start - CONFIGURATION_START, self.configuration().to_vec())
            }
            start @ FLOATS_START..FIRMWARE_START => (start - FLOATS_START, self.readings(at).floats()),
            start @ FIRMWARE_START.. => (start - FIRMWARE_START, vec![FIRMWARE]),
        };
        let start = usize::from(start);
        let words = block
            .get(start..start + usize::from(range.quantity))
            .ok_or(ExceptionCode::ILLEGAL_DATA_ADDRESS)?;
        let mut reply = BytesMut::with_capacity(2 + words.len() * 2);
        reply.put_u8(range.function.0);
        reply.put_u8(u8::try_from(words.len() * 2).expect("a request asks for 125 registers at most"));
        words.iter().for_each(|word| reply.put_u16(*word));
        Ok(reply.freeze())
    }

    /// Registers 129 to 154.
    fn configuration(&self) -> [u16; CONFIGURATION_LENGTH] {
        self.setup.registers(self.energy_clears)
    }

    /// Writes all words from the wire address `start` on, or none of them.
    fn write(&mut self, start: u16, values: &[u8], at: u64) -> Result<(), ExceptionCode> {
        let mut setup = self.setup;
        let mut command = None;
        for (address, value) in (u32::from(start)..).zip(values.chunks_exact(2)) {
            let value = word_at(value, 0);
            if address == u32::from(CONFIGURATION_START) {
                command = Some(Command::decode(value)?);
            } else {
                setup.write(address, value)?;
            }
        }
        setup.check(&self.setup)?;
        // What was counted so far was counted under the old settings.
        self.totals = self.totals_at(at);
        self.setup = setup;
        match command {
            None => {}
            Some(Command::ClearEnergy) => {
                self.totals.energy = [Power::default(); PHASES];
                self.energy_clears = (self.energy_clears + 1) & 0x7FFF;
            }
            Some(Command::ClearPulses) => self.totals.pulses = [0.0; 2],
            Some(Command::StartDemandInterval) => self.end_demand_interval(at),
            Some(Command::ResetPeaks) => self.demand.highest = self.demand_at(at),
        }
        Ok(())
    }

    /// Seconds since the start, with everything that ended meanwhile taken into account. The meter works its
    /// values out once per second, so requests within one second see the same ones.
    fn advance(&mut self, now: Instant) -> u64 {
        let at = now.saturating_duration_since(self.started).as_secs();
        let length = self.setup.demand_interval();
        // A length of 0 means that only the command ends an interval.
        if let Some(missed) = at.saturating_sub(self.demand.began).checked_div(length) {
            // After a very long pause only the latest intervals are looked at for peaks.
            self.demand.began += missed.saturating_sub(INTERVALS_LOOKED_AT) * length;
            while self.demand.began + length <= at {
                self.end_demand_interval(self.demand.began + length);
            }
        }
        at
    }

    fn end_demand_interval(&mut self, at: u64) {
        self.demand.highest = self.demand.highest.max(self.demand_at(at));
        self.demand.began = at;
    }

    /// Mean power over the demand interval in progress.
    fn demand_at(&self, at: u64) -> Power {
        let from = self.demand.began;
        if at <= from {
            return self.power_at(at);
        }
        let energy = self.sum(|phase| self.load.energy(phase, from, at));
        energy.times(3600.0 / at.saturating_sub(from) as f64)
    }

    fn power_at(&self, at: u64) -> Power {
        self.sum(|phase| self.load.power(phase, at))
    }

    fn sum(&self, part: impl Fn(usize) -> Power) -> Power {
        self.setup.phases().map(part).fold(Power::default(), Power::plus)
    }

    /// The totals as they stand at an instant.
    fn totals_at(&self, at: u64) -> Totals {
        let mut totals = Totals { until: at, ..self.totals };
        for phase in self.setup.phases() {
            let used = self.load.energy(phase, self.totals.until, at);
            totals.energy[phase] = totals.energy[phase].plus(used);
            totals.pulses[0] += used.real / self.setup.pulse_weight();
            totals.pulses[1] += used.reactive / self.setup.pulse_weight();
        }
        totals
    }

    /// Every measured value of one instant, in the order of the map.
    fn readings(&self, at: u64) -> Readings {
        let wiring = self.setup.wiring();
        let phase = |number: usize, value: f64| (number < wiring.phases).then_some(value);
        let volts = wiring.voltages(&self.load, at);
        let totals = self.totals_at(at);
        let energy = totals.energy.into_iter().fold(Power::default(), Power::plus);
        let all = self.power_at(at);
        let each: [Power; PHASES] = std::array::from_fn(|number| self.load.power(number, at));
        let amperes: [f64; PHASES] = std::array::from_fn(|number| self.load.current(number, at));
        let mean_current = amperes[..wiring.phases].iter().sum::<f64>() / wiring.phases as f64;
        let demand = self.demand_at(at);
        let highest = self.demand.highest;
        let [a, b, c] = each;
        Readings([
            Some(energy.real),
            Some(all.real),
            Some(all.reactive),
            Some(all.apparent),
            Some(all.real / all.apparent),
            volts.mean_between,
            volts.mean_to_neutral,
            Some(mean_current),
            phase(0, a.real),
            phase(1, b.real),
            phase(2, c.real),
            phase(0, a.real / a.apparent),
            phase(1, b.real / b.apparent),
            phase(2, c.real / c.apparent),
            volts.between[0],
            volts.between[1],
            volts.between[2],
            volts.to_neutral[0],
            volts.to_neutral[1],
            volts.to_neutral[2],
            phase(0, amperes[0]),
            phase(1, amperes[1]),
            phase(2, amperes[2]),
            None,
            Some(self.load.frequency(at)),
            Some(energy.apparent),
            Some(energy.reactive),
            phase(0, a.apparent),
            phase(1, b.apparent),
            phase(2, c.apparent),
            phase(0, a.reactive),
            phase(1, b.reactive),
            phase(2, c.reactive),
            Some(demand.real),
            Some(demand.reactive),
            Some(demand.apparent),
            Some(highest.real),
            Some(highest.reactive),
            Some(highest.apparent),
            Some(totals.pulses[0].floor()),
            Some(totals.pulses[1].floor()),
            Some(totals.energy[0].real),
            Some(totals.energy[1].real),
            Some(totals.energy[2].real),
        ])
    }
}

/// What register 129 can be told to do.
#[derive(Clone, Copy, Debug)]
enum Command {
    ClearEnergy,
    ClearPulses,
    StartDemandInterval,
    ResetPeaks,
}

impl Command {
    fn decode(code: u16) -> Result<Self, ExceptionCode> {
        match code {
            30078 => Ok(Self::ClearEnergy),
            16498 => Ok(Self::ClearPulses),
            21211 => Ok(Self::StartDemandInterval),
            21212 => Ok(Self::ResetPeaks),
            _ => Err(ExceptionCode::ILLEGAL_DATA_VALUE),
        }
    }
}

/// 0x11: identifier 247, normal firmware, then the name in letters.
fn report_server_id() -> Bytes {
    let mut reply = BytesMut::new();
    reply.put_u8(FunctionCode::REPORT_SERVER_ID.0);
    reply.put_u8(u8::try_from(2 + NAME.len()).expect("the name is a short constant"));
    reply.put_slice(&[0xF7, 0xFF]);
    reply.put_slice(NAME.as_bytes());
    reply.freeze()
}

/// 0x2B / 0x0E: the basic objects as a stream (conformity level 0x01, so never one by one).
fn identification(data: &[u8]) -> Result<Bytes, ExceptionCode> {
    let [0x0E, code @ 1..=3, first] = data else {
        return Err(if data.first() == Some(&0x0E) {
            ExceptionCode::ILLEGAL_DATA_VALUE
        } else {
            ExceptionCode::ILLEGAL_FUNCTION
        });
    };
    let version = format!("V{:02}.{:03}", FIRMWARE / 1000, FIRMWARE % 1000);
    let objects = [(0, "Leviton"), (1, "Series 4000"), (2, version.as_str())];
    // An object that is not there restarts the stream at the beginning (chapter 6.21).
    let skipped = if usize::from(*first) < objects.len() { usize::from(*first) } else { 0 };
    let asked = &objects[skipped..];
    let mut reply = BytesMut::new();
    let count = u8::try_from(asked.len()).expect("there are three objects");
    reply.put_slice(&[FunctionCode::ENCAPSULATED_INTERFACE.0, 0x0E, *code, 0x01, 0x00, 0x00, count]);
    for (number, text) in asked {
        reply.put_u8(*number);
        reply.put_u8(u8::try_from(text.len()).expect("the texts are short"));
        reply.put_slice(text.as_bytes());
    }
    Ok(reply.freeze())
}

fn word_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// The functions the meter has; every other earns exception 0x01.
const FUNCTIONS: [FunctionCode; 6] = [
    FunctionCode::READ_HOLDING_REGISTERS,
    FunctionCode::READ_INPUT_REGISTERS,
    FunctionCode::WRITE_SINGLE_REGISTER,
    FunctionCode::WRITE_MULTIPLE_REGISTERS,
    FunctionCode::REPORT_SERVER_ID,
    FunctionCode::ENCAPSULATED_INTERFACE,
];

/// What 0x11 says the meter is.
const NAME: &str = "Leviton Series 4000R Power Meter, Full Data Set";

/// Register 7001: 2015 reads as V02.015.
const FIRMWARE: u16 = 2015;

/// Demand intervals looked at for a peak after a pause in which more of them passed.
const INTERVALS_LOOKED_AT: u64 = 1000;
