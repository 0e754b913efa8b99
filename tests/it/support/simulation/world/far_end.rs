//! The far end of the wire: what the machine sends is judged, echoed, and heard and answered by the units.

use bytes::Bytes;

use metergate::modbus::pdu::{ExceptionCode, RequestPdu, exception_reply};
use metergate::modbus::rtu;

use super::super::answers::{self, Scene};
use super::super::invariants::{Check, Execution, check};
use super::super::unit::is_ignored;
use super::super::wire::{Nanos, SHORTEST_WAIT, nanos};
use super::{Event, World};

impl World {
    pub(super) fn transmit(&mut self, adu: &Bytes) -> Check {
        self.note(|| format!("sends {adu:02X?}"));
        if self.upstream.is_some() {
            return self.transmit_to_server(adu);
        }
        check(self.open, || "sent into a closed port".into())?;
        self.record_log.sent(adu, self.instant(self.now));
        check(rtu::crc_is_right(adu), || "sent with a wrong CRC".into())?;
        let unit = adu[0];
        let pdu = RequestPdu::decode(adu.slice(1..adu.len() - 2)).map_err(|code| format!("sent: {code}"))?;
        self.silence_was_kept(unit)?;
        self.client_waits_for(unit, &pdu, self.now + self.wire.time(adu.len()))?;
        self.invariants.transmit(unit, &pdu, self.wire.time(adu.len()), self.now)?;
        let talk = self.wire.talk(self.now, adu, false, &mut self.rng);
        if self.swarm.echoes {
            self.echo(adu);
        }
        let end = self.now + self.wire.time(adu.len());
        self.last_byte = end;
        self.last_frame = Some(end);
        if unit == 0 {
            self.turnaround_until = end + nanos(self.settings.turnaround_delay);
        } else {
            self.unanswered = Some(end);
        }
        self.schedule(end, Event::Heard { talk, unit, pdu, sent: self.elapsed() });
        self.plan_upheavals();
        Ok(())
    }

    /// The adapter echoes what it sends; what collides with the request damages the echo, too.
    fn echo(&mut self, adu: &Bytes) {
        let mut echo = adu.to_vec();
        if self.rng.chance(self.swarm.faults.echo_damage) {
            echo = answers::damaged_echo(adu, &mut self.rng);
        }
        self.wire.echo(self.now, &echo);
    }

    /// 3.5 characters, the unit's gap, the turnaround, and one transaction at a time.
    fn silence_was_kept(&self, unit: u8) -> Check {
        let settings = &self.settings;
        let configured = settings.units.iter().find(|configured| configured.id.get() == unit);
        let gap = configured.map_or(settings.request_gap, |unit| unit.request_gap);
        let silence = nanos(settings.protocol.silence());
        check(self.now >= self.last_byte + silence, || "sent before the silence was over".into())?;
        // Stray bytes restart only the 3.5 characters.
        let rested = self.last_frame.is_none_or(|last| self.now >= last + nanos(gap));
        check(rested, || "sent before the gap was over".into())?;
        check(self.now >= self.turnaround_until, || "sent within the turnaround delay".into())?;
        let answered = self.unanswered.is_none_or(|end| self.now >= end + SHORTEST_WAIT);
        check(answered, || "sent while another request waits for its answer".into())
    }

    /// A request has arrived at the units.
    pub(super) fn hear(&mut self, talk: usize, unit: u8, pdu: &RequestPdu, sent: Nanos) {
        let (at, elapsed) = (self.now, self.elapsed());
        if self.wire.is_damaged(talk) || self.rng.chance(self.swarm.faults.unheard) {
            self.note(|| "unheard".into());
            return;
        }
        if unit == 0 {
            for (&id, unit) in &mut self.units {
                let reply = unit.execute(pdu.bytes(), elapsed);
                self.invariants.execute(id, Execution { sent, at: elapsed, pdu: pdu.clone(), reply });
            }
            return;
        }
        let Some(there) = self.units.get_mut(&unit).filter(|unit| unit.busy_until <= at) else { return };
        if is_ignored(pdu) && self.customs.ignored > 0 {
            self.note(|| "ignored".into());
            return;
        }
        let reply = if self.rng.chance(self.swarm.faults.exception) {
            let code = ExceptionCode(self.rng.pick(&[1, 2, 3, 4, 6]));
            exception_reply(pdu.function(), code).to_vec()
        } else {
            there.execute(pdu.bytes(), elapsed)
        };
        self.invariants
            .execute(unit, Execution { sent, at: elapsed, pdu: pdu.clone(), reply: reply.clone() });
        let configured = self.swarm.settings.units.iter().find(|configured| configured.id.get() == unit);
        let scene = Scene {
            faults: &self.swarm.faults,
            units: &self.ids,
            response_timeout: configured.map_or(0, |unit| nanos(unit.response_timeout)),
            late_guard: nanos(self.swarm.settings.late_guard),
            character: self.wire.time(1),
        };
        let talks = scene.answer(unit, &reply, &mut self.rng);
        if talks.first().is_some_and(|&(after, _)| after < scene.response_timeout) {
            self.invariants.own.answered(self.wire.time(reply.len() + rtu::OVERHEAD));
        }
        for (after, bytes) in talks {
            if let Some(there) = self.units.get_mut(&unit) {
                there.busy_until = at + after + self.wire.time(bytes.len());
            }
            self.schedule(at + after, Event::Talk(bytes));
        }
    }
}
