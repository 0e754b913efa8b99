//! One run: the machine under test, the virtual world around it, and time that jumps to the next thing due.
//!
//! The order at one instant is that of the bus task: what happens in the world, then bytes, then the timer,
//! then new requests. While the machine stalls, the world goes on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metergate::endpoint::ClientAddress;
use metergate::line::{
    Answer, Disconnection, Echo, Line, LineSettings, ListenerId, Now, Outcome, Output, Parity, PortEvent,
    PortState, Protocol, Record, Request, Source, Target, UnitId, UnitSettings,
};
use metergate::modbus::pdu::RequestPdu;
use metergate::modbus::rtu;

use super::FarEnd;
use super::answers;
use super::client_line::{ClientGateway, ClientLine, ClientListener, ClientTally};
use super::invariants::{Asked, Check, Invariants, check};
use super::polling;
use super::record_log::{LimitedAnswers, RecordLog};
use super::rng::{Rng, mix};
use super::swarm::{Customs, Faults, LimitedWrites, Swarm, Upheavals};
use super::traffic;
use super::unit::{Limits, VirtualUnit};
use super::upstream::{Upstream, UpstreamFaults};
use super::wire::{MILLI, Nanos, Wire, nanos};

mod client;
mod far_end;
mod server;
mod upheavals;

use upheavals::Upheaval;

/// What happens on the wire, whatever the machine does.
#[derive(Debug)]
enum Event {
    /// A request has arrived at the units, unless a collision damaged it.
    Heard { talk: usize, unit: u8, pdu: RequestPdu, sent: Nanos },
    /// A sender puts bytes on the wire.
    Talk(Vec<u8>),
    /// A request has arrived at the server that is in place of the wire.
    Reached(server::Reached),
}

/// What the machine is handed next to bytes; it waits while the machine stalls.
#[derive(Debug)]
enum Input {
    /// A client sends a request, and after a pause a client sends the next.
    Ask,
    Port(PortEvent),
    /// The server closes the connection of this number.
    Close {
        connection: u64,
    },
    Upheaval(Upheaval),
    /// The bus takes a request of the serial client, which came at this time.
    Handed {
        request: Request<u64>,
        at: Nanos,
    },
    /// The serial client shows that it is served.
    Proof,
    /// Nothing goes wrong any more.
    Calm,
    /// The line has had time to recover: what was ignored before is tried again.
    Trial,
    /// Every request from now on must be answered with data.
    Burst,
    /// While the others are read without pause, a unit with a long gap is served, too. So many requests are left.
    Rush(u32),
}

/// Makes the gateway's end of a serial client's line.
pub(crate) type NewGateway = fn(&ClientListener, Instant) -> Box<dyn ClientGateway>;

pub(crate) struct World {
    line: Line<u64>,
    base: Instant,
    /// By the monotonic clock, which stands still while the machine sleeps.
    now: Nanos,
    /// How long the machine has slept.
    slept: Nanos,
    rng: Rng,
    swarm: Swarm,
    /// What the line obeys at present; `swarm` has what it was started with.
    settings: LineSettings,
    upheavals: Upheavals,
    customs: Customs,
    /// Draws what was added to the simulation later, so that seeds without it go on as they did.
    own_rng: Rng,
    limited_writes: LimitedWrites,
    /// Draws the writes that units may limit.
    limited_rng: Rng,
    events: BTreeMap<(Nanos, u64), Event>,
    inputs: BTreeMap<(Nanos, u64), Input>,
    scheduled: u64,
    wire: Wire,
    /// In place of the wire.
    upstream: Option<Upstream>,
    client: Option<ClientLine>,
    units: BTreeMap<u8, VirtualUnit>,
    invariants: Invariants,
    record_log: RecordLog,
    ids: Vec<u8>,
    next_id: u64,
    /// Numbers of the connections; one that left is followed by another.
    connections: Vec<u64>,
    serial: u16,
    open: bool,
    stalled_until: Nanos,
    /// The last byte the machine was given, or has sent.
    last_byte: Nanos,
    /// The last byte of a frame: a request, or an answer that was taken.
    last_frame: Option<Nanos>,
    /// When units may still be acting on a broadcast.
    turnaround_until: Nanos,
    /// End on the wire of the last request that is to be answered, if nothing was received since.
    unanswered: Option<Nanos>,
    /// A log of what happened, if requested.
    trace: Option<Vec<String>>,
}

