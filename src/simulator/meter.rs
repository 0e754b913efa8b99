//! One simulated Series 4000-R power meter: a request PDU in, its reply PDU out, time as an argument.
//!
//! Owns the functions the meter supports and the exceptions it answers. All registers of one reply are of one instant.
//! It has no access to the line or to other units, and never reads a clock. Source: the Series 4000-R guide, chapter on
//! Modbus; MODBUS Application Protocol V1.1b3, chapter 6.

use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};

use super::meter_state::{FIRMWARE, MeterState};
use super::outage::Outage;
use super::registers::{Map, Writable};
use super::settings::{ChainSettings, Fault, FaultKind, MeterSettings};
use crate::modbus::pdu::{ExceptionCode, FunctionCode, ReadRange, RequestPdu, exception_reply};

/// One meter of a chain.
#[derive(Debug)]
pub struct Meter {
    unit: u8,
    started: Instant,
    /// How long it had run by then.
    age: Duration,
    state: MeterState,
    outages: Vec<Outage>,
}

impl Meter {
    /// The meters of a chain as they are when they begin to run, at `began`: [`age`](ChainSettings::age) before it is
    /// opened.
    #[must_use]
    pub fn all_of(chain: &ChainSettings, began: Instant) -> Vec<Self> {
        let meter = |(index, meter): (usize, &MeterSettings)| {
            let since_opening =
                chain.faults.iter().map(|fault| Fault { at: fault.at + chain.age, ..fault.clone() });
            let all = chain.past.iter().cloned().chain(since_opening);
            let own: Vec<Fault> = all.filter(|fault| fault.meters.contains(&index)).collect();
            // Of two with one identifier each has its own load.
            let before = chain.meters[..index].iter().filter(|other| other.unit == meter.unit).count();
            Self::new(meter, &own, chain.seed.wrapping_add((before as u64) << 32), began)
        };
        chain.meters.iter().enumerate().map(meter).collect()
    }

    /// A meter whose totals begin to run at `now`; equal seeds make equal meters. Of its `faults` it applies those of
    /// the service and of its power; faults of the line are applied by the line.
    #[must_use]
    pub fn new(settings: &MeterSettings, faults: &[Fault], seed: u64, now: Instant) -> Self {
        // When its power returns the meter does not answer yet: it has to start.
        let lasting = |fault: &Fault| match fault.kind {
            FaultKind::PowerCycle => {
                Fault { lasts: fault.lasts.map(|lasts| lasts.saturating_add(START)), ..fault.clone() }
            }
            FaultKind::Dead
            | FaultKind::Late(_)
            | FaultKind::Noisy(_)
            | FaultKind::Echo
            | FaultKind::WrongUnit(_)
            | FaultKind::Garbage
            | FaultKind::ReversedCt(_)
            | FaultKind::PhaseLoss(_) => fault.clone(),
        };
        let faults: Vec<_> = faults.iter().map(lasting).collect();
        let state = MeterState::new(settings, &faults, seed);
        let (age, outages) = (Duration::ZERO, Outage::of(&faults));
        Self { unit: settings.unit, started: now, age, state, outages }
    }

    /// The same, which has run for so long already. The times of its faults count from the beginning of that.
    #[must_use]
    pub fn aged(self, age: Duration) -> Self {
        Self { age, ..self }
    }

    /// Its unit identifier.
    #[must_use]
    pub fn unit(&self) -> u8 {
        self.unit
    }

    /// Whether it has power and has started.
    #[must_use]
    pub fn is_up(&self, now: Instant) -> bool {
        let at = self.time(now);
        !self.outages.iter().any(|outage| (outage.from..outage.until).contains(&at))
    }

    /// The value of a point of the profile at `now`, in the point's unit and before any rounding; codes and flags as a
    /// number. `None`: it means nothing under the system type, or there is no such point.
    pub fn physical(&mut self, point: &str, now: Instant) -> Option<f64> {
        let slot = Map::get().slot(point)?;
        let at = self.advance(now);
        self.state.values_at(at.as_secs()).value(slot)
    }

