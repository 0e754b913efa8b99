//! One Modbus TCP client: bytes in, requests to the buses, replies out in whatever order they come.
//!
//! Owns the connection's task: framing, limits, timers, and its end. It decides nothing about the line and
//! spawns nothing: requests wait as entries of a table, not as tasks.
//! Source: MODBUS Messaging on TCP/IP Implementation Guide V1.0b, chapters 3.1 and 4.4.

use std::collections::VecDeque;
use std::future::{Future, pending, poll_fn, ready};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::WaitForCancellationFuture;
use tracing::{debug, info};

use super::admission::IdleTracker;
use super::exchange::Exchange;
pub use super::exchange::{FUSE, REFUSAL_DELAY};
use super::handle::{BusHandle, ReplyChannel, ReplyReceiver, ReplySender};
use super::log_rate_limiter::LogRateLimiter;
pub use super::requests::DEADLINE_MARGIN;
use super::routes::ListenerState;
use super::tally::Connected;
use super::traffic::Link;
use crate::bus::request::{Answer, Request};
use crate::modbus::mbap::{self, ADU_MAX};
use crate::modbus::pdu::ExceptionCode;

/// What a connection knows of its client and its listener.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its two ends.
    pub link: Arc<Link>,
    /// What the listener obeys at the moment.
    pub listening: Arc<ArcSwap<ListenerState>>,
    /// How the listener sees the connection, and tells it to close.
    pub presence: Arc<IdleTracker>,
    /// Shared by the connections of a listener, for lines that any stranger can cause.
    pub log_limiter: Arc<LogRateLimiter>,
}

/// Serves one client until it leaves, breaks the framing, stays idle or does not read, or has to close. What
/// is in flight then is still answered, unless the client is gone or does not read.
pub async fn run<R, W>(reader: R, writer: W, client: Client)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let presence = Arc::clone(&client.presence);
    let mut connection = Connection::new(reader, writer, client);
    let mut now = Instant::now();
    // Both live as long as the connection: to register them anew for each request costs more than a reply does.
    let (closing, alarm) = (presence.closing().cancelled(), sleep_until(connection.poll_timeout()));
    tokio::pin!(closing, alarm);
    debug!("connected");
    loop {
        connection.take_requests(now);
        // What is written makes room for requests that are here already.
        while connection.write_at_once(now).await {
            connection.take_requests(now);
        }
        connection.show_presence(now);
        match connection.phase {
            Phase::Open => {}
            Phase::Draining if connection.exchange.in_flight() > 0 => {}
            Phase::Draining => break connection.close().await,
            Phase::Gone => break,
        }
        let event = connection.next_event(closing.as_mut(), alarm.as_mut()).await;
        now = Instant::now();
        connection.handle_event(event, now);
    }
    debug!("closed");
}

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Requests are read.
    Open,
    /// What is in flight is answered, nothing more is read.
    Draining,
    /// Nobody is left to answer.
    Gone,
}

/// What can wake a connection.
#[derive(Debug)]
enum Event {
    Close,
    Written(io::Result<usize>),
    Answered(u64, Answer),
    HandedOver(bool),
    Timeout,
    Read(io::Result<usize>),
}

/// A request on its way to a bus whose queue has no room at the moment.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) key: u64,
    pub(super) bus: BusHandle,
    pub(super) request: Request<ReplySender>,
}