impl World {
    pub(crate) fn new(seed: u64, far_end: FarEnd, client: Option<NewGateway>) -> Self {
        let mut rng = Rng::new(seed);
        let mut swarm = Swarm::new(&mut rng);
        let wire = wire(&swarm);
        let upstream = upstream(seed, far_end, &mut swarm);
        polling::draw_demanded(&mut swarm.settings, &mut Rng::new(mix(mix(seed) + 1)));
        let mut own_rng = Rng::new(mix(mix(seed)));
        let upheavals = Upheavals::new(&mut own_rng);
        let mut customs = Customs::new(&mut own_rng);
        if customs.long_gap {
            swarm.settings.units[0].request_gap = Duration::from_millis(200);
        }
        if upstream.is_some() {
            customs.foreign = 0;
        }
        let ids: Vec<u8> = swarm.settings.units.iter().map(|unit| unit.id.get()).collect();
        let alive = swarm.settings.units.iter().filter(|unit| !swarm.dead.contains(&unit.id.get()));
        let mut limited_rng = Rng::new(mix(mix(seed) + 2));
        let limited_writes = limited_writes(far_end, &ids, &mut limited_rng);
        let is_traced = std::env::var_os("METERGATE_TRACE").is_some();
        let trace = || vec![format!("{swarm:#?}"), format!("{upheavals:?} {customs:?} {limited_writes:?}")];
        let trace = is_traced.then(trace);
        let unit = |settings: &UnitSettings| {
            let id = settings.id.get();
            let rate = limited_writes.units.get(&id).copied();
            let limits = rate.map(|rate| Limits { rate, rng: Rng::new(mix(mix(seed) + 3 + u64::from(id))) });
            (id, VirtualUnit::new(id, settings.polling.mirrored).with_limits(limits))
        };
        let (base, client_seed) = (Instant::now(), mix(mix(seed) + 2000));
        let client = client.map(|new| ClientLine::new(client_seed, ids.clone(), base, new));
        let mut world = Self {
            settings: swarm.settings.clone(),
            upheavals,
            customs,
            own_rng,
            limited_rng,
            line: Line::new(swarm.settings.clone()),
            base,
            now: 0,
            slept: 0,
            events: BTreeMap::new(),
            inputs: BTreeMap::new(),
            scheduled: 0,
            wire,
            upstream,
            client,
            units: alive.map(unit).collect(),
            invariants: Invariants::new(&swarm.settings),
            record_log: RecordLog::default(),
            ids,
            next_id: 0,
            connections: (0..swarm.addresses * swarm.connections).collect(),
            serial: 0,
            open: false,
            stalled_until: 0,
            last_byte: 0,
            last_frame: None,
            turnaround_until: 0,
            unanswered: None,
            trace,
            rng,
            limited_writes,
            swarm,
        };
        world.plan(1, Input::Port(PortEvent::Opened));
        world.plan(MILLI, Input::Ask);
        if far_end == FarEnd::Wire {
            world.answer_from_before(&mut Rng::new(mix(seed)));
        }
        world
    }

    /// An earlier process asked something, and its answer comes after the start. Drawn apart, so that other seeds go on
    /// as they did.
    fn answer_from_before(&mut self, rng: &mut Rng) {
        let alive: Vec<u8> = self.units.keys().copied().collect();
        if alive.is_empty() || !rng.chance(200) {
            return;
        }
        let id = rng.pick(&alive);
        let configured = self.swarm.settings.units.iter().find(|unit| unit.id.get() == id);
        let timeout = configured.map_or(0, |unit| nanos(unit.response_timeout));
        let guard = nanos(self.swarm.settings.late_guard).saturating_sub(answers::GUARD_MARGIN);
        let at = rng.below(timeout + guard);
        // With the values of no unit that is there.
        let pdu = traffic::read(rng, &self.swarm);
        let reply = VirtualUnit::new(!id, false).execute(pdu.bytes(), 0);
        let adu = rtu::encode(id, &reply);
        if let Some(unit) = self.units.get_mut(&id) {
            unit.busy_until = at + self.wire.time(adu.len());
        }
        self.schedule(at, Event::Talk(adu.to_vec()));
    }

