//! Seeded clients that have many requests in flight under few transaction identifiers: whatever the order in which
//! buses answer, and however the bytes are segmented, each request gets its own reply, once, in the order of the
//! requests with its identifier.
//!
//! On in-memory pipes with a clock that is stepped. A failure names its seed; `METERGATE_FIRST_SEED` is the first that
//! runs.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use metergate::line::{
    Answer, Block, BusId, Request, Snapshot, Target, UnitId, UnitSettings, UnitView, View,
};
use metergate::modbus::AduFraming;
use metergate::modbus::mbap::{self, Adu};
use metergate::modbus::pdu::{ExceptionCode, FunctionCode, ReadRange};
use metergate::serial::{BusHandle, ReplySender, clock};
use metergate::server::connection::{BACKSTOP_MARGIN, ClientContext, DEADLINE_MARGIN};
use metergate::server::{
    Broadcast, IdleTracker, ListenerSettings, ListenerState, Routes, Writes, connection,
};
use metergate::traffic::Link;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::support::clients::{Requests, bytes_of, settings};
use crate::support::simulation::Rng;

#[test]
fn each_request_gets_its_own_reply_once_and_in_the_order_of_its_identifier() {
    let first = std::env::var("METERGATE_FIRST_SEED").map_or(0, |seed| seed.parse().expect("a seed"));
    let (mut overtaken, mut from_snapshot) = (0, 0);
    for seed in first..first + SEEDS {
        let case = Case::new(seed);
        match case.run() {
            Ok(seen) => {
                overtaken += seen.overtaken;
                from_snapshot += seen.from_snapshot;
            }
            Err(fault) => panic!("seed {seed}: {fault}\n{case:?}"),
        }
    }
    assert!(overtaken > SEEDS, "hardly any answer of a bus overtook another of its identifier: {overtaken}");
    assert!(from_snapshot > SEEDS, "hardly any read was answered from the snapshot: {from_snapshot}");
}

/// The parameters of one seed.
#[derive(Debug)]
struct Case {
    seed: u64,
    broadcast: Broadcast,
    max_in_flight: usize,
    /// Bytes that the pipe holds in each direction.
    pipe: usize,
    asked: Vec<Asked>,
    /// How many of them come before a malformed header, if there is one.
    malformed: Option<usize>,
    /// So many bytes are sent before the client closes its sending side, if it does.
    half_close: Option<usize>,
}

/// How often a case saw what it is for.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// Answers of buses that came before that to an earlier request of the same identifier.
    overtaken: u64,
    from_snapshot: u64,
}

/// One request. Its number, which is its place, is the address it reads or writes.
#[derive(Clone, Copy, Debug)]
struct Asked {
    transaction_id: u16,
    unit: u8,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Read,
    /// Of registers that the snapshot has.
    KnownRead,
    Write,
    Broadcast,
    /// Of a unit that is not configured.
    Unrouted,
    Diagnostics,
}

/// The requests and answers of a bus, per request: the bus and the answer that counts.
#[derive(Debug, Default)]
struct BusLog {
    answers: BTreeMap<u16, Vec<(usize, Answer)>>,
    /// Numbers in the order taken, per bus.
    taken: [Vec<u16>; BUSES],
    /// Numbers in the order answered in time.
    answered: Vec<u16>,
    is_any_late: bool,
}

