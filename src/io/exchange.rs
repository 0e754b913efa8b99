//! The requests one client has in flight: from the whole ADU until the kernel took the last byte of its reply.
//!
//! Owns their count, which bounds all memory a client can claim, the delay of refusals, and the fuse that
//! answers in place of a bus that does not. It never reads a socket or a clock; `now` is an argument.
//! Source: MODBUS Messaging on TCP/IP Implementation Guide V1.0b, chapter 4.4.2.3 (responses).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::time::Instant;
use tracing::{debug, trace, warn};

use super::audit::{Outcome, PendingWrite};
use super::routes::BROADCAST_UNIT;
use super::tally::Connected;
use super::traffic::{Link, Said, Served, Speaker, Traffic};
use crate::bus::request::Answer;
use crate::modbus::mbap::Adu;
use crate::modbus::pdu::{EXCEPTION_BIT, ExceptionCode, FunctionCode, exception_reply};

/// All a client has in flight.
#[derive(Debug)]
pub(crate) struct Exchange {
    counted: Arc<Connected>,
    traffic: Arc<Traffic>,
    link: Arc<Link>,
    /// In the order of their keys. Few, mostly one, and a list of few takes far less room than a map.
    waiting: VecDeque<(u64, Waiting)>,
    next_key: u64,
    /// The delay is the same for all, so the first in is the first due.
    delayed: VecDeque<(Instant, Option<Reply>)>,
    output: BytesMut,
    /// For each reply in `output`: its bytes still there, and since when it has been there.
    unsent: VecDeque<(usize, Instant)>,
}

/// The request's side of its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    /// Chosen by the client.
    pub(crate) transaction_id: u16,
    /// As the client addressed it.
    pub(crate) unit: u8,
    /// As the client sent it, 0 and 0x80 to 0xFF included.
    pub(crate) function: FunctionCode,
}

/// What the client is told when no bus failed.
#[derive(Debug)]
pub(crate) enum Purpose {
    /// What the unit says.
    Unit(Option<Bytes>),
    /// Nothing.
    SilentBroadcast,
    /// This, on the gateway's own account.
    AcknowledgedBroadcast(Bytes),
}

#[derive(Debug)]
struct Waiting {
    header: Header,
    purpose: Purpose,
    buses_left: usize,
    failure: Option<Failure>,
    fuse: Instant,
    asked: Asked,
    write: Option<PendingWrite>,
}

/// Why there is no answer of the unit. The first one counts where several buses were asked.
#[derive(Clone, Copy, Debug)]
enum Failure {
    /// It was tried.
    NoAnswer(ExceptionCode),
    /// It waited for its turn and was never sent.
    NotSent(ExceptionCode),
    /// It cost nothing.
    Refused(ExceptionCode),
}

/// What was asked, and when.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) pdu: Bytes,
    pub(crate) at: Instant,
}

/// A reply and its grounds.
#[derive(Debug)]
struct Reply {
    adu: Adu,
    served: Served,
    asked: Asked,
}

impl Header {
    /// The header of a request whose PDU has at least a function code, as every decoded ADU has.
    pub(crate) fn of(adu: &Adu) -> Self {
        let function = FunctionCode(adu.pdu.first().copied().unwrap_or_default());
        Self { transaction_id: adu.transaction_id, unit: adu.unit, function }
    }

    fn reply(self, pdu: Bytes) -> Adu {
        Adu { transaction_id: self.transaction_id, unit: self.unit, pdu }
    }
}

impl Exchange {
    /// Nothing in flight yet; answers are counted in `counted`, what is said on `link` is told to `traffic`.
    pub(crate) fn new(counted: Arc<Connected>, traffic: Arc<Traffic>, link: Arc<Link>) -> Self {
        Self {
            counted,
            traffic,
            link,
            waiting: VecDeque::new(),
            next_key: 0,
            delayed: VecDeque::new(),
            output: BytesMut::new(),
            unsent: VecDeque::new(),
        }
    }