    /// Runs to the end: traffic with faults, then calm, then proof that the line came back by itself.
    pub(crate) fn run(mut self) -> Result<(LimitedAnswers, ClientTally), String> {
        let result = self.run_to_the_end();
        let tally = self.client.as_ref().map(|client| client.tally).unwrap_or_default();
        let result = result.map(|()| (self.record_log.limited_answers(), tally));
        result.map_err(|fault| {
            let trace = self.trace.unwrap_or_default().join("\n");
            format!("at {:?}: {fault}\n{trace}", Duration::from_nanos(self.now))
        })
    }

    fn run_to_the_end(&mut self) -> Check {
        let mut at_one_instant = 0;
        let mut steps = 0;
        while !self.is_over() {
            let event = self.events.keys().next().map(|key| key.0);
            let bytes = self.next_delivery().map(|at| at.max(self.stalled_until));
            let timer = self.line.poll_timeout().map(|at| self.nanos(at).max(self.stalled_until));
            let input = self.inputs.keys().next().map(|key| key.0.max(self.stalled_until));
            let client = self.next_client();
            check(timer.is_some() || self.invariants.asked.is_empty(), || {
                "requests wait, and no timer".into()
            })?;
            let of_client = client.map(|(at, _)| at);
            let Some(next) = [event, of_client, bytes, timer, input].into_iter().flatten().min() else {
                break;
            };
            if next > self.now {
                if self.now >= self.stalled_until {
                    self.invariants.nothing_overdue(self.now)?;
                }
                self.now = next;
                at_one_instant = 0;
            }
            at_one_instant += 1;
            steps += 1;
            check(steps < 3_000_000, || format!("never ends: {:?}", self.line))?;
            check(at_one_instant < SPIN, || format!("the machine spins: {:?}", self.line))?;
            let due = |at: Option<Nanos>| at.is_some_and(|at| at <= self.now);
            if due(event) {
                self.next_event();
            } else if let Some((_, first)) = client.filter(|_| due(of_client)) {
                self.advance_client(first)?;
            } else if due(bytes) {
                self.deliver()?;
            } else if due(timer) {
                self.drop_superseded()?;
                let now = self.present();
                self.line.handle_timeout(now);
                self.outputs()?;
            } else {
                self.next_input()?;
            }
        }
        check(self.invariants.asked.is_empty(), || "requests are left without an answer".into())?;
        check(self.invariants.view.waiting == 0, || {
            "the view shows waiting requests without clients".into()
        })?;
        self.client_writes_are_recorded()?;
        self.port(PortEvent::Lost)?;
        self.record_log.complete(&self.invariants.view)
    }

    fn is_over(&self) -> bool {
        let is_client_done = self.client.as_ref().is_none_or(ClientLine::is_over);
        let is_empty = self.inputs.is_empty() && self.events.is_empty();
        is_empty && is_client_done && self.invariants.asked.is_empty()
    }

    fn next_event(&mut self) {
        match self.events.pop_first() {
            Some((_, Event::Heard { talk, unit, pdu, sent })) => self.hear(talk, unit, &pdu, sent),
            Some((_, Event::Talk(bytes))) => {
                self.note(|| format!("talk {bytes:02X?}"));
                self.wire.talk(self.now, &bytes, self.open, &mut self.rng);
            }
            Some((_, Event::Reached(reached))) => self.reach(reached),
            None => {}
        }
    }

    /// When the machine receives the next bytes: through a connection only while there is one.
    fn next_delivery(&self) -> Option<Nanos> {
        match &self.upstream {
            Some(server) => server.next_delivery().filter(|_| self.open),
            None => self.wire.next_delivery(),
        }
    }

