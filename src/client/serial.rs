//! Requests directly on a serial line, at a device or behind a serial server, through the same state machine that drives the gateway's buses.
//!
//! Owns one bus task with a line of its own, so that silence, echo, checksums, late answers and retries are handled as
//! in the gateway. The port is held exclusively until [`SerialClient::close`]. It has no background reading. Source:
//! MODBUS over Serial Line Specification and Implementation Guide V1.02.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::failure::Failure;
use crate::line::{
    Answer, BusId, Echo, LineSettings, ListenerId, OfflineAfter, PortState, Request, Source, Target, UnitId,
    UnitSettings,
};
use crate::modbus::pdu::{ExceptionCode, RequestPdu};
use crate::runtime::Timer;
use crate::serial::{
    Acceptance, BusHandle, BusParts, Network, OpenError, PortSettings, ReplyChannel, ReplyReceiver,
    ReplySender, bus_task, port,
};

/// The settings of a serial client.
#[derive(Clone, Debug)]
pub struct SerialSettings {
    /// The port and its framing.
    pub port: PortSettings,
    /// The units that may be addressed, in order of identifier, each once.
    pub units: Vec<UnitId>,
    /// From the end of a request to the first byte of its answer; also how long a late answer is awaited.
    pub response_timeout: Duration,
    /// Retries of a read that was not answered.
    pub retries: u32,
}

/// The counters of one unit since the port was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Frames beyond one per request: an answer to a request given up is not counted.
    pub surplus: u64,
    /// Answers that came after their timeout.
    pub late: u64,
    /// Intact answers that do not fit their request.
    pub misfits: u64,
    /// Answers that broke off.
    pub truncated: u64,
    /// Smoothed time from the end of a request to the first byte of its answer.
    pub answers_in: Option<Duration>,
}

/// A client of the units of one line.
#[derive(Debug)]
pub struct SerialClient {
    handle: BusHandle,
    reply_channel: Arc<ReplyChannel>,
    answers: ReplyReceiver,
    next_key: u64,
    patience: Duration,
    task: JoinHandle<()>,
}

