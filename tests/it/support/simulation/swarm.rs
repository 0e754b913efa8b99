//! What one seed is about: the line's settings, its units, and which faults happen how often.
//!
//! Each fault is on in about half of the seeds and its rate differs from seed to seed (swarm testing): a
//! fault that drowns another one in one seed is absent in the next.

use std::collections::BTreeMap;
use std::time::Duration;

use metergate::line::{Echo, Framing, LineSettings, OfflineAfter, Parity, Protocol, UnitId, UnitSettings};

use super::polling;
use super::rng::Rng;

/// How bytes reach the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// Each as soon as it is on the wire.
    Bytewise,
    /// In lumps, at most so many milliseconds after their wire time.
    Lumps(u64),
}

/// Rates in permille: of answers, or of requests for those that no answer brings about.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) slow: u64,
    pub(crate) late: u64,
    pub(crate) dropped: u64,
    pub(crate) unheard: u64,
    pub(crate) wrong_unit: u64,
    pub(crate) wrong_function: u64,
    pub(crate) flips: u64,
    pub(crate) truncated: u64,
    pub(crate) noise: u64,
    pub(crate) doubled: u64,
    pub(crate) exception: u64,
    pub(crate) oversize: u64,
    pub(crate) wrong_repeat: u64,
    pub(crate) babble: u64,
    pub(crate) port_lost: u64,
    pub(crate) leave: u64,
    pub(crate) stall: u64,
    pub(crate) echo_damage: u64,
}

/// What happens to the gateway itself, in permille of the requests it sends.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Upheavals {
    pub(crate) reload: u64,
    pub(crate) restart: u64,
    pub(crate) suspend: u64,
}

impl Upheavals {
    /// Each happens in a quarter of the seeds.
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let mut rate = |most: u64| if rng.chance(750) { 0 } else { rng.range(1, most) };
        Self { reload: rate(100), restart: rate(40), suspend: rate(100) }
    }
}

/// What clients and units do in some seeds besides.
#[derive(Clone, Debug, Default)]
pub(crate) struct Customs {
    /// Permille of requests that are the next step of a walk, register by register.
    pub(crate) walks: u64,
    /// Permille of requests that are reads of registers which no unit answers.
    pub(crate) ignored: u64,
    /// Permille of requests at which a client closes its sending side.
    pub(crate) half_closes: u64,
    /// Permille of requests at which another client on the wire sends a request to a unit.
    pub(crate) foreign: u64,
    /// Whether the first unit needs a rest of 200 ms before each request.
    pub(crate) long_gap: bool,
    /// 1 or 2: connections come by them in turn.
    pub(crate) listeners: u8,
}

impl Customs {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let mut rate = |most: u64| if rng.chance(700) { 0 } else { rng.range(1, most) };
        let (walks, ignored, half_closes) = (rate(900), rate(200), rate(60));
        let listeners = if rng.chance(300) { 2 } else { 1 };
        let mut rate = |most: u64| if rng.chance(800) { 0 } else { rng.range(1, most) };
        let foreign = rate(60);
        Self { walks, ignored, half_closes, foreign, long_gap: rng.chance(150), listeners }
    }
}

/// Writes that units limit, in some seeds.
#[derive(Clone, Debug, Default)]
pub(crate) struct LimitedWrites {
    /// Permille of requests that are writes which a unit may limit.
    pub(crate) requests: u64,
    /// For each unit that limits what is written to it, permille of the writes it does so with.
    pub(crate) units: BTreeMap<u8, u64>,
}