    fn next_input(&mut self) -> Check {
        match self.inputs.pop_first() {
            Some((_, Input::Ask)) => self.ask(),
            Some((_, Input::Port(event))) => self.port(event),
            Some((_, Input::Close { connection })) => self.close(connection),
            Some((_, Input::Upheaval(upheaval))) => self.upheaval(upheaval),
            Some((_, Input::Handed { request, at })) => self.take_handed(request, at),
            Some((_, Input::Proof)) => {
                self.prove_client();
                Ok(())
            }
            Some((_, Input::Calm)) => {
                self.note(|| "calm".into());
                self.swarm.faults = Faults::default();
                if let Some(server) = &mut self.upstream {
                    server.faults = UpstreamFaults::default();
                }
                self.customs.foreign = 0;
                // The next try of a read that was ignored is at most a minute away, whatever the last one cost.
                self.plan(self.now + 61_000 * MILLI, Input::Trial);
                self.end_upheavals()
            }
            Some((_, Input::Trial)) => {
                // Off-line units are probed within `probe_max`, a learned guard is five seconds at most.
                self.plan(self.now + 15_000 * MILLI, Input::Burst);
                self.try_all()
            }
            Some((_, Input::Burst)) => {
                if self.client.is_some() {
                    self.plan(self.now + 70_000 * MILLI, Input::Proof);
                }
                if self.customs.long_gap {
                    self.plan(self.now + 60_000 * MILLI, Input::Rush(RUSH));
                }
                self.burst()
            }
            Some((_, Input::Rush(left))) => self.rush(left),
            None => Ok(()),
        }
    }

    fn deliver(&mut self) -> Check {
        let bytes = match &mut self.upstream {
            Some(server) => server.deliver(self.now),
            None => self.wire.deliver(self.now),
        };
        if !self.open {
            return Ok(());
        }
        self.note(|| format!("given {bytes:02X?}"));
        self.record_log.received(&bytes);
        self.last_byte = self.last_byte.max(self.now);
        self.unanswered = None;
        let now = self.present();
        self.line.handle_bytes(&bytes, now);
        self.outputs()
    }

    fn port(&mut self, event: PortEvent) -> Check {
        self.note(|| format!("port {event:?}"));
        self.open = event == PortEvent::Opened;
        if let Some(server) = self.upstream.as_mut().filter(|_| event != PortEvent::Opened) {
            server.end_connection();
        }
        if event == PortEvent::Interrupted {
            self.invariants.own.interrupted();
            self.plan_reconnect();
        }
        // What the adapter held is gone.
        self.wire.deliver(self.now);
        self.last_byte = self.last_byte.max(self.now);
        self.unanswered = None;
        if self.open && self.swarm.settings.echo == Echo::Auto && self.rng.chance(300) {
            self.swarm.echoes = !self.swarm.echoes;
        }
        let now = self.present();
        self.line.handle_port(event, now);
        self.outputs()
    }

    fn ask(&mut self) -> Check {
        let Some(rest) = self.swarm.requests.checked_sub(1) else { return Ok(()) };
        self.swarm.requests = rest;
        if rest == 0 {
            self.plan(self.now + MILLI, Input::Calm);
        } else {
            let pause = self.rng.below(self.swarm.pause * MILLI);
            self.plan(self.now + pause, Input::Ask);
        }
        self.mishaps()?;
        self.half_close();
        self.foreign_request();
        let place = usize::try_from(self.rng.below(self.connections.len() as u64)).expect("an index");
        let write = self.rng.chance(self.swarm.writes);
        let all = write && self.rng.chance(self.swarm.broadcasts);
        self.serial += 1;
        let (target, pdu) = if all {
            (Target::Broadcast, traffic::broadcast(&mut self.rng, self.serial))
        } else {
            let id = if self.swarm.hot { self.ids[0] } else { self.rng.pick(&self.ids) };
            let unit = UnitId::new(id).expect("a configured unit");
            let write = write.then(|| traffic::write(&mut self.rng, self.serial));
            (Target::Unit(unit), write.unwrap_or_else(|| traffic::read(&mut self.rng, &self.swarm)))
        };
        let max_age = traffic::max_age(&mut self.rng, &self.swarm, &pdu) * MILLI;
        let (pdu, max_age) = match self.custom() {
            Some((custom, max_age)) if matches!(target, Target::Unit(_)) => (custom, max_age),
            Some(_) | None => (pdu, max_age),
        };
        let deadline = self.now + self.rng.pick(&[20, 200, 1000, 3000, 3000, 10_000]) * MILLI;
        self.hand_in(place, target, pdu, max_age, deadline, false)
    }

