//! The far end of a connection: what the machine sends to a Modbus TCP server, and what that makes of it.

use bytes::{Bytes, BytesMut};

use metergate::line::PortEvent;
use metergate::modbus::mbap;
use metergate::modbus::pdu::{ExceptionCode, RequestPdu, exception_reply};

use super::super::invariants::{Check, Execution, check};
use super::super::unit::is_ignored;
use super::super::wire::{MILLI, Nanos, nanos};
use super::{Event, Input, World};

/// A request on its way to the server.
#[derive(Debug)]
pub(super) struct Reached {
    id: u16,
    unit: u8,
    pdu: RequestPdu,
    sent: Nanos,
}

impl World {
    pub(super) fn transmit_to_server(&mut self, adu: &Bytes) -> Check {
        check(self.open, || "sent into a closed connection".into())?;
        self.record_log.sent(adu, self.instant(self.now));
        let mut bytes = BytesMut::from(&adu[..]);
        let decoded = mbap::decode(&mut bytes).map_err(|error| format!("sent: {error}"))?;
        let decoded = decoded.filter(|_| bytes.is_empty()).ok_or("sent something else than one ADU")?;
        let unit = decoded.unit;
        let pdu = RequestPdu::decode(decoded.pdu).map_err(|code| format!("sent: {code}"))?;
        self.pauses_were_kept(unit)?;
        self.client_waits_for(unit, &pdu, self.now)?;
        self.invariants.transmit(unit, &pdu, 0, self.now)?;
        self.last_frame = Some(self.now);
        if unit == 0 {
            self.turnaround_until = self.now + nanos(self.settings.turnaround_delay);
        } else {
            self.unanswered = Some(self.now);
        }
        let reached = Reached { id: decoded.transaction_id, unit, pdu, sent: self.elapsed() };
        self.schedule(self.now + MILLI / 10, Event::Reached(reached));
        self.plan_upheavals();
        self.plan_closing();
        Ok(())
    }

    /// The server closes the connection now and then, and is there again at once or after a while.
    fn plan_closing(&mut self) {
        let Some(server) = &mut self.upstream else { return };
        if server.rng.chance(server.faults.closed) {
            let at = self.now + server.rng.below(50 * MILLI);
            let connection = server.connection;
            self.plan(at, Input::Close { connection });
        }
    }

    /// The server closes a connection, unless it has ended before.
    pub(super) fn close(&mut self, connection: u64) -> Check {
        let is_open = self.open && self.upstream.as_ref().is_some_and(|one| one.connection == connection);
        if is_open { self.port(PortEvent::Interrupted) } else { Ok(()) }
    }

    /// The machine has found that the connection brings nothing any more.
    pub(super) fn give_up_connection(&mut self) -> Check {
        let Some(server) = &self.upstream else { return Err("a serial line has no connection".into()) };
        let connection = server.connection;
        self.plan(self.now, Input::Close { connection });
        Ok(())
    }

    /// The server has closed the connection, which is made again, at once or after an attempt that failed.
    pub(super) fn plan_reconnect(&mut self) {
        let Some(server) = &mut self.upstream else { return };
        let (at, fails) =
            (self.now + server.rng.pick(&[1, 1, 20]) * MILLI, server.rng.chance(server.faults.unreachable));
        let back = if fails {
            self.plan(at, Input::Port(PortEvent::Lost));
            at + 500 * MILLI
        } else {
            at
        };
        self.plan(back, Input::Port(PortEvent::Opened));
    }

    /// The unit's gap, the turnaround, and one transaction at a time.
    fn pauses_were_kept(&self, unit: u8) -> Check {
        let settings = &self.settings;
        let configured = settings.units.iter().find(|configured| configured.id.get() == unit);
        let gap = configured.map_or(settings.request_gap, |unit| unit.request_gap);
        let rested = self.last_frame.is_none_or(|last| self.now >= last + nanos(gap));
        check(rested, || "sent before the gap was over".into())?;
        check(self.now >= self.turnaround_until, || "sent within the turnaround delay".into())?;
        let timeout = configured.map_or(0, |unit| nanos(unit.response_timeout)).min(100 * MILLI);
        let answered = self.unanswered.is_none_or(|at| self.now >= at + timeout);
        check(answered, || "sent while another request waits for its answer".into())
    }

    /// A request has arrived at the server.
    pub(super) fn reach(&mut self, reached: Reached) {
        let Reached { id, unit, pdu, sent } = reached;
        let elapsed = self.elapsed();
        let Some(server) = &mut self.upstream else { return };
        server.last_id = id;
        let configured = self.swarm.settings.units.iter().find(|configured| configured.id.get() == unit);
        let timeout = configured.map_or(100 * MILLI, |unit| nanos(unit.response_timeout));
        if unit == 0 {
            for (&id, unit) in &mut self.units {
                let reply = unit.execute(pdu.bytes(), elapsed);
                self.invariants.execute(id, Execution { sent, at: elapsed, pdu: pdu.clone(), reply });
            }
            return;
        }
        let exception = |code: u8| exception_reply(pdu.function(), ExceptionCode(code)).to_vec();
        let there = self.units.get_mut(&unit).filter(|_| !(is_ignored(&pdu) && self.customs.ignored > 0));
        let reply = match there {
            None if !server.is_gateway => return,
            None => exception(0x0B),
            Some(_) if server.rng.chance(server.faults.unreached) => {
                exception(server.rng.pick(&[0x0A, 0x0B]))
            }
            Some(_) if server.rng.chance(server.faults.exception) => {
                exception(server.rng.pick(&[1, 2, 3, 4, 6]))
            }
            Some(there) => there.execute(pdu.bytes(), elapsed),
        };
        self.invariants
            .execute(unit, Execution { sent, at: elapsed, pdu: pdu.clone(), reply: reply.clone() });
        let at = self.now + server.delay(timeout);
        let arrived = server.send(at, id, unit, &reply);
        if let Some(arrived) = arrived.filter(|at| server.closes_after_answer && *at < self.now + timeout) {
            let closes = arrived + MILLI / 10 + server.rng.below(10 * MILLI);
            let connection = server.connection;
            self.plan(closes, Input::Close { connection });
        }
    }
}