impl SerialClient {
    /// Opens the port or connects to the serial server. Nothing is sent until a late answer to an earlier user of the port would have arrived.
    ///
    /// # Errors
    /// If the port cannot be opened, or another program has it open.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn open(settings: SerialSettings) -> Result<Self, OpenError> {
        let SerialSettings { port, units, response_timeout, retries } = settings;
        // Here rather than in the task, so that the caller gets the reason if it fails.
        let opened =
            Some(port::open(port.clone(), response_timeout, Network::default(), Acceptance::Awaited).await?);
        let (handle, requests) = BusHandle::new(BusId::default(), "line");
        let line = line(&port, &units, response_timeout, retries);
        let parts = BusParts::alone(line, port.device.clone(), requests, handle.view().clone());
        let open = port::opener(port, response_timeout, opened);
        let task = tokio::spawn(bus_task::run(parts, open, Timer::fine()));
        let (reply_channel, answers) = ReplyChannel::new();
        let attempts = retries.saturating_add(1);
        // Each attempt: the wait for its answer, and for the late answer it is owed.
        let patience = (response_timeout * 2 + MARGIN) * attempts + response_timeout + MARGIN;
        Ok(Self { handle, reply_channel, answers, next_key: 0, patience, task })
    }

    /// The reply PDU to a request, an exception of the unit included.
    pub(super) async fn call(&mut self, unit: u8, pdu: &RequestPdu) -> Result<Bytes, Failure> {
        let Some(unit) = UnitId::new(unit) else {
            let why = format!("a line has units 1 to 255, so {unit} is none of them");
            return Err(Failure::Unreachable(why));
        };
        let garbled = self.garbled(unit);
        self.next_key += 1;
        let key = self.next_key;
        let request = Request {
            to: ReplySender::new(&self.reply_channel, key),
            source: Source { address: IpAddr::V4(Ipv4Addr::LOCALHOST).into(), connection: 0 },
            target: Target::Unit(unit),
            pdu: pdu.clone(),
            deadline: Instant::now() + self.patience,
            max_age: Duration::ZERO,
            listener: ListenerId::default(),
        };
        let ended = || Failure::Unreachable("the task of the line has ended".to_owned());
        self.handle.send(request).await.map_err(|_| ended())?;
        let answer = tokio::select! {
            answer = answer_to(&mut self.answers, key) => answer,
            _ = &mut self.task => return Err(ended()),
        };
        match answer {
            Answer::Reply(reply) | Answer::Unreached(reply) => Ok(reply),
            Answer::Sent => Err(Failure::Silent),
            Answer::NotSent(code) | Answer::NoAnswer(code) | Answer::Refused(code) => {
                Err(self.failure(unit, code, garbled))
            }
        }
    }

    /// The counters of a unit so far.
    #[must_use]
    pub fn heard(&self, unit: UnitId) -> Heard {
        let view = self.handle.view().load();
        view.unit(unit).map_or_else(Heard::default, |unit| Heard {
            surplus: unit.counters.unexpected.saturating_sub(unit.counters.timeouts),
            late: unit.counters.late_answers,
            misfits: unit.statistics.misfits,
            truncated: unit.statistics.truncated,
            answers_in: unit.response_time,
        })
    }

    /// Ends the task and frees the port.
    pub async fn close(self) {
        let Self { handle, reply_channel, answers, task, .. } = self;
        // Without a sender the task ends.
        drop((handle, reply_channel, answers));
        let _ended_either_way = task.await;
    }

    /// The meaning of the line's own exceptions if there is no gateway in between.
    fn failure(&self, unit: UnitId, code: ExceptionCode, garbled_before: u64) -> Failure {
        let view = self.handle.view().load();
        match (code, view.port) {
            (ExceptionCode::GATEWAY_PATH_UNAVAILABLE, PortState::Occupied) => {
                Failure::Unreachable("something on the line never stops sending".to_owned())
            }
            (ExceptionCode::GATEWAY_PATH_UNAVAILABLE, PortState::Closed | PortState::Open) => {
                Failure::Unreachable("the port is gone".to_owned())
            }
            (ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND, _) if self.garbled(unit) > garbled_before => {
                Failure::Garbled
            }
            (ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND | ExceptionCode::SERVER_DEVICE_BUSY, _) => {
                Failure::Silent
            }
            (code, _) => Failure::Exception(code),
        }
    }

    /// Damage so far: frames of the unit with a wrong checksum, and bytes that were part of no frame.
    fn garbled(&self, unit: UnitId) -> u64 {
        let view = self.handle.view().load();
        view.counters.noise_bytes + view.unit(unit).map_or(0, |unit| unit.counters.crc_errors)
    }
}

/// The answer with this key; answers to requests given up are discarded.
async fn answer_to(answers: &mut ReplyReceiver, key: u64) -> Answer {
    loop {
        let (found, answer) = answers.next().await;
        if found == key {
            return answer;
        }
    }
}

/// A line without background reading that marks no unit off-line.
fn line(port: &PortSettings, units: &[UnitId], response_timeout: Duration, retries: u32) -> LineSettings {
    let byte_timeout = port.device.byte_timeout();
    let unit = |id: &UnitId| UnitSettings { byte_timeout, ..UnitSettings::new(*id, response_timeout) };
    LineSettings {
        name: "line".to_owned(),
        protocol: port.device.protocol(port.framing),
        response_timeout,
        request_gap: Duration::ZERO,
        turnaround_delay: TURNAROUND_DELAY,
        late_guard: response_timeout,
        retries,
        queue_limit: 1,
        poll_share: 0.0,
        learn_limit: 0,
        failure_share: 0.0,
        offline_after: OfflineAfter { failures: u32::MAX, time: PROBE_MAX },
        probe_max: PROBE_MAX,
        echo: Echo::Auto,
        units: units.iter().map(unit).collect(),
    }
}

/// Extra time of an attempt beyond its waits: two frames take 17 s at 300 baud, a quarter of a second at 19200.
const MARGIN: Duration = Duration::from_secs(20);

/// After a broadcast; none is sent here.
const TURNAROUND_DELAY: Duration = Duration::from_millis(100);

/// Between probes of an off-line unit; here no unit is marked off-line.
const PROBE_MAX: Duration = Duration::from_secs(60);