impl Case {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let identifiers = rng.range(1, 4);
        let rare = rng.pick(&[0, 50, 200]);
        let count = rng.range(2, 40);
        let asked = (0..count).map(|_| Asked::new(identifiers, rare, &mut rng)).collect();
        let malformed = rng.chance(200).then(|| index(rng.below(count + 1)));
        let mut case = Self {
            seed,
            broadcast: rng.pick(&[Broadcast::Refuse, Broadcast::Silent, Broadcast::Acknowledge]),
            max_in_flight: rng.pick(&[1, 2, 4, 16, 16, 64]),
            pipe: rng.pick(&[5, 64, 4096]),
            asked,
            malformed,
            half_close: None,
        };
        if rng.chance(300) {
            let length = case.bytes(&mut rng).len() as u64;
            case.half_close = Some(index(rng.below(length + 1)));
        }
        case
    }

    /// All that the client would send.
    fn bytes(&self, rng: &mut Rng) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (number, asked) in self.asked.iter().enumerate() {
            if self.malformed == Some(number) {
                bytes.extend(rng.pick(&MALFORMED));
            }
            bytes.extend(bytes_of(asked.transaction_id, asked.unit, &asked.pdu(number)));
        }
        if self.malformed == Some(self.asked.len()) {
            bytes.extend(rng.pick(&MALFORMED));
        }
        bytes
    }

    /// The requests that come whole and before any malformed header.
    fn valid(&self) -> &[Asked] {
        let mut sent = self.half_close.unwrap_or(usize::MAX);
        let before = self.malformed.unwrap_or(self.asked.len());
        let whole = self.asked[..before].iter().enumerate().take_while(|(number, asked)| {
            let length = mbap::HEADER_LENGTH + asked.pdu(*number).len();
            let is_whole = sent >= length;
            sent = sent.saturating_sub(length);
            is_whole
        });
        &self.asked[..whole.count()]
    }

    fn run(&self) -> Result<Seen, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(self.connect_and_ask())
    }

    async fn connect_and_ask(&self) -> Result<Seen, String> {
        let mut rng = Rng::new(!self.seed);
        let ((a, of_a), (b, of_b)) = (BusHandle::new(BusId(0), "a"), BusHandle::new(BusId(1), "b"));
        a.view().store(Arc::new(view_with_block()));
        let log = Arc::new(Mutex::new(BusLog::default()));
        let buses = tokio::spawn(serve([of_a, of_b], Arc::clone(&log), Rng::new(rng.next())));
        let (ours, theirs) = duplex(self.pipe);
        let (reader, writer) = tokio::io::split(theirs);
        let connection = tokio::spawn(connection::run(reader, writer, self.client(a, b)));
        let (reader, writer) = tokio::io::split(ours);
        let mut bytes = self.bytes(&mut rng.clone());
        let closes = self.half_close.inspect(|&length| bytes.truncate(length)).is_some();
        let sender = tokio::spawn(send(writer, bytes, closes, rng));
        let (replies, is_closed) = receive(reader).await?;
        // Only after a malformed header may sending fail.
        drop(sender.await.map_err(|error| format!("the client: {error}"))?);
        connection.await.map_err(|error| format!("the connection: {error}"))?;
        buses.await.map_err(|error| format!("the buses: {error}"))?;
        let log = log.lock().expect("nothing panicked");
        let valid = self.valid();
        let malformed_came =
            self.malformed.is_some_and(|before| before == valid.len()) && self.half_close.is_none();
        check((closes || malformed_came) == is_closed, || format!("closed by the gateway: {is_closed}"))?;
        self.all_answered(valid, &replies, &log)?;
        log.taken_in_order(valid)?;
        Ok(Seen { overtaken: log.overtaken(valid), from_snapshot: log.answered_from_snapshot(valid) })
    }

    fn client(&self, a: BusHandle, b: BusHandle) -> ClientContext {
        let settings = ListenerSettings {
            max_age: Duration::from_secs(2),
            writes: Writes::Allow,
            broadcast: self.broadcast,
            max_in_flight: self.max_in_flight,
            ..settings()
        };
        // Clients know the units of the second bus under other identifiers than those on its line.
        let aliases = |from: u8| (1..=3).map(|unit| (from + unit, unit_id(unit))).collect();
        let routes = Routes::new(vec![(a, aliases(0)), (b, aliases(ALIAS_OFFSET))]);
        let state =
            ListenerState { diagnostics_unit: Some(DIAGNOSTICS), ..ListenerState::new(settings, routes) };
        ClientContext {
            link: Arc::new(Link {
                identity: None,
                client: SocketAddr::from(([127, 0, 0, 1], 40000)).into(),
                listener: SocketAddr::from(([127, 0, 0, 1], 502)).into(),
                framing: AduFraming::Tcp,
                connection: 1,
            }),
            listener: Arc::new(ArcSwap::from_pointee(state)),
            idle: Arc::new(IdleTracker::new(Instant::now(), Instant::now(), CancellationToken::new())),
            log_limiter: Arc::default(),
        }
    }

    /// Of each transaction identifier, the replies are those to its requests, in their order.
    fn all_answered(&self, valid: &[Asked], replies: &[Adu], log: &BusLog) -> Result<(), String> {
        let mut wanted: BTreeMap<u16, Vec<(u8, Reply)>> = BTreeMap::new();
        for (number, asked) in valid.iter().enumerate() {
            if let Some(reply) = self.reply(number, *asked, log)? {
                wanted.entry(asked.transaction_id).or_default().push((asked.unit, reply));
            }
        }
        let mut given: BTreeMap<u16, Vec<&Adu>> = BTreeMap::new();
        for reply in replies {
            given.entry(reply.transaction_id).or_default().push(reply);
        }
        for transaction_id in 0..=MOST_IDENTIFIERS {
            let wanted = wanted.remove(&transaction_id).unwrap_or_default();
            let given = given.remove(&transaction_id).unwrap_or_default();
            let fits =
                |((unit, reply), adu): (&(u8, Reply), &&Adu)| *unit == adu.unit && reply.fits(&adu.pdu);
            check(wanted.len() == given.len() && wanted.iter().zip(&given).all(fits), || {
                format!("identifier {transaction_id}: wanted {wanted:02X?}\ngiven {given:02X?}")
            })?;
        }
        check(given.is_empty(), || format!("answers without a request: {given:02X?}"))
    }

    /// The reply that the request must get; none to a silent broadcast.
    fn reply(&self, number: usize, asked: Asked, log: &BusLog) -> Result<Option<Reply>, String> {
        let key = u16::try_from(number).expect("few");
        let function = asked.pdu(number)[0];
        let exception =
            |code: ExceptionCode| Some(Reply::Exactly(Bytes::from(vec![function | 0x80, code.0])));
        let answers = log.answers.get(&key).map_or(&[][..], Vec::as_slice);
        let of_bus = || match answers {
            [(_, Answer::Reply(reply))] => Ok(Some(Reply::Exactly(reply.clone()))),
            [(_, Answer::NotSent(code) | Answer::NoAnswer(code) | Answer::Refused(code))] => {
                Ok(exception(*code))
            }
            _ => Err(format!("request {number} {asked:?} came to its bus so often: {answers:?}")),
        };
        Ok(match asked.kind {
            // Behind one that was answered at the last moment, there was no time left for it.
            Kind::KnownRead if answers.is_empty() => {
                Some(Reply::Known { number: key, may_be_refused: log.is_any_late })
            }
            Kind::Read | Kind::KnownRead | Kind::Write => of_bus()?,
            Kind::Unrouted => exception(ExceptionCode::GATEWAY_PATH_UNAVAILABLE),
            Kind::Diagnostics => Some(Reply::OfDiagnostics),
            Kind::Broadcast => match self.broadcast {
                Broadcast::Refuse => exception(ExceptionCode::GATEWAY_PATH_UNAVAILABLE),
                Broadcast::Silent => None,
                Broadcast::Acknowledge => match broadcast_failure(number, answers)? {
                    Some(code) => exception(code),
                    None => Some(Reply::Exactly(asked.pdu(number).into())),
                },
            },
        })
    }
}