    /// Requests in flight, those included whose reply the kernel has not taken yet.
    pub(crate) fn in_flight(&self) -> usize {
        self.waiting.len() + self.delayed.len() + self.unsent.len()
    }

    /// Whether a bus still has to answer.
    pub(crate) fn waits_for_answers(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether a write to the unit with this identifier, or to all units, has not been answered yet.
    pub(crate) fn writes_to(&self, unit: u8) -> bool {
        let mut writes = self.waiting.iter().filter(|(_, waiting)| waiting.write.is_some());
        writes.any(|(_, waiting)| waiting.header.unit == unit || waiting.header.unit == BROADCAST_UNIT)
    }

    /// Opens a request that `buses` buses answer, each once, and gives its key. If they have not by
    /// `deadline` after it was asked and [`FUSE`], the client is told 0x0B without them.
    ///
    /// A write is recorded with what became of it.
    pub(crate) fn open(
        &mut self,
        header: Header,
        purpose: Purpose,
        buses: usize,
        deadline: Duration,
        asked: Asked,
        write: Option<PendingWrite>,
    ) -> u64 {
        self.tell_asked(header, &asked);
        let key = self.next_key;
        self.next_key += 1;
        let fuse = asked.at + deadline + FUSE;
        let waiting = Waiting { header, purpose, buses_left: buses, failure: None, fuse, asked, write };
        if self.waiting.capacity() == 0 {
            // Most clients never have a second one in flight.
            self.waiting.reserve_exact(1);
        }
        self.waiting.push_back((key, waiting));
        key
    }

    /// Refuses a request that no bus has seen.
    pub(crate) fn refuse(&mut self, header: Header, code: ExceptionCode, asked: Asked) {
        self.tell_asked(header, &asked);
        let due = asked.at + REFUSAL_DELAY;
        let adu = header.reply(exception_reply(header.function, code));
        self.delayed.push_back((due, Some(Reply { adu, served: Served::Refused, asked })));
    }

    /// Answers a request at once, without any bus.
    pub(crate) fn reply(&mut self, header: Header, pdu: Bytes, served: Served, asked: &Bytes, now: Instant) {
        let adu = header.reply(pdu);
        if self.traffic.permits_passing(now.into_std()) {
            let (at, asked) = (now.into_std(), asked.clone());
            let Header { transaction_id, unit, .. } = header;
            let request = Adu { transaction_id, unit, pdu: asked.clone() };
            self.traffic.note_passing(Said {
                link: Arc::clone(&self.link),
                speaker: Speaker::Client,
                adu: request,
                at,
            });
            let speaker = Speaker::Gateway { served, asked, since: at };
            self.traffic.note_passing(Said { link: Arc::clone(&self.link), speaker, adu: adu.clone(), at });
        }
        self.queue(&adu, now);
    }

    /// Takes the answer of one bus.
    pub(crate) fn handle_answer(&mut self, key: u64, answer: Answer, now: Instant) {
        let Ok(index) = self.waiting.binary_search_by_key(&key, |(key, _)| *key) else {
            debug!("an answer came after its request was given up; dropped");
            return;
        };
        let (_, waiting) = &mut self.waiting[index];
        match answer {
            Answer::Reply(pdu) => {
                if let Purpose::Unit(reply) = &mut waiting.purpose {
                    *reply = Some(pdu);
                }
            }
            Answer::Sent => {}
            Answer::NoAnswer(code) => {
                waiting.failure.get_or_insert(Failure::NoAnswer(code));
            }
            Answer::NotSent(code) => {
                waiting.failure.get_or_insert(Failure::NotSent(code));
            }
            Answer::Refused(code) => {
                waiting.failure.get_or_insert(Failure::Refused(code));
            }
        }
        waiting.buses_left = waiting.buses_left.saturating_sub(1);
        if waiting.buses_left == 0
            && let Some((_, waiting)) = self.waiting.remove(index)
        {
            self.finish(waiting, now);
        }
    }

    /// Does what has become due: delayed refusals, and fuses. Gives the keys of requests answered by a fuse.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Vec<u64> {
        while let Some((_, reply)) = self.delayed.pop_front_if(|(due, _)| *due <= now) {
            if let Some(reply) = reply {
                self.give(reply, now);
            }
        }
        give_back(&mut self.delayed);
        let mut blown = Vec::new();
        while let Some((key, mut waiting)) = self.waiting.pop_front_if(|(_, waiting)| waiting.fuse <= now) {
            let Header { unit, function, .. } = waiting.header;
            warn!(unit, %function, "the bus did not answer by the deadline; answering 0x0B in its place");
            waiting.failure = Some(Failure::NoAnswer(ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND));
            self.finish(waiting, now);
            blown.push(key);
        }
        blown
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    ///
    /// The oldest request's fuse stands for all. Only after a reload that shortened the deadline may a later
    /// one be due before it, and it then blows together with the oldest.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let refusal = self.delayed.front().map(|(due, _)| *due);
        let fuse = self.waiting.front().map(|(_, waiting)| waiting.fuse);
        refusal.into_iter().chain(fuse).min()
    }