    /// The reply PDU to the request PDU that arrived at `now`: data or an exception.
    #[must_use]
    pub fn answer(&mut self, pdu: &[u8], now: Instant) -> Bytes {
        let function = FunctionCode(pdu.first().copied().unwrap_or_default());
        self.carry_out(function, pdu, now).unwrap_or_else(|code| exception_reply(function, code))
    }

    /// Carries out a request to all units. A request it cannot carry out changes nothing and is not reported.
    pub fn handle_broadcast(&mut self, pdu: &[u8], now: Instant) {
        let function = FunctionCode(pdu.first().copied().unwrap_or_default());
        if matches!(function, FunctionCode::WRITE_SINGLE_REGISTER | FunctionCode::WRITE_MULTIPLE_REGISTERS) {
            // A broadcast has no reply that could hold an exception.
            let _ignored = self.carry_out(function, pdu, now);
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

    /// The words of `range`, all of the second that contains `at`.
    fn read(&self, range: ReadRange, at: Duration) -> Result<Bytes, ExceptionCode> {
        let slots = Map::get().slots_in(&range)?;
        let values = self.state.values_at(at.as_secs());
        let mut words = vec![0_u16; usize::from(range.quantity)];
        for slot in slots {
            let own = slot.words(Map::get().profile(), values.value(slot), values.exponents);
            for (address, word) in (slot.start()..).zip(own) {
                let offset = address.checked_sub(range.start).map(usize::from);
                // A read may begin or end within a pair.
                if let Some(offset) = offset.and_then(|offset| words.get_mut(offset)) {
                    *offset = word;
                }
            }
        }
        let mut reply = BytesMut::with_capacity(2 + words.len() * 2);
        reply.put_u8(range.function.0);
        reply.put_u8(u8::try_from(words.len() * 2).expect("a request asks for 125 registers at most"));
        words.iter().for_each(|word| reply.put_u16(*word));
        Ok(reply.freeze())
    }

    /// Writes all words from the wire address `start` on, or none of them.
    fn write(&mut self, start: u16, values: &[u8], at: Duration) -> Result<(), ExceptionCode> {
        let mut setup = self.state.setup();
        let mut written = Vec::new();
        let mut command = None;
        for (address, value) in (u32::from(start)..).zip(values.chunks_exact(2)) {
            let value = word_at(value, 0);
            let address = u16::try_from(address).map_err(|_| ExceptionCode::ILLEGAL_DATA_ADDRESS)?;
            match Map::get().writable(address, value)? {
                Writable::Command => command = Some(value),
                Writable::Setting(setting) => {
                    setup.set(setting, value)?;
                    written.push(setting);
                }
            }
        }
        setup.check(&written)?;
        // The command last: only it can still be refused, and nothing has been changed yet.
        if let Some(code) = command {
            self.state.command(code, at)?;
        }
        self.state.set_up(setup, at.as_secs());
        Ok(())
    }

    fn time(&self, now: Instant) -> Duration {
        self.age + now.saturating_duration_since(self.started)
    }

    /// Time since the start, with all events up to `now` applied. The meter computes its values once per second, so
    /// requests within one second read the same ones.
    fn advance(&mut self, now: Instant) -> Duration {
        let at = self.time(now);
        self.state.advance(at.as_secs());
        at
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
    // An object that does not exist restarts the stream at the beginning (chapter 6.21).
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

/// The functions the meter supports; every other gets exception 0x01.
const FUNCTIONS: [FunctionCode; 6] = [
    FunctionCode::READ_HOLDING_REGISTERS,
    FunctionCode::READ_INPUT_REGISTERS,
    FunctionCode::WRITE_SINGLE_REGISTER,
    FunctionCode::WRITE_MULTIPLE_REGISTERS,
    FunctionCode::REPORT_SERVER_ID,
    FunctionCode::ENCAPSULATED_INTERFACE,
];

/// The name in the reply to 0x11.
const NAME: &str = "Leviton Series 4000R Power Meter, Full Data Set";

/// From the return of power to the first answer. Not documented.
pub const START: Duration = Duration::from_secs(3);
