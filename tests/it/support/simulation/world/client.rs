//! The serial client in the world: what its master does, what the gateway sends to it, and what passes between the
//! gateway and the bus.

use bytes::Bytes;

use metergate::line::{Answer, Request, Target, UnitId};
use metergate::modbus::pdu::{ExceptionCode, RequestPdu};
use metergate::modbus::rtu;

use super::super::answers;
use super::super::client_line::{ClientEvent, ClientHabits, OTHERS, Question, STRANGERS};
use super::super::invariants::{Asked, Check, check, number};
use super::super::traffic;
use super::super::wire::{MILLI, Nanos, nanos};
use super::{Input, World};

/// What is due first on the client's line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientDue {
    Event,
    Bytes,
    Timer,
}

impl World {
    /// What happens next on the client's line, and when.
    pub(super) fn next_client(&self) -> Option<(Nanos, ClientDue)> {
        let client = self.client.as_ref()?;
        let (event, bytes) = client.next_times();
        let timer = client.gateway.poll_timeout().map(|at| self.nanos(at).max(self.now));
        // At one instant in the order of the task.
        let event = event.map(|at| (at, 0, ClientDue::Event));
        let bytes = bytes.map(|at| (at, 1, ClientDue::Bytes));
        let timer = timer.map(|at| (at, 2, ClientDue::Timer));
        let first = [event, bytes, timer].into_iter().flatten().min_by_key(|(at, order, _)| (*at, *order));
        first.map(|(at, _, due)| (at, due))
    }

    pub(super) fn advance_client(&mut self, due: ClientDue) -> Check {
        let now = self.present();
        let Some(client) = &mut self.client else { return Ok(()) };
        match due {
            ClientDue::Event => match client.pop_event() {
                Some(event) => self.client_event(event)?,
                None => return Ok(()),
            },
            ClientDue::Bytes => {
                let bytes = client.wire.deliver(self.now);
                client.last_byte = client.last_byte.max(self.now);
                if client.is_open {
                    client.gateway.handle_bytes(&bytes, now);
                    self.note(|| format!("client line: given {bytes:02X?}"));
                }
            }
            ClientDue::Timer => client.gateway.handle_timeout(now),
        }
        self.flush_client()
    }

    fn client_event(&mut self, event: ClientEvent) -> Check {
        let Some(client) = &mut self.client else { return Ok(()) };
        match event {
            ClientEvent::Turn => self.master_turn(),
            ClientEvent::Asked(number) => self.master_asked(number),
            ClientEvent::GiveUp(number) => {
                if client.awaited == Some(number) && client.last_byte > self.now {
                    // The answer has begun.
                    let end = client.last_byte + client.silence();
                    client.schedule(end, ClientEvent::GiveUp(number));
                } else if client.awaited == Some(number) {
                    client.awaited = None;
                    client.tally.given_up += 1;
                    let must = client.frame(number).and_then(|frame| frame.question.as_ref());
                    let must = must.is_some_and(|question| question.must_succeed);
                    check(!must, || "a healthy serial client got no answer".into())?;
                    self.note(|| format!("master: gives up {number}"));
                    self.master_after_giving_up(number);
                }
                Ok(())
            }
            ClientEvent::Other(bytes) => {
                client.send(self.now, &bytes);
                self.note(|| format!("another server: {bytes:02X?}"));
                Ok(())
            }
            ClientEvent::Answered { talk, number, adu } => self.master_hears(talk, number, &adu),
            ClientEvent::Opened => {
                client.is_open = true;
                client.gateway.handle_port();
                self.note(|| "client port: open".into());
                Ok(())
            }
        }
    }

    fn master_after_giving_up(&mut self, number: u64) {
        let Some(client) = &mut self.client else { return };
        let again = client.turns > 0 && client.rng.chance(400);
        let frame = client.frame(number).filter(|_| again);
        let again = frame.and_then(|frame| {
            let question = frame.question.as_ref()?;
            Some((question.unit, question.pdu.clone()))
        });
        match again {
            Some((unit, pdu)) => self.master_asks(unit, pdu, false),
            None => client.plan_turn(self.now),
        }
    }