/// The exception for a broadcast with these outcomes on the two buses.
fn broadcast_failure(number: usize, answers: &[(usize, Answer)]) -> Result<Option<ExceptionCode>, String> {
    let mut answers = answers.to_vec();
    answers.sort_by_key(|(bus, _)| *bus);
    let [(0, on_a), (1, on_b)] = &answers[..] else {
        return Err(format!("broadcast {number} came so often: {answers:?}"));
    };
    Ok(match (on_a, on_b) {
        (Answer::Sent, Answer::Sent) => None,
        // No bus sent it: the code of the first bus.
        (Answer::NotSent(code) | Answer::Refused(code), Answer::NotSent(_) | Answer::Refused(_)) => {
            Some(*code)
        }
        _ => Some(ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND),
    })
}

impl Asked {
    fn new(identifiers: u64, rare: u64, rng: &mut Rng) -> Self {
        let mut kind = rng.pick(&[Kind::Read, Kind::Read, Kind::Read, Kind::Write, Kind::KnownRead]);
        if rng.chance(rare) {
            kind = rng.pick(&[Kind::Broadcast, Kind::Broadcast, Kind::Unrouted, Kind::Diagnostics]);
        }
        let unit = match kind {
            Kind::Read | Kind::Write => rng.pick(&[1, 2, 3, ALIAS_OFFSET + 1, ALIAS_OFFSET + 2]),
            Kind::KnownRead => KNOWN_UNIT,
            Kind::Broadcast => 0,
            Kind::Unrouted => UNROUTED,
            Kind::Diagnostics => DIAGNOSTICS,
        };
        let transaction_id = u16::try_from(rng.range(1, identifiers)).expect("few");
        Self { transaction_id, unit, kind }
    }