    /// Since when the oldest reply has been waiting for the client to make room.
    pub(crate) fn unsent_since(&self) -> Option<Instant> {
        self.unsent.front().map(|(_, since)| *since)
    }

    /// The bytes of replies not sent yet.
    pub(crate) fn output(&self) -> &[u8] {
        &self.output
    }

    /// The kernel took `count` bytes off the front of the output, at most all of it.
    pub(crate) fn handle_written(&mut self, mut count: usize) {
        self.output.advance(count);
        while let Some((length, _)) = self.unsent.front_mut() {
            let taken = count.min(*length);
            *length -= taken;
            count -= taken;
            if *length > 0 {
                break;
            }
            self.unsent.pop_front();
        }
        give_back(&mut self.unsent);
        if !self.output.has_remaining() && self.output.capacity() > IDLE_CAPACITY {
            self.output = BytesMut::new();
        }
    }

    /// Says what there is to say of a request that every bus has answered.
    fn finish(&mut self, waiting: Waiting, now: Instant) {
        let Waiting { header, purpose, failure, asked, write, .. } = waiting;
        self.counted.note_answer(now.saturating_duration_since(asked.at));
        record(header, failure, &purpose, write);
        give_back(&mut self.waiting);
        let unit_failed = Answer::NoAnswer(ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND);
        let silent = matches!(purpose, Purpose::SilentBroadcast);
        let served = match purpose {
            Purpose::Unit(_) => Served::Unit,
            Purpose::SilentBroadcast | Purpose::AcknowledgedBroadcast(_) => Served::Acknowledged,
        };
        let answer = match (failure, purpose) {
            (Some(Failure::NoAnswer(code)), _) => Answer::NoAnswer(code),
            (Some(Failure::NotSent(code)), _) => Answer::NotSent(code),
            (Some(Failure::Refused(code)), _) => Answer::Refused(code),
            (None, Purpose::Unit(reply)) => reply.map_or(unit_failed, Answer::Reply),
            (None, Purpose::SilentBroadcast) => Answer::Sent,
            (None, Purpose::AcknowledgedBroadcast(acknowledgement)) => Answer::Reply(acknowledgement),
        };
        let exception = |code, asked| {
            let adu = header.reply(exception_reply(header.function, code));
            (!silent).then_some(Reply { adu, served: Served::Refused, asked })
        };
        let reply = match answer {
            // A silent one that cost nothing keeps its place just as long: looping on it burns nothing either.
            Answer::Refused(code) => {
                return self.delayed.push_back((now + REFUSAL_DELAY, exception(code, asked)));
            }
            Answer::NoAnswer(code) | Answer::NotSent(code) => exception(code, asked),
            Answer::Reply(pdu) => Some(Reply { adu: header.reply(pdu), served, asked }),
            Answer::Sent => None,
        };
        if let Some(reply) = reply {
            self.give(reply, now);
        }
    }

    /// A client's request that goes to a line, or is refused.
    fn tell_asked(&self, header: Header, asked: &Asked) {
        let Header { transaction_id, unit, .. } = header;
        self.tell(Speaker::Client, &Adu { transaction_id, unit, pdu: asked.pdu.clone() }, asked.at);
    }