    /// The master's next action.
    fn master_turn(&mut self) -> Check {
        let Some(client) = &mut self.client else { return Ok(()) };
        if client.turns == 0 {
            if let Some(unit) = client.proofs.pop() {
                let must_succeed = client.listener.answer_within >= PATIENT;
                self.master_asks(unit, traffic::range(3, u16::from(unit), 2), must_succeed);
            }
            return Ok(());
        }
        client.turns -= 1;
        self.lose_client_port();
        let Some(client) = &mut self.client else { return Ok(()) };
        let ClientHabits { others, strangers, repeats, halves, flips, noise, glitches, .. } = client.habits;
        if client.rng.chance(glitches) {
            let glitch = client.rng.pick(&[0x00, 0xFF]);
            let (talk, _) = client.send(self.now, &[glitch]);
            client.wire.spoil(talk);
            // The frame follows at once, or after a while.
            let later = client.wire.time(1) + client.rng.pick(&[0, 0, 1, 30]) * MILLI;
            self.now_or_later(later);
            return Ok(());
        }
        if client.rng.chance(noise) {
            let length = client.rng.pick(&[1, 1, 2, 3, 5, 20]);
            let noise = answers::noise(&mut client.rng, &client.listener.units, length);
            let (talk, end) = client.send(self.now, &noise);
            client.wire.spoil(talk);
            let pause = client.rng.pick(&[0, 1, 30, 60]) * MILLI;
            client.schedule(end + pause, ClientEvent::Turn);
            self.note(|| format!("master's line: noise {noise:02X?}"));
            return Ok(());
        }
        if client.rng.chance(others) {
            self.master_asks_another();
            return Ok(());
        }
        if client.rng.chance(strangers) {
            let unit = client.rng.pick(&STRANGERS);
            self.master_asks(unit, traffic::range(3, 0, 2), false);
            return Ok(());
        }
        if client.rng.chance(repeats)
            && let Some(last) = client.frames.last().and_then(|frame| frame.question.as_ref())
            && last.unit != 0
        {
            let (unit, pdu) = (last.unit, last.pdu.clone());
            self.master_asks(unit, pdu, false);
            return Ok(());
        }
        let damage = if client.rng.chance(halves) {
            Some(Damage::Half)
        } else if client.rng.chance(flips) {
            Some(Damage::Flips)
        } else {
            None
        };
        let (unit, pdu) = self.draw_request();
        match damage {
            None => self.master_asks(unit, pdu, false),
            Some(damage) => self.master_is_damaged(unit, &pdu, damage),
        }
        Ok(())
    }

    /// What the master asks the gateway.
    fn draw_request(&mut self) -> (u8, RequestPdu) {
        let Some(client) = &mut self.client else { unreachable!("a master without a line") };
        let ClientHabits { writes, broadcasts, .. } = client.habits;
        let unit = client.rng.pick(&self.ids);
        if client.rng.chance(writes) {
            self.serial += 1;
            if client.rng.chance(broadcasts) {
                return (0, traffic::broadcast(&mut client.rng, self.serial));
            }
            return (unit, traffic::write(&mut client.rng, self.serial));
        }
        (unit, traffic::read(&mut client.rng, &self.swarm))
    }

    /// A glitch goes ahead of the next action.
    fn now_or_later(&mut self, later: Nanos) {
        if let Some(client) = &mut self.client {
            client.turns += 1;
            client.schedule(self.now + later, ClientEvent::Turn);
        }
    }

    fn master_asks(&mut self, unit: u8, pdu: RequestPdu, must_succeed: bool) {
        let Some(client) = &mut self.client else { return };
        let adu = rtu::encode(unit, pdu.bytes());
        let question = Question {
            unit,
            pdu: pdu.clone(),
            asked: None,
            has_used_bus: false,
            is_answered: false,
            must_succeed,
        };
        let number = client.send_frame(self.now, &adu, Some(question));
        *client.sent.entry((unit, pdu.bytes().clone())).or_default() += 1;
        client.awaited = None;
        let end = self.now + client.wire.time(adu.len());
        client.schedule(end, ClientEvent::Asked(number));
        self.note(|| format!("master: asks {number}: unit {unit} {pdu:?}"));
    }