    fn pdu(self, number: usize) -> Vec<u8> {
        let number = u16::try_from(number).expect("few");
        let [n1, n0] = number.to_be_bytes();
        match self.kind {
            Kind::Read | Kind::Unrouted => vec![0x03, n1, n0, 0, 2],
            Kind::KnownRead => {
                let [a1, a0] = (KNOWN + number).to_be_bytes();
                vec![0x03, a1, a0, 0, 2]
            }
            Kind::Write | Kind::Broadcast => vec![0x06, n1, n0, 0x12, 0x34],
            Kind::Diagnostics => vec![0x03, 0, 0, 0, 2],
        }
    }

    /// The buses it goes to: of a read of what the snapshot has, only if that is too old or a write comes first.
    fn goes_to(self, bus: usize) -> bool {
        match self.kind {
            Kind::Read | Kind::Write | Kind::KnownRead => usize::from(self.unit > ALIAS_OFFSET) == bus,
            Kind::Broadcast => true,
            Kind::Unrouted | Kind::Diagnostics => false,
        }
    }
}

#[derive(Debug)]
enum Reply {
    Exactly(Bytes),
    /// From the snapshot.
    Known {
        number: u16,
        may_be_refused: bool,
    },
    /// Whatever registers the diagnostics unit shows.
    OfDiagnostics,
}

impl Reply {
    fn fits(&self, pdu: &Bytes) -> bool {
        match self {
            Self::Exactly(reply) => reply == pdu,
            Self::Known { number, may_be_refused } => {
                let refusal = [0x83, ExceptionCode::SERVER_DEVICE_BUSY.0];
                *pdu == known_reply(*number) || *may_be_refused && pdu[..] == refusal
            }
            Self::OfDiagnostics => pdu.len() == 6 && pdu[..2] == [0x03, 4],
        }
    }
}

impl BusLog {
    /// Each bus got its requests, once and in order.
    fn taken_in_order(&self, valid: &[Asked]) -> Result<(), String> {
        for (bus, taken) in self.taken.iter().enumerate() {
            // What stands behind another read of its identifier is looked up when it is its turn, and sent then.
            let is_known = |number: &u16| {
                valid.get(usize::from(*number)).is_some_and(|asked| asked.kind == Kind::KnownRead)
            };
            let direct: Vec<u16> = taken.iter().copied().filter(|number| !is_known(number)).collect();
            check(direct.is_sorted_by(|one, next| one < next), || format!("bus {bus} was handed {taken:?}"))?;
            let strange = taken
                .iter()
                .find(|number| !valid.get(usize::from(**number)).is_some_and(|asked| asked.goes_to(bus)));
            check(strange.is_none(), || format!("bus {bus} was handed {strange:?}, which is not for it"))?;
        }
        Ok(())
    }

    fn answered_from_snapshot(&self, valid: &[Asked]) -> u64 {
        let known = (0..).zip(valid).filter(|(_, asked)| asked.kind == Kind::KnownRead);
        known.filter(|(number, _)| !self.answers.contains_key(number)).count() as u64
    }

    fn overtaken(&self, valid: &[Asked]) -> u64 {
        let same = |one: u16, other: u16| {
            valid[usize::from(one)].transaction_id == valid[usize::from(other)].transaction_id
        };
        let overtaking = |(place, number): (usize, &u16)| {
            self.answered[place..].iter().any(|later| later < number && same(*later, *number))
        };
        self.answered.iter().enumerate().filter(|answer| overtaking(*answer)).count() as u64
    }
}