pub(super) struct Connection<R, W> {
    reader: R,
    writer: W,
    pub(super) client: Client,
    phase: Phase,
    /// Less than one ADU before each read, so it stays within its first capacity.
    input: BytesMut,
    pub(super) exchange: Exchange,
    pub(super) counted: Arc<Connected>,
    /// Not more than is in flight, times the buses for broadcasts.
    pub(super) outgoing: VecDeque<Outgoing>,
    pub(super) back: Arc<ReplyChannel>,
    answers: ReplyReceiver,
    /// `None` while anything is in flight.
    pub(super) idle_since: Option<Instant>,
    /// Since when an ADU is incomplete.
    partial_since: Option<Instant>,
    pub(super) hinted: bool,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Connection<R, W> {
    fn new(reader: R, writer: W, client: Client) -> Self {
        let (back, answers) = ReplyChannel::new();
        let listening = client.listening.load();
        let (tally, traffic) = (Arc::clone(&listening.tally), Arc::clone(&listening.traffic));
        drop(listening);
        let link = Arc::clone(&client.link);
        let counted = Arc::new(tally.connected(link.client, Instant::now().into_std()));
        Self {
            reader,
            writer,
            client,
            phase: Phase::Open,
            input: BytesMut::with_capacity(READ_BUFFER),
            exchange: Exchange::new(Arc::clone(&counted), traffic, link),
            counted,
            outgoing: VecDeque::new(),
            back,
            answers,
            idle_since: None,
            partial_since: None,
            hinted: false,
        }
    }

    /// Waits for the next thing to do. What ends work comes before what makes work.
    async fn next_event(
        &mut self,
        closing: Pin<&mut WaitForCancellationFuture<'_>>,
        mut alarm: Pin<&mut Sleep>,
    ) -> Event {
        let due = self.poll_timeout();
        // One that goes off too early only costs a look, and most of what it is set for never falls due.
        if alarm.is_elapsed() || due < alarm.deadline() {
            alarm.as_mut().reset(due);
        }
        let open = self.phase == Phase::Open;
        let may_read = open && self.has_room();
        if may_read {
            // Moves what is there to the front rather than growing: the rest is less than one ADU.
            self.input.reserve(ADU_MAX.saturating_sub(self.input.len()));
        }
        let waits = self.exchange.waits_for_answers();
        let output = self.exchange.output();
        tokio::select! {
            biased;
            () = closing, if open => Event::Close,
            written = self.writer.write(output), if !output.is_empty() => Event::Written(written),
            (key, answer) = self.answers.next(), if waits => Event::Answered(key, answer),
            () = alarm => Event::Timeout,
            taken = hand_over(&self.outgoing), if !self.outgoing.is_empty() => Event::HandedOver(taken),
            read = self.reader.read_buf(&mut self.input), if may_read => Event::Read(read),
        }
    }

    /// Writes what the kernel takes without a wait, which nearly always is all there is. Whether it took any.
    async fn write_at_once(&mut self, now: Instant) -> bool {
        let output = self.exchange.output();
        if output.is_empty() {
            return false;
        }
        let mut write = pin!(self.writer.write(output));
        // Whoever has to wait does so in `next_event`.
        let Some(written) = poll_fn(|context| Poll::Ready(ready_now(write.as_mut().poll(context)))).await
        else {
            return false;
        };
        self.handle_event(Event::Written(written), now);
        self.phase != Phase::Gone
    }

    fn handle_event(&mut self, event: Event, now: Instant) {
        match event {
            Event::Close => self.drain(),
            Event::Written(Ok(count)) if count > 0 => self.exchange.handle_written(count),
            Event::Written(_) => self.phase = Phase::Gone,
            Event::Answered(key, answer) => self.exchange.handle_answer(key, answer, now),
            Event::HandedOver(taken) => self.handle_handed_over(taken, now),
            Event::Timeout => self.handle_timeout(now),
            Event::Read(Ok(0)) => {
                // The client closed its side. Nearly always it has given up: what waits for a line stays off
                // it. One that only closed its side still gets the answer that is on the wire, and 0x06 for
                // the rest.
                self.back.leave();
                self.drain();
            }
            Event::Read(Ok(_)) => {}
            Event::Read(Err(error)) => {
                debug!(%error, "the client is gone");
                self.phase = Phase::Gone;
            }
        }
    }

    /// Takes the whole ADUs that have come, as far as there is room for them in flight.
    fn take_requests(&mut self, now: Instant) {
        if self.input.is_empty() {
            return;
        }
        // What the listener obeys does not change in the midst of what came together.
        let listening = self.client.listening.load_full();
        let limit = listening.settings.max_in_flight;
        while self.phase == Phase::Open && self.exchange.in_flight() < limit {
            match mbap::decode(&mut self.input) {
                Ok(Some(adu)) => {
                    self.partial_since = None;
                    self.handle_request(adu, &listening, now);
                }
                Ok(None) if self.input.is_empty() => return self.partial_since = None,
                Ok(None) => {
                    self.partial_since.get_or_insert(now);
                    return;
                }
                Err(error) => {
                    self.log_closing(now, &error.to_string());
                    self.drain();
                }
            }
        }
        // Whatever is left was held back by us, not by the client.
        self.partial_since = None;
    }

    fn handle_handed_over(&mut self, taken: bool, now: Instant) {
        let Some(Outgoing { key, bus, .. }) = self.outgoing.pop_front() else { return };
        if self.outgoing.is_empty() {
            // Nearly always it is, and with hundreds of connections its room counts.
            self.outgoing = VecDeque::new();
        }
        if !taken {
            debug!(bus = bus.name(), "the bus is being stopped");
            let refused = Answer::Refused(ExceptionCode::GATEWAY_PATH_UNAVAILABLE);
            self.exchange.handle_answer(key, refused, now);
        }
    }

    /// When something falls due by itself.
    fn poll_timeout(&self) -> Instant {
        let idle = self.idle_since.map(|since| since + self.idle_timeout());
        let partial = self.partial_since.map(|since| since + PARTIAL_ADU_TIMEOUT);
        let stalled = self.exchange.unsent_since().map(|since| since + WRITE_TIMEOUT);
        let due = [self.exchange.poll_timeout(), idle, partial, stalled].into_iter().flatten().min();
        due.unwrap_or_else(|| Instant::now() + WRITE_TIMEOUT)
    }

    fn handle_timeout(&mut self, now: Instant) {
        let past = |since: Option<Instant>, limit| since.is_some_and(|since| now >= since + limit);
        if past(self.exchange.unsent_since(), WRITE_TIMEOUT) {
            self.log_closing(now, "it does not read its replies");
            return self.phase = Phase::Gone;
        }
        for key in self.exchange.handle_timeout(now) {
            // The client has been told that it failed, so it must not happen any more.
            self.outgoing.retain(|outgoing| outgoing.key != key);
        }
        if past(self.partial_since, PARTIAL_ADU_TIMEOUT) {
            self.log_closing(now, "it sent half a request and no more");
            self.drain();
        }
        if past(self.idle_since, self.idle_timeout()) {
            debug!("idle for too long");
            self.drain();
        }
    }

    /// Lets the listener see whether the connection may be evicted.
    fn show_presence(&mut self, now: Instant) {
        let idle = self.exchange.in_flight() == 0;
        if idle && self.idle_since.is_none() {
            self.client.presence.set_idle(now);
            self.idle_since = Some(now);
        } else if !idle {
            self.client.presence.set_busy();
            self.idle_since = None;
        }
    }

    fn has_room(&self) -> bool {
        self.exchange.in_flight() < self.client.listening.load().settings.max_in_flight
    }

    fn idle_timeout(&self) -> Duration {
        self.client.listening.load().settings.idle_timeout
    }

    pub(super) fn drain(&mut self) {
        self.phase = Phase::Draining;
        self.partial_since = None;
    }

    pub(super) fn log_closing(&self, now: Instant, why: &str) {
        if let Some(held_back) = self.client.log_limiter.permit(now) {
            info!(held_back, "closing the connection: {why}");
        }
    }

    /// Ends the connection in order: all replies are with the kernel.
    async fn close(&mut self) {
        if self.writer.shutdown().await.is_err() {
            return;
        }
        // Closing a socket with bytes unread is a reset, and a reset can destroy replies on their way.
        for _ in 0..DISCARDED_READS {
            self.input.clear();
            tokio::select! {
                biased;
                Ok(1..) = self.reader.read_buf(&mut self.input) => {}
                () = ready(()) => return,
            }
        }
    }
}

/// What a future gave, if it did.
fn ready_now<T>(poll: Poll<T>) -> Option<T> {
    match poll {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// Waits until the bus takes the first of `outgoing`; `false` if it never will. Nothing is lost when the wait
/// is given up, because the bus gets a copy.
async fn hand_over(outgoing: &VecDeque<Outgoing>) -> bool {
    match outgoing.front() {
        Some(Outgoing { bus, request, .. }) => bus.send(request.clone()).await.is_ok(),
        None => pending().await,
    }
}

/// An ADU whose first byte came so long ago and whose last has not closes the connection.
pub const PARTIAL_ADU_TIMEOUT: Duration = Duration::from_secs(10);

/// A reply that so long after it was ready could not be handed to the kernel closes the connection.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Room for the rest of a begun ADU and a whole one more, bytes.
const READ_BUFFER: usize = 2 * ADU_MAX;

/// Reads thrown away, at most, when a connection is closed with requests unread.
const DISCARDED_READS: usize = 256;