    /// What a client asks that has one of the customs of this seed, and the age it takes.
    fn custom(&mut self) -> Option<(RequestPdu, Nanos)> {
        if self.limited_rng.chance(self.limited_writes.requests) {
            return Some((traffic::limitable(&mut self.limited_rng, self.serial), 0));
        }
        let rng = &mut self.own_rng;
        if rng.chance(self.customs.walks) {
            let pdu = traffic::step(self.next_id, rng);
            return Some((pdu, rng.pick(&[1500, 3000, 5000]) * MILLI));
        }
        if rng.chance(self.customs.ignored) {
            return Some((traffic::ignored(rng), rng.pick(&[0, 2000]) * MILLI));
        }
        None
    }

    /// A client closes its sending side: its requests are still answered within their deadline, and it sends no more.
    fn half_close(&mut self) {
        if !self.own_rng.chance(self.customs.half_closes) {
            return;
        }
        let place = usize::try_from(self.own_rng.below(self.connections.len() as u64)).expect("an index");
        let closed = self.connections[place];
        // Unlike the number of any that takes the place of one that left.
        self.connections[place] = self.next_id + 500_000;
        self.note(|| format!("connection {closed} closes its sending side"));
        let asked = &self.invariants.asked;
        self.line.demote_requests(|id| asked.get(id).is_some_and(|asked| asked.connection == closed));
    }

    /// Another client on the wire sends a request to a unit; its answer is not received here.
    fn foreign_request(&mut self) {
        if self.own_rng.chance(self.customs.foreign) {
            let pdu = traffic::step(self.next_id, &mut self.own_rng);
            let unit = self.own_rng.pick(&self.ids);
            self.schedule(self.now, Event::Talk(rtu::encode(unit, pdu.bytes()).to_vec()));
        }
    }

    /// What goes wrong without an answer being at fault.
    fn mishaps(&mut self) -> Check {
        let faults = self.swarm.faults.clone();
        if self.open && self.rng.chance(faults.port_lost) {
            let back = self.now + self.rng.pick(&[1, 100, 250, 1500]) * MILLI;
            self.plan(back, Input::Port(PortEvent::Opened));
            self.port(PortEvent::Lost)?;
        }
        if self.rng.chance(faults.babble) {
            let time = self.rng.pick(&[50, 300, 1500]) * MILLI;
            let length = usize::try_from(time / self.wire.time(1)).expect("small").min(3000);
            let babble = answers::noise(&mut self.rng, &self.ids, length);
            self.schedule(self.now, Event::Talk(babble));
        }
        if self.rng.chance(faults.stall) {
            self.stalled_until = self.now + self.rng.pick(&[5, 100, 1000, 4000]) * MILLI;
            self.note(|| "stalls".into());
        }
        if self.rng.chance(faults.leave) {
            let place = usize::try_from(self.rng.below(self.connections.len() as u64)).expect("an index");
            let gone = self.connections[place];
            self.connections[place] = self.next_id + 1000;
            self.note(|| format!("connection {gone} leaves"));
            let left: Vec<u64> = self
                .invariants
                .asked
                .iter()
                .filter(|(_, asked)| asked.connection == gone)
                .map(|(&id, _)| id)
                .collect();
            self.line.drop_requests(|id| left.contains(id));
            // What is on the wire is answered with what comes of it; the rest at once, and never sent.
            for id in left {
                self.invariants.asked.entry(id).and_modify(|asked| asked.must_succeed = false);
            }
            self.outputs()?;
        }
        Ok(())
    }