/// A request that a bus holds, and when it answers it.
struct Held {
    due: Instant,
    bus: usize,
    request: Request<ReplySender>,
}

/// Both buses: they answer in any order, occasionally with a failure, and occasionally too late.
async fn serve([mut of_a, mut of_b]: [Requests; BUSES], log: Arc<Mutex<BusLog>>, mut rng: Rng) {
    let stuck = rng.pick(&[0, 0, 0, 30]);
    let failing = rng.pick(&[0, 100, 400]);
    let mut held: Vec<Held> = Vec::new();
    loop {
        let due = held.iter().map(|held| held.due).min();
        let (bus, request) = tokio::select! {
            biased;
            Some(request) = of_a.recv() => (0, request),
            Some(request) = of_b.recv() => (1, request),
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                let now = Instant::now();
                for held in held.extract_if(.., |held| held.due <= now) {
                    answer(held, failing, &log, &mut rng);
                }
                continue;
            }
            else => return,
        };
        log.lock().expect("nothing panicked").taken[bus].push(number_of(&request));
        // So that it is never in doubt which comes first, the answer or the deadline.
        let is_late_already =
            Instant::from_std(request.deadline) < Instant::now() + Duration::from_millis(500);
        let due = if rng.chance(stuck) || is_late_already {
            Instant::from_std(request.deadline) + Duration::from_millis(rng.range(100, 1000))
        } else {
            Instant::now() + Duration::from_millis(rng.pick(&[0, 1, 5, 30, 200]))
        };
        held.push(Held { due, bus, request });
    }
}

fn answer(Held { bus, request, .. }: Held, failing: u64, log: &Mutex<BusLog>, rng: &mut Rng) {
    let number = number_of(&request);
    // The connection has answered in place of the bus, and a later answer is dropped.
    let is_late = Instant::now() >= Instant::from_std(request.deadline) + DEADLINE_MARGIN - BACKSTOP_MARGIN;
    let code =
        rng.pick(&[ExceptionCode::SERVER_DEVICE_BUSY, ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND]);
    let good = good_answer(bus, &request);
    let given = match rng.below(5) {
        _ if !rng.chance(failing) => Some(good),
        0 => Some(Answer::NotSent(code)),
        1 => Some(Answer::NoAnswer(code)),
        2 => Some(Answer::Refused(code)),
        3 if request.target != Target::Broadcast => {
            Some(Answer::Reply(Bytes::from(vec![request.pdu.function().0 | 0x80, 4])))
        }
        // The task of the bus has panicked.
        _ => None,
    };
    let counts = match &given {
        _ if is_late => Answer::NoAnswer(ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND),
        Some(answer) => answer.clone(),
        None => Answer::NoAnswer(ExceptionCode::GATEWAY_PATH_UNAVAILABLE),
    };
    let mut log = log.lock().expect("nothing panicked");
    log.answers.entry(number).or_default().push((bus, counts));
    if is_late {
        log.is_any_late = true;
    } else {
        log.answered.push(number);
    }
    match given {
        Some(answer) => request.to.send(answer),
        None => drop(request),
    }
}

/// The answer of the unit on its line: it identifies bus, unit and number.
fn good_answer(bus: usize, request: &Request<ReplySender>) -> Answer {
    let Target::Unit(unit) = request.target else { return Answer::Sent };
    if !request.pdu.is_read() {
        return Answer::Reply(request.pdu.bytes().clone());
    }
    let bus = u8::try_from(bus).expect("few");
    Answer::Reply([&[0x03, 4, bus, unit.get()][..], &request.pdu.data()[..2]].concat().into())
}

fn number_of(request: &Request<ReplySender>) -> u16 {
    let address = u16::from_be_bytes([request.pdu.data()[0], request.pdu.data()[1]]);
    address.checked_sub(KNOWN).unwrap_or(address)
}