    /// The master's request has ended on the wire: it waits for the answer, unless there is none to a broadcast.
    fn master_asked(&mut self, number: u64) -> Check {
        let (at, now) = (self.elapsed(), self.now);
        let Some(client) = &mut self.client else { return Ok(()) };
        let (connection, listener) = (client.listener.connection, client.listener.id);
        let max_age = nanos(client.listener.max_age);
        let Some(question) = client.frame(number).and_then(|frame| frame.question.as_mut()) else {
            return Ok(());
        };
        let target = UnitId::new(question.unit).map_or(Target::Broadcast, Target::Unit);
        let asked = Asked {
            connection,
            target,
            pdu: question.pdu.clone(),
            at,
            max_age,
            listener,
            deadline: 0,
            floor: 0,
            seen: 0,
            behind: Vec::new(),
            sent_before: 0,
            must_succeed: false,
        };
        question.asked = Some(self.invariants.complete(asked));
        if question.unit == 0 {
            let pause = client.rng.pick(&[20, 100, 500]) * MILLI;
            client.schedule(now + pause, ClientEvent::Turn);
            return Ok(());
        }
        client.awaited = Some(number);
        let until = now + client.timeout;
        client.schedule(until, ClientEvent::GiveUp(number));
        Ok(())
    }

    /// The master sends half a request, or one with wrong bits.
    fn master_is_damaged(&mut self, unit: u8, pdu: &RequestPdu, damage: Damage) {
        let Some(client) = &mut self.client else { return };
        let mut adu = rtu::encode(unit, pdu.bytes()).to_vec();
        match damage {
            Damage::Half => {
                // So much is missing that nothing that follows completes it by chance.
                adu.truncate(usize::try_from(client.rng.range(1, adu.len() as u64 - 3)).expect("small"));
            }
            Damage::Flips => answers::flip(&mut adu, &mut client.rng),
        }
        if adu.len() >= REQUEST_MIN {
            let number = client.send_frame(self.now, &adu, None);
            let talk = client.frame(number).expect("just sent").talk;
            client.wire.spoil(talk);
        } else {
            let (talk, _) = client.send(self.now, &adu);
            client.wire.spoil(talk);
        }
        client.awaited = None;
        let end = self.now + client.wire.time(adu.len());
        let pause = client.rng.pick(&[1, 30, 100]) * MILLI;
        client.schedule(end + client.timeout.min(pause), ClientEvent::Turn);
        self.note(|| format!("master: damaged {adu:02X?}"));
    }

    /// The master asks another server on its line.
    fn master_asks_another(&mut self) {
        self.serial += 1;
        let Some(client) = &mut self.client else { return };
        let unit = client.rng.pick(&OTHERS);
        let pdus: [&[u8]; 4] = [&[3, 0, 0, 0, 2], &[3, 0, 8, 0, 12], &[6, 0, 1, 0, 7], &[1, 3, 0, 0, 24]];
        let pdu = client.rng.pick(&pdus);
        let adu = rtu::encode(unit, pdu);
        if pdu[0] == 3 {
            client.send_frame(self.now, &adu, None);
        } else {
            // It has the form of its answer, which may be late: the gateway may go on with the request before.
            client.send(self.now, &adu);
        }
        client.awaited = None;
        let end = self.now + client.wire.time(adu.len());
        let answer = client.other_answer(unit, pdu, self.serial);
        let answered = answer.as_ref().filter(|(after, _)| *after <= client.timeout);
        let over =
            answered.map_or(end + client.timeout, |(after, adu)| end + after + client.wire.time(adu.len()));
        if let Some((after, adu)) = answer {
            client.schedule(end + after, ClientEvent::Other(adu));
        }
        client.plan_turn(over);
        self.note(|| format!("master: asks another, {adu:02X?}"));
    }