    /// Asks each unit once for what the burst will ask: a read that was ignored is refused until it was tried again.
    fn try_all(&mut self) -> Check {
        for id in self.units.keys().copied().collect::<Vec<_>>() {
            let target = Target::Unit(UnitId::new(id).expect("a configured unit"));
            let pdu = traffic::range(3, u16::from(id), 2);
            self.hand_in(0, target, pdu, 0, self.now + 50_000 * MILLI, false)?;
        }
        Ok(())
    }

    fn burst(&mut self) -> Check {
        self.note(|| "burst".into());
        let units: Vec<u8> = self.units.keys().copied().collect();
        for place in 0..self.connections.len() {
            // A full queue still takes one request of each connection.
            let room = if self.swarm.settings.queue_limit < 100 { 1 } else { units.len() };
            for &id in units.iter().cycle().skip(place).take(room) {
                let target = Target::Unit(UnitId::new(id).expect("a configured unit"));
                let pdu = traffic::range(3, u16::from(id), 2);
                self.hand_in(place, target, pdu, 0, self.now + 60_000 * MILLI, true)?;
            }
        }
        Ok(())
    }

    /// The unit with the long gap is the first; its client has a connection of its own.
    fn rush(&mut self, left: u32) -> Check {
        if let Some(left) = left.checked_sub(1) {
            self.plan(self.now + 10 * MILLI, Input::Rush(left));
        }
        let first = self.ids[0];
        let others: Vec<u8> = self.units.keys().copied().filter(|id| *id != first).collect();
        let healthy = self.units.contains_key(&first) && !others.is_empty();
        if !healthy || self.connections.len() < 2 || self.swarm.settings.queue_limit < 100 {
            return Ok(());
        }
        let deadline = self.now + 10_000 * MILLI;
        if left.is_multiple_of(100) {
            let target = Target::Unit(UnitId::new(first).expect("a configured unit"));
            self.hand_in(0, target, traffic::range(3, u16::from(first), 2), 0, deadline, true)?;
        }
        let id = self.own_rng.pick(&others);
        let target = Target::Unit(UnitId::new(id).expect("a configured unit"));
        let place =
            usize::try_from(self.own_rng.range(1, self.connections.len() as u64 - 1)).expect("an index");
        self.hand_in(place, target, traffic::range(3, u16::from(id), 2), 0, deadline, false)
    }

    fn hand_in(
        &mut self,
        place: usize,
        target: Target,
        pdu: RequestPdu,
        max_age: Nanos,
        deadline: Nanos,
        must_succeed: bool,
    ) -> Check {
        let id = self.next_id;
        self.next_id += 1;
        let connection = self.connections[place];
        let listener = ListenerId(u8::try_from(place).expect("small") % self.customs.listeners);
        self.note(|| {
            format!("asks {id} on {connection}: {target:?} {pdu:?} max_age {max_age} deadline {deadline}")
        });
        let address = u8::try_from(place as u64 % self.swarm.addresses).expect("small");
        let source = Source { address: ClientAddress::Ip([10, 0, 0, address].into()), connection };
        let asked = Asked {
            connection,
            target,
            pdu: pdu.clone(),
            at: self.elapsed(),
            max_age,
            listener,
            deadline,
            floor: 0,
            seen: 0,
            behind: Vec::new(),
            sent_before: 0,
            must_succeed,
        };
        let at_hand = self.invariants.at_hand(&asked, self.present());
        self.invariants.ask(id, asked);
        if let Some(reply) = at_hand {
            self.note(|| format!("answers {id} from the snapshot: {reply:02X?}"));
            return self.invariants.reply(id, &Answer::Reply(reply), self.present());
        }
        let max_age = Duration::from_nanos(max_age);
        let deadline = self.instant(deadline);
        let now = self.present();
        self.line.handle_request(Request { to: id, source, target, pdu, deadline, max_age, listener }, now);
        self.outputs()
    }