/// Sends the bytes in pieces of any length, with and without pauses. Returns what keeps the connection open.
async fn send(
    mut writer: WriteHalf<DuplexStream>,
    bytes: Vec<u8>,
    closes: bool,
    mut rng: Rng,
) -> WriteHalf<DuplexStream> {
    let longest = rng.pick(&[1, 8, 40, 600]);
    let paused = rng.pick(&[0, 100, 500]);
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let length = index(rng.range(1, longest)).min(rest.len());
        let (piece, behind) = rest.split_at(length);
        if writer.write_all(piece).await.is_err() {
            return writer;
        }
        rest = behind;
        if rng.chance(paused) {
            sleep(Duration::from_millis(rng.below(4))).await;
        }
    }
    if closes {
        writer.shutdown().await.ok();
    }
    writer
}

/// All replies until the gateway closes the connection or nothing comes any more, and whether it closed it.
async fn receive(mut reader: ReadHalf<DuplexStream>) -> Result<(Vec<Adu>, bool), String> {
    let mut input = BytesMut::new();
    let is_closed = loop {
        match timeout(SILENCE, reader.read_buf(&mut input)).await {
            Err(_) => break false,
            Ok(Ok(0) | Err(_)) => break true,
            Ok(Ok(_)) => {}
        }
    };
    let mut replies = Vec::new();
    while let Some(adu) = mbap::decode(&mut input).map_err(|error| error.to_string())? {
        replies.push(adu);
    }
    check(input.is_empty(), || format!("half a reply: {input:02X?}"))?;
    Ok((replies, is_closed))
}

/// What a bus publishes whose first unit was read a moment ago.
fn view_with_block() -> View {
    let range = ReadRange { function: FunctionCode(3), start: KNOWN, quantity: KNOWN_QUANTITY };
    let words = (KNOWN..KNOWN + KNOWN_QUANTITY).flat_map(|address| known_value(address).to_be_bytes());
    let count = u8::try_from(KNOWN_QUANTITY * 2).expect("at most 250");
    let reply: Vec<u8> = [0x03, count].into_iter().chain(words).collect();
    let block = Block::new(range, reply.into(), clock::at(Instant::now()), 1);
    let unit = UnitView {
        snapshot: Arc::new(Snapshot::default().with(block)),
        ..UnitView::new(&UnitSettings::new(unit_id(KNOWN_UNIT), Duration::from_millis(500)))
    };
    View { units: vec![Arc::new(unit)], ..View::default() }
}

/// The reply from that block.
fn known_reply(number: u16) -> Bytes {
    let address = KNOWN + number;
    let words = [known_value(address), known_value(address + 1)].map(u16::to_be_bytes).concat();
    [&[0x03, 4][..], &words].concat().into()
}

/// Unlike what any bus answers here.
fn known_value(address: u16) -> u16 {
    0x8000 | address
}

fn unit_id(unit: u8) -> UnitId {
    UnitId::new(unit).expect("a unit identifier")
}

fn index(value: u64) -> usize {
    usize::try_from(value).expect("small")
}

fn check(holds: bool, fault: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(fault()) }
}

/// How many seeds run.
const SEEDS: u64 = 2_000;

const BUSES: usize = 2;

/// Most transaction identifiers of a client; malformed headers have the last.
const MOST_IDENTIFIERS: u16 = 5;

/// Protocol identifier 1; lengths of 0, 1 and 255.
const MALFORMED: [[u8; 8]; 4] = [
    [0, 5, 0, 1, 0, 2, 1, 7],
    [0, 5, 0, 0, 0, 0, 1, 7],
    [0, 5, 0, 0, 0, 1, 1, 7],
    [0, 5, 0, 0, 0, 255, 1, 7],
];

/// What clients add to the identifiers that units of the second bus have on its line.
const ALIAS_OFFSET: u8 = 10;

const UNROUTED: u8 = 9;
const DIAGNOSTICS: u8 = 200;

/// The unit whose registers from here on the snapshot has.
const KNOWN_UNIT: u8 = 1;
const KNOWN: u16 = 1000;
const KNOWN_QUANTITY: u16 = 64;

/// Longer than anything takes, late answers included.
const SILENCE: Duration = Duration::from_secs(60);