    /// The gateway's answer has reached the master, unless something collided with it.
    fn master_hears(&mut self, talk: usize, number: u64, adu: &Bytes) -> Check {
        let Some(client) = &mut self.client else { return Ok(()) };
        let Some(awaited) = client.awaited.filter(|_| !client.wire.is_damaged(talk)) else { return Ok(()) };
        let begun = self.now - client.wire.time(adu.len());
        let Some(frame) = client.frame(awaited) else { return Ok(()) };
        let Some(question) = &frame.question else { return Ok(()) };
        let fits = adu[0] == question.unit && adu[1] & 0x7F == question.pdu.function().0;
        if !fits || begun < frame.end {
            return Ok(());
        }
        check(number == awaited, || {
            format!("the master takes the answer to its request {number} for that to {awaited}")
        })?;
        let (is_exception, must) = (adu[1] & 0x80 != 0, question.must_succeed);
        let (is_read, has_used_bus) = (question.pdu.is_read(), question.has_used_bus);
        check(!(must && is_exception), || format!("a healthy serial client got {adu:02X?}"))?;
        let tally = &mut client.tally;
        match (is_exception, is_read) {
            (true, _) => tally.exceptions += 1,
            (false, false) => tally.writes += 1,
            (false, true) if has_used_bus => tally.data += 1,
            (false, true) => tally.from_snapshot += 1,
        }
        client.awaited = None;
        client.plan_turn(self.now);
        Ok(())
    }

    fn lose_client_port(&mut self) {
        let Some(client) = &mut self.client else { return };
        if !client.is_open || !client.rng.chance(client.habits.port_lost) {
            return;
        }
        client.is_open = false;
        if client.rng.chance(300) && client.listener.echo == metergate::line::Echo::Auto {
            client.echoes = !client.echoes;
        }
        client.gateway.handle_port();
        let back = self.now + client.rng.pick(&[50, 300, 1500]) * MILLI;
        client.schedule(back, ClientEvent::Opened);
        self.note(|| "client port: lost".into());
    }

    /// The gateway's process has ended, and the next opens the client's port.
    pub(super) fn restart_client(&mut self) {
        let instant = self.instant(self.now);
        let Some(client) = &mut self.client else { return };
        client.begin_process();
        client.gateway.restart(&client.listener, instant);
        if client.is_open {
            client.is_open = false;
            let back = self.now + client.rng.pick(&[50, 1000]) * MILLI;
            client.schedule(back, ClientEvent::Opened);
        }
    }

    /// A reload of the line's settings, and of the client's listener with them.
    pub(super) fn reload_client(&mut self) {
        let Some(client) = &mut self.client else { return };
        client.listener.units = self.settings.units.iter().map(|unit| unit.id.get()).collect();
        if client.rng.chance(300) {
            client.listener.has_writes = !client.listener.has_writes;
        }
        client.has_refused_writes |= !client.listener.has_writes;
        client.gateway.reload(&client.listener);
    }

    /// Performs what the gateway has to be done on both sides.
    pub(super) fn flush_client(&mut self) -> Check {
        let now = self.present();
        loop {
            let Some(client) = &mut self.client else { return Ok(()) };
            if let Some(adu) = client.gateway.poll_transmit(now) {
                self.gateway_answers(&adu)?;
                continue;
            }
            let Some(request) = client.gateway.poll_request() else { return Ok(()) };
            self.client_hands_in(request)?;
        }
    }

    /// A request of the client on its way to the bus, which may be busy with something else.
    fn client_hands_in(&mut self, request: Request<u64>) -> Check {
        let (now, at) = (self.now, self.elapsed());
        let deadline = self.nanos(request.deadline);
        let Some(client) = &mut self.client else { return Ok(()) };
        let mut arrived = client.frames.iter_mut().rev().filter(|frame| frame.arrives <= now);
        if let Some(question) = arrived.next().and_then(|frame| frame.question.as_mut()) {
            question.has_used_bus = true;
        }
        let unit = match request.target {
            Target::Unit(unit) => unit.get(),
            Target::Broadcast => 0,
        };
        let key = (unit, request.pdu.bytes().clone());
        let sent = client.sent.get(&key).copied().unwrap_or(0);
        let handed = client.handed.entry(key).or_default();
        *handed += 1;
        check(*handed <= sent, || {
            format!("the bus was handed {:?} for unit {unit} more often than the master sent it", request.pdu)
        })?;
        client.handed_writes += u64::from(!request.pdu.is_read());
        if unit != 0 {
            client.last_key = Some(request.to);
            let latest = now + nanos(client.listener.answer_within);
            check(deadline < latest, || "the bus has more time than the answer may take".into())?;
        }
        self.plan(now, Input::Handed { request, at });
        Ok(())
    }