    fn tell(&self, speaker: Speaker, adu: &Adu, at: Instant) {
        self.traffic.note_said(Said {
            link: Arc::clone(&self.link),
            speaker,
            adu: adu.clone(),
            at: at.into_std(),
        });
    }

    fn give(&mut self, reply: Reply, now: Instant) {
        let Reply { adu, served, asked } = reply;
        self.tell(Speaker::Gateway { served, asked: asked.pdu, since: asked.at.into_std() }, &adu, now);
        self.queue(&adu, now);
    }

    fn queue(&mut self, reply: &Adu, now: Instant) {
        if let [function, code, ..] = reply.pdu[..]
            && function & EXCEPTION_BIT != 0
        {
            self.counted.note_exception(ExceptionCode(code));
        }
        let before = self.output.len();
        if before > 0 && self.output.capacity() < BATCH_CAPACITY {
            // The client asks for several at once: room for them all rather than for one more each time.
            self.output.reserve(BATCH_CAPACITY - before);
        }
        reply.encode(&mut self.output);
        self.unsent.push_back((self.output.len() - before, now));
        trace!(unit = reply.unit, transaction = reply.transaction_id, length = reply.pdu.len(), "reply");
    }
}

/// Every write is recorded with its outcome; of everything else the log has only what the gateway itself answered.
fn record(header: Header, failure: Option<Failure>, purpose: &Purpose, write: Option<PendingWrite>) {
    let outcome = match (failure, purpose) {
        (Some(Failure::NoAnswer(code)), _) => Outcome::NoAnswer(code),
        (Some(Failure::NotSent(code) | Failure::Refused(code)), _) => Outcome::Refused(code),
        (None, Purpose::Unit(Some(reply))) => match reply[..] {
            [code, exception] if code & EXCEPTION_BIT != 0 => {
                Outcome::RefusedByUnit(ExceptionCode(exception))
            }
            _ => Outcome::Done,
        },
        (None, Purpose::Unit(None)) => Outcome::NoAnswer(ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND),
        (None, Purpose::SilentBroadcast | Purpose::AcknowledgedBroadcast(_)) => Outcome::Broadcast,
    };
    match write {
        Some(ticket) => ticket.finish(outcome, false),
        None if failure.is_some() => {
            let Header { unit, function, .. } = header;
            debug!(unit, %function, "{outcome}");
        }
        None => {}
    }
}

/// Gives back the room that a burst took: with hundreds of connections it counts, and bursts are rare.
fn give_back<T>(list: &mut VecDeque<T>) {
    if list.is_empty() && list.capacity() > IDLE_ENTRIES {
        *list = VecDeque::new();
    }
}

/// How long a refusal that cost nothing is held back, so that a client looping on it burns nothing.
pub const REFUSAL_DELAY: Duration = Duration::from_millis(10);

/// How long after its deadline a request is still waited for. A bus answers before; this is for its failing.
pub const FUSE: Duration = Duration::from_secs(1);

/// Room for replies that go together, bytes: sixteen of the 60 registers that a client typically reads.
const BATCH_CAPACITY: usize = 16 * (7 + 2 + 120);

/// An output buffer larger than this is given back once it is empty, bytes.
const IDLE_CAPACITY: usize = 512;

/// A list with room for more entries is given back once it is empty.
const IDLE_ENTRIES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_room_of_a_burst_is_given_back_and_that_of_few_is_kept() {
        let mut list: VecDeque<u8> = (0..16).collect();
        list.pop_front();
        give_back(&mut list);
        assert_eq!(list.len(), 15, "it still holds something");
        list.clear();
        give_back(&mut list);
        assert_eq!(list.capacity(), 0);
        let mut list = VecDeque::with_capacity(IDLE_ENTRIES);
        list.push_back(1);
        list.clear();
        give_back(&mut list);
        assert_eq!(list.capacity(), IDLE_ENTRIES);
    }
}