impl LimitedWrites {
    /// In a quarter of the seeds, by most units.
    pub(crate) fn new(ids: &[u8], rng: &mut Rng) -> Self {
        if rng.chance(750) {
            return Self::default();
        }
        let requests = rng.pick(&[50, 200, 500]);
        let limiting: Vec<u8> = ids.iter().copied().filter(|_| rng.chance(700)).collect();
        let units = limiting.into_iter().map(|id| (id, rng.pick(&[300, 1000]))).collect();
        Self { requests, units }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Swarm {
    pub(crate) settings: LineSettings,
    pub(crate) faults: Faults,
    pub(crate) delivery: Delivery,
    /// Whether the adapter echoes.
    pub(crate) echoes: bool,
    /// Configured units that do not exist.
    pub(crate) dead: Vec<u8>,
    pub(crate) requests: u64,
    /// Longest pause between two requests, in milliseconds.
    pub(crate) pause: u64,
    /// Permille of requests that are writes, and of these that are broadcasts.
    pub(crate) writes: u64,
    pub(crate) broadcasts: u64,
    /// Whether all clients read the same few registers of one unit.
    pub(crate) hot: bool,
    /// Whether clients repeat the same few requests, as real ones do, so that ranges are learned.
    pub(crate) habits: bool,
    /// Whether some units have blocks that are read in the background.
    pub(crate) polled: bool,
    pub(crate) addresses: u64,
    pub(crate) connections: u64,
}

impl Swarm {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let delivery = if rng.chance(600) { Delivery::Bytewise } else { Delivery::Lumps(rng.range(1, 16)) };
        let mut faults = if rng.chance(100) { Faults::default() } else { faults(rng) };
        if delivery != Delivery::Bytewise {
            // A second copy of an answer that waits in the adapter until after the next request looks exactly
            // like its answer. On the wire the two would have collided; no gateway can tell.
            faults.doubled = 0;
        }
        let echoes = rng.chance(300);
        let mut settings = settings(rng, echoes);
        let polled = polling::draw(&mut settings, &mut Rng::new(rng.next()));
        let dead = settings.units.iter().map(|unit| unit.id.get()).filter(|_| rng.chance(120)).collect();
        let mut swarm = Self {
            settings,
            faults,
            delivery,
            echoes,
            dead,
            requests: rng.range(20, 80),
            pause: rng.pick(&[1, 10, 60, 300, 1500]),
            writes: rng.pick(&[0, 100, 400]),
            broadcasts: rng.pick(&[0, 200, 800]),
            hot: rng.chance(250),
            habits: false,
            polled,
            addresses: rng.range(1, 3),
            connections: rng.range(1, 3),
        };
        if rng.chance(80) {
            swarm.race();
        }
        // Told by what was drawn, so that other seeds go on as they did.
        if !swarm.hot && swarm.requests.is_multiple_of(4) {
            swarm.take_habits();
        }
        swarm
    }

    /// The units are those of a Modbus TCP server; what goes wrong with answers is drawn with that.
    pub(crate) fn move_to_server(&mut self) {
        let Faults { port_lost, leave, stall, .. } = self.faults;
        self.faults = Faults { port_lost, leave, stall, ..Faults::default() };
        self.settings.protocol = Protocol::Tcp;
        self.settings.echo = Echo::Off;
        self.echoes = false;
    }

    /// Long enough, and often enough, for ranges to be learned and kept fresh; late answers among them.
    fn take_habits(&mut self) {
        self.habits = true;
        self.requests *= 2;
        self.pause = self.pause.clamp(60, 300);
        self.writes = self.writes.min(100);
    }

    /// Late answers and broadcasts, and all clients read what these write: an answer read before a broadcast that
    /// arrives after it is rare otherwise.
    fn race(&mut self) {
        self.faults = Faults { late: 300, ..Faults::default() };
        self.settings.late_guard = Duration::from_secs(1);
        (self.writes, self.broadcasts) = (300, 1000);
        (self.hot, self.pause) = (true, 60);
    }
}

fn faults(rng: &mut Rng) -> Faults {
    let mut rate = |most: u64| if rng.chance(500) { 0 } else { rng.range(1, most) };
    Faults {
        slow: rate(300),
        late: rate(200),
        dropped: rate(200),
        unheard: rate(100),
        wrong_unit: rate(100),
        wrong_function: rate(100),
        flips: rate(200),
        truncated: rate(150),
        noise: rate(300),
        doubled: rate(150),
        exception: rate(150),
        oversize: rate(100),
        wrong_repeat: rate(100),
        babble: rate(20),
        port_lost: rate(30),
        leave: rate(40),
        stall: rate(30),
        echo_damage: rate(60),
    }
}

fn settings(rng: &mut Rng, echoes: bool) -> LineSettings {
    let response_timeout = Duration::from_millis(rng.pick(&[100, 300, 500]));
    let request_gap = Duration::from_millis(rng.pick(&[0, 0, 0, 5, 30]));
    let late_guard = Duration::from_millis(rng.pick(&[100, 300, 500, 1000]));
    let mut units = Vec::new();
    let mut id = 0;
    for _ in 0..rng.pick(&[2, 2, 3, 5, 8]) {
        id += rng.pick(&[1, 1, 2, 20]);
        let id = UnitId::new(id).expect("at most 160");
        let response_timeout = if rng.chance(100) { response_timeout * 2 } else { response_timeout };
        let request_gap = if rng.chance(100) { Duration::from_millis(15) } else { request_gap };
        units.push(UnitSettings { request_gap, ..UnitSettings::new(id, response_timeout) });
    }
    LineSettings {
        name: "simulated".into(),
        protocol: Protocol::Rtu(Framing {
            baud_rate: rng.pick(&[9600, 19200, 19200, 115_200]),
            parity: rng.pick(&[Parity::None, Parity::Even]),
            stop_bits: 1,
        }),
        response_timeout,
        request_gap,
        turnaround_delay: Duration::from_millis(rng.pick(&[20, 100])),
        late_guard,
        retries: u32::try_from(rng.below(3)).expect("small"),
        queue_limit: rng.pick(&[4, 1024, 1024]),
        poll_share: 0.6,
        learn_limit: 256,
        failure_share: rng.pick(&[0.02, 0.1]),
        offline_after: OfflineAfter { failures: 3, time: Duration::from_millis(rng.pick(&[0, 1000, 3000])) },
        probe_max: Duration::from_secs(5),
        echo: rng.pick(&[Echo::Auto, Echo::Auto, if echoes { Echo::On } else { Echo::Off }]),
        units,
    }
}