    /// The bus takes a request of the client from its channel.
    pub(super) fn take_handed(&mut self, request: Request<u64>, at: Nanos) -> Check {
        self.drop_superseded()?;
        let key = request.to;
        let (id, deadline) = (self.next_id, self.nanos(request.deadline));
        let now = self.present();
        let Some(client) = &mut self.client else { return Ok(()) };
        if client.listener.connection != request.source.connection {
            // Of a process that has ended.
            return Ok(());
        }
        if client.gateway.is_gone(key) {
            client.tally.superseded += 1;
            client.gateway.discard(key, now);
            return self.flush_client();
        }
        client.keys.insert(id, key);
        self.next_id += 1;
        self.note(|| format!("client asks {id}: {:?} {:?}", request.target, request.pdu));
        let asked = Asked {
            connection: request.source.connection,
            target: request.target,
            pdu: request.pdu.clone(),
            at,
            max_age: nanos(request.max_age),
            listener: request.listener,
            deadline,
            floor: 0,
            seen: 0,
            behind: Vec::new(),
            sent_before: 0,
            must_succeed: false,
        };
        self.invariants.ask(id, asked);
        let Request { source, target, pdu, deadline, max_age, listener, .. } = request;
        self.line.handle_request(Request { to: id, source, target, pdu, deadline, max_age, listener }, now);
        self.outputs()
    }

    /// What the bus does before its timer and before a request: requests nothing waits for are dropped, if they are not on
    /// the wire.
    pub(super) fn drop_superseded(&mut self) -> Check {
        let Some(client) = &mut self.client else { return Ok(()) };
        let (keys, gateway) = (&client.keys, &client.gateway);
        let gone: Vec<u64> =
            keys.iter().filter(|(_, key)| gateway.is_gone(**key)).map(|(&id, _)| id).collect();
        if gone.is_empty() {
            return Ok(());
        }
        client.tally.superseded += gone.len() as u64;
        self.line.drop_requests(|id| gone.contains(id));
        self.outputs()
    }

    /// The bus is about to send a write: the client still waits for it, and can be answered in time.
    pub(super) fn client_waits_for(&self, unit: u8, pdu: &RequestPdu, end: Nanos) -> Check {
        let Some(client) = self.client.as_ref().filter(|_| !pdu.is_read() && unit != 0) else {
            return Ok(());
        };
        let same = client.keys.iter().filter_map(|(id, key)| {
            let asked = self.invariants.asked.get(id)?;
            let is_same = asked.pdu == *pdu && number(asked.target) == unit;
            is_same.then_some((asked.deadline, Some(*key) == client.last_key))
        });
        let mut same = same.peekable();
        let waits = same.peek().is_none() || same.any(|(deadline, is_last)| end < deadline && is_last);
        check(waits, || format!("the write {pdu:?} is sent, and the serial client cannot have its answer"))
    }

    /// The bus has answered a request of the client.
    pub(super) fn client_is_answered(&mut self, id: u64, answer: Answer) -> Check {
        let now = self.present();
        let Some(client) = &mut self.client else { return Ok(()) };
        let Some(key) = client.keys.remove(&id) else { return Ok(()) };
        client.gateway.handle_answer(key, answer, now);
        self.flush_client()
    }