    fn outputs(&mut self) -> Check {
        let mut count = 0;
        while let Some(output) = self.line.poll_output() {
            match output {
                Output::Transmit(adu) => self.transmit(&adu)?,
                Output::Disconnect(Disconnection::Misframed(error)) => {
                    return Err(format!("taken for no Modbus TCP: {error}"));
                }
                Output::Disconnect(Disconnection::Hung) => self.give_up_connection()?,
                Output::Publish(view) => {
                    check(view.waiting <= self.invariants.asked.len(), || "more wait than asked".into())?;
                    self.invariants.own.kept(&view)?;
                    let base = self.base;
                    self.note(|| {
                        let units = view.units.iter().map(|unit| {
                            let blocks = unit.snapshot.blocks().iter().map(|block| {
                                let begun = nanos(block.begun.instant.saturating_duration_since(base));
                                (block.range.function, block.range.start, block.range.quantity, begun / MILLI)
                            });
                            (unit.id.get(), unit.state, blocks.collect::<Vec<_>>())
                        });
                        format!("publishes {:?}", units.collect::<Vec<_>>())
                    });
                    if view.port != PortState::Open {
                        self.invariants.own.interrupted();
                    }
                    if let Some(client) = &mut self.client {
                        client.gateway.publish(&view);
                    }
                    self.invariants.view = Arc::unwrap_or_clone(view);
                }
                Output::Event(_) => {}
                Output::Record(record) => {
                    if let Record::Transaction(transaction) = &*record
                        && matches!(transaction.outcome, Outcome::Answered | Outcome::Exception(_))
                    {
                        self.last_frame = Some(self.now);
                    }
                    self.record_log.record(&record, self.instant(self.now))?;
                }
                Output::Reply { to, answer } => {
                    self.note(|| format!("answers {to}: {answer:?}"));
                    self.invariants.reply(to, &answer, self.present())?;
                    self.client_is_answered(to, answer)?;
                }
            }
            count += 1;
            check(count < 1000, || "outputs without end".into())?;
        }
        self.invariants.explained(self.now)?;
        self.invariants.own.only_probes(&self.invariants.view)
    }

    fn schedule(&mut self, at: Nanos, event: Event) {
        self.scheduled += 1;
        self.events.insert((at.max(self.now), self.scheduled), event);
    }

    fn plan(&mut self, at: Nanos, input: Input) {
        self.scheduled += 1;
        self.inputs.insert((at, self.scheduled), input);
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>14?} {}", Duration::from_nanos(self.now), what()));
        }
    }

    /// The present as the machine receives it.
    fn present(&self) -> Now {
        Now { instant: self.instant(self.now), slept: Duration::from_nanos(self.slept) }
    }

    /// The time since the start, sleep included: the units' time, and that of ages.
    fn elapsed(&self) -> Nanos {
        self.now + self.slept
    }

    fn instant(&self, at: Nanos) -> Instant {
        self.base + Duration::from_nanos(at)
    }

    fn nanos(&self, at: Instant) -> Nanos {
        nanos(at.saturating_duration_since(self.base))
    }
}

fn wire(swarm: &Swarm) -> Wire {
    let framing = match swarm.settings.protocol {
        Protocol::Rtu(framing) => framing,
        Protocol::Tcp => unreachable!("a swarm is drawn for a wire"),
    };
    let bits = 9 + u32::from(framing.parity != Parity::None) + u32::from(framing.stop_bits);
    Wire::new(swarm.delivery, bits, framing.baud_rate)
}

fn upstream(seed: u64, far_end: FarEnd, swarm: &mut Swarm) -> Option<Upstream> {
    match far_end {
        FarEnd::Wire => None,
        FarEnd::Server => {
            swarm.move_to_server();
            Some(Upstream::new(Rng::new(mix(mix(seed) + 1000))))
        }
    }
}

fn limited_writes(far_end: FarEnd, ids: &[u8], rng: &mut Rng) -> LimitedWrites {
    match far_end {
        FarEnd::Wire => LimitedWrites::new(ids, rng),
        // Every limited write is believed there.
        FarEnd::Server => LimitedWrites::default(),
    }
}

/// Requests of a rush.
const RUSH: u32 = 400;

/// Calls of one instant that are more than work.
const SPIN: u32 = 200;