    /// The gateway sends an answer to the master.
    fn gateway_answers(&mut self, adu: &Bytes) -> Check {
        self.note(|| format!("client line: answers {adu:02X?}"));
        let now = self.now;
        let Some(client) = &mut self.client else { return Ok(()) };
        check(client.is_open, || "answers through a closed port".into())?;
        check(rtu::crc_is_right(adu), || "answers with a wrong CRC".into())?;
        let silence = client.silence();
        check(now >= client.last_byte + silence, || "answers before the silence is over".into())?;
        let latest = nanos(client.listener.answer_within);
        let served = client.listener.units.clone();
        let has_refused_writes = client.has_refused_writes;
        let Some(frame) = client.last_frame(now) else { return Err("answers without a request".into()) };
        let (number, arrives) = (frame.number, frame.arrives);
        let unsolicited = || format!("answers {adu:02X?}, and the master sent something else last");
        check(arrives <= now, unsolicited)?;
        let Some(question) = &mut frame.question else { return Err(unsolicited()) };
        check(!question.is_answered, || format!("answers request {number} twice"))?;
        question.is_answered = true;
        check(question.unit != 0, || "answers a broadcast".into())?;
        check(question.unit == adu[0] && adu[1] & 0x7F == question.pdu.function().0, unsolicited)?;
        let reply = &adu[1..adu.len() - 2];
        let asked = question.asked.clone();
        let is_served = served.contains(&question.unit);
        let is_write = !question.pdu.is_read();
        check(now < arrives + latest, || format!("the answer to {number} begins too late"))?;
        check(is_served || !STRANGERS.contains(&adu[0]), || "answers for another server".into())?;
        let Some(mut asked) = asked else { return Err("answers a request that has not ended".into()) };
        let end = now + client.wire.time(adu.len());
        let sent = client.wire.talk(now, adu, false, &mut client.rng);
        if client.echoes {
            let is_damaged = client.rng.chance(client.habits.echo_damage);
            let echo = if is_damaged { answers::damaged_echo(adu, &mut client.rng) } else { adu.to_vec() };
            client.wire.echo(now, &echo);
        }
        client.last_byte = end;
        client.schedule(end, ClientEvent::Answered { talk: sent, number, adu: adu.clone() });
        let own = |code: u8| match ExceptionCode(code) {
            ExceptionCode::SERVER_DEVICE_BUSY
            | ExceptionCode::GATEWAY_PATH_UNAVAILABLE
            | ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND => true,
            ExceptionCode::ILLEGAL_FUNCTION => is_write && has_refused_writes,
            _ => false,
        };
        match *reply {
            [function, code] if function & 0x80 != 0 && own(code) => Ok(()),
            _ => {
                // A write that a bus still has after its deadline is never sent.
                let overdue = self.invariants.asked.values().filter(|other| other.deadline <= now);
                let overdue: Vec<&RequestPdu> = overdue.map(|other| &other.pdu).collect();
                asked.behind.retain(|write| !overdue.contains(&write));
                self.invariants.is_true(number, &asked, reply)
            }
        }
    }

    /// Reads that must be answered, now that nothing goes wrong any more.
    pub(super) fn prove_client(&mut self) {
        let units: Vec<u8> = self.units.keys().copied().collect();
        let Some(client) = &mut self.client else { return };
        client.turns = 0;
        client.habits = ClientHabits { pause: 200 * MILLI, ..ClientHabits::default() };
        client.timeout = nanos(client.listener.answer_within) * 2 + client.lump + 300 * MILLI;
        client.proofs = units;
        client.schedule(self.now, ClientEvent::Turn);
    }

    /// Each write that the gateway took has its outcome.
    pub(super) fn client_writes_are_recorded(&mut self) -> Check {
        let Some(client) = &mut self.client else { return Ok(()) };
        let (recorded, handed) = (client.gateway.recorded_writes(), client.handed_writes);
        let is_complete = if client.has_refused_writes { recorded >= handed } else { recorded == handed };
        check(is_complete, || format!("{handed} writes of the serial client, {recorded} in the audit"))
    }
}

/// How a request of the master is damaged.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Half,
    Flips,
}

/// A healthy line answers within this time, whatever is read in the background and however long units that are gone are
/// probed.
const PATIENT: std::time::Duration = std::time::Duration::from_secs(3);

/// Fewer bytes that are no frame are noise, and no request that was damaged.
const REQUEST_MIN: usize = 4;
