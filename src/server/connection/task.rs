//! The task of one connection: the loop that reads and writes.
//!
//! Owns the stream, the bytes that are not decoded yet, and the timers.

use std::future::{Future, poll_fn, ready};
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tokio_util::sync::WaitForCancellationFuture;
use tracing::{debug, info};

use super::ClientContext;
use super::decoder::{Decoded, RequestDecoder};
use super::peer::{PeerState, Receive};
use super::session::{MODBUS_TCP, RTU_OVER_TCP, Session};
use crate::line::{Answer, Now};
use crate::modbus::mbap::ADU_MAX;
use crate::modbus::{AduFraming, Dropped, rtu};
use crate::runtime::LogKind;
use crate::serial::{ReplyReceiver, clock};
use crate::server::routes::ListenerState;

/// Serves one client until it leaves, breaks the framing, stays idle or does not read, or has to close. Requests in
/// flight are still answered then, unless the client is gone or does not read.
pub async fn run<R, W>(reader: R, writer: W, client: ClientContext)
where
    R: Receive,
    W: AsyncWrite + Unpin,
{
    let idle = Arc::clone(&client.idle);
    let mut now = Instant::now();
    let mut connection = Connection::new(reader, writer, client, now);
    // Both live as long as the connection: to register them anew for each request costs more than a reply does.
    let (closing, alarm) = (idle.closing().cancelled(), sleep_until(now + WRITE_TIMEOUT));
    tokio::pin!(closing, alarm);
    debug!("connected");
    loop {
        connection.handle_buffered(now);
        // Written replies make room for requests that have already arrived.
        while connection.write_at_once(now).await {
            connection.handle_buffered(now);
        }
        connection.show_idle(now);
        match connection.phase {
            ConnectionPhase::Open => {}
            ConnectionPhase::Draining if connection.session.in_flight() > 0 => {}
            ConnectionPhase::Draining => break connection.close().await,
            ConnectionPhase::Gone => break,
        }
        let event = connection.next_event(closing.as_mut(), alarm.as_mut()).await;
        now = Instant::now();
        if !matches!(event, Wakeup::Read(_)) {
            connection.read_before_deadline(now).await;
        }
        connection.handle_event(event, now);
    }
    debug!("closed");
    connection.end(now);
    while connection.session.has_late_writes() {
        let event = connection.next_outcome(alarm.as_mut()).await;
        connection.handle_event(event, Instant::now());
    }
}

/// The phase of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ConnectionPhase {
    /// Requests are read.
    Open,
    /// Requests in flight are answered, nothing more is read.
    Draining,
    /// The client cannot be answered any more.
    Gone,
}

/// Events that wake a connection.
#[derive(Debug)]
enum Wakeup {
    Close,
    Written(io::Result<usize>),
    Answered(u64, Answer),
    HandedOver,
    Timeout,
    Read(io::Result<usize>),
    PeerClosed(PeerState),
}

struct Connection<R, W> {
    reader: R,
    writer: W,
    client: ClientContext,
    phase: ConnectionPhase,
    peer: PeerState,
    /// Bytes not decoded as requests yet, at most [`READ_BUFFER`]. Without bytes it has no capacity.
    input: BytesMut,
    decoder: RequestDecoder,
    session: Session,
    answers: ReplyReceiver,
    /// `None` while a request is in flight.
    idle_since: Option<Instant>,
}

impl<R: Receive, W: AsyncWrite + Unpin> Connection<R, W> {
    fn new(reader: R, writer: W, client: ClientContext, now: Instant) -> Self {
        let (session, answers) = Session::new(client.clone(), now);
        let decoder = RequestDecoder::new(client.link.framing);
        Self {
            reader,
            writer,
            client,
            phase: ConnectionPhase::Open,
            peer: PeerState::Open,
            input: BytesMut::new(),
            decoder,
            session,
            answers,
            idle_since: None,
        }
    }

    /// Waits for the next event. Events that finish work come before those that begin work.
    async fn next_event(
        &mut self,
        closing: Pin<&mut WaitForCancellationFuture<'_>>,
        mut alarm: Pin<&mut Sleep>,
    ) -> Wakeup {
        set_alarm(alarm.as_mut(), self.poll_timeout());
        let open = self.phase == ConnectionPhase::Open;
        let may_read = open && self.has_room();
        let awaits_answers = self.session.awaits_answers();
        let incoming = incoming(&mut self.reader, &mut self.input, may_read, self.peer);
        let (output, handover) = self.session.outputs();
        tokio::select! {
            biased;
            () = closing, if open => Wakeup::Close,
            written = self.writer.write(output), if !output.is_empty() => Wakeup::Written(written),
            (key, answer) = self.answers.next(), if awaits_answers => Wakeup::Answered(key, answer),
            () = alarm => Wakeup::Timeout,
            () = handover.advance() => Wakeup::HandedOver,
            event = incoming => event,
        }
    }

    /// Waits for the outcomes of writes after the client is answered or gone.
    async fn next_outcome(&mut self, mut alarm: Pin<&mut Sleep>) -> Wakeup {
        set_alarm(alarm.as_mut(), self.session.poll_timeout());
        tokio::select! {
            biased;
            (key, answer) = self.answers.next() => Wakeup::Answered(key, answer),
            () = alarm => Wakeup::Timeout,
        }
    }

    /// Writes what the kernel accepts without waiting, which nearly always is everything. Returns whether it accepted
    /// any.
    async fn write_at_once(&mut self, now: Instant) -> bool {
        let (output, _) = self.session.outputs();
        if output.is_empty() {
            return false;
        }
        let mut write = pin!(self.writer.write(output));
        // A write that has to wait does so in `next_event`.
        let Some(written) = poll_fn(|context| Poll::Ready(ready_now(write.as_mut().poll(context)))).await
        else {
            return false;
        };
        self.handle_event(Wakeup::Written(written), now);
        self.phase != ConnectionPhase::Gone
    }

    /// Reads and decodes what has arrived before the client's time for its request counts as over: after a standstill of
    /// the whole process the timer is due although the rest of the request has come in time.
    async fn read_before_deadline(&mut self, now: Instant) {
        let may_read = self.phase == ConnectionPhase::Open && self.has_room();
        if !may_read || !self.decoder.is_due(now) {
            return;
        }
        let read = {
            // A task that has used up its budget would read nothing here.
            let mut read = pin!(unconstrained(read_some(&mut self.reader, &mut self.input)));
            poll_fn(|context| Poll::Ready(ready_now(read.as_mut().poll(context)))).await
        };
        if let Some(read) = read {
            self.handle_event(Wakeup::Read(read), now);
            self.handle_buffered(now);
        }
    }

    fn handle_event(&mut self, event: Wakeup, now: Instant) {
        match event {
            Wakeup::Close => self.drain(),
            Wakeup::Written(Ok(count)) if count > 0 => self.session.handle_written(count),
            Wakeup::Written(_) | Wakeup::PeerClosed(PeerState::Reset) => self.phase = ConnectionPhase::Gone,
            Wakeup::Answered(key, answer) => self.session.handle_answer(key, answer, now),
            Wakeup::HandedOver | Wakeup::PeerClosed(PeerState::Open) => {}
            Wakeup::Read(Ok(1..)) => self.decoder.handle_bytes(now),
            Wakeup::Timeout => self.handle_timeout(now),
            Wakeup::Read(Ok(0)) => {
                self.handle_half_close();
                // The last request may be one that only a pause would have ended.
                self.decoder.handle_end();
                self.handle_buffered(now);
                if self.phase == ConnectionPhase::Open {
                    // A client that gave up on what reads as the beginning of a longer ADU.
                    self.log_rtu(now);
                }
                self.drain();
            }
            // There may be requests before the end of the stream.
            Wakeup::PeerClosed(PeerState::HalfClosed) => self.handle_half_close(),
            Wakeup::Read(Err(error)) => {
                debug!(%error, "the client is gone");
                self.log_rtu(now);
                self.phase = ConnectionPhase::Gone;
            }
        }
    }

    fn handle_half_close(&mut self) {
        self.peer = PeerState::HalfClosed;
        self.session.handle_half_close();
    }

    /// Handles the whole ADUs received, up to the limit of requests in flight.
    fn handle_buffered(&mut self, now: Instant) {
        if self.input.is_empty() {
            return;
        }
        // The listener's settings are the same for all requests received together.
        let state = self.client.listener.load_full();
        if self.phase == ConnectionPhase::Open && state.settings.framing != self.client.link.framing {
            self.log_closing(LogKind::Framing, now, "the listener's `framing` has changed");
            return self.drain();
        }
        if self.phase == ConnectionPhase::Open
            && state.settings.tls.is_some() != self.client.link.identity.is_some()
        {
            self.log_closing(LogKind::Framing, now, "the listener's `tls` has changed");
            return self.drain();
        }
        let present = clock::at(now);
        self.handle_whole_adus(&state, now, present);
        self.session.count_requests(now);
    }

    fn handle_whole_adus(&mut self, state: &ListenerState, now: Instant, present: Now) {
        while self.phase == ConnectionPhase::Open && self.session.in_flight() < state.settings.max_in_flight {
            let is_served = |unit, function| self.session.is_served(state, unit, function);
            if self.decoder.is_misframed(&self.input, is_served) {
                self.log_misframed(now);
                return self.drain();
            }
            match self.decoder.decode(&mut self.input, now) {
                Decoded::Request(adu) => {
                    // Also if it is answered at once.
                    self.idle_since = None;
                    if state.admits(&self.client.link.client) {
                        self.session.handle_request(adu, state, now, present);
                    } else {
                        self.log_closing(LogKind::Admission, now, "its address is no longer in `allow`");
                        self.drain();
                    }
                }
                Decoded::Incomplete => {
                    if self.input.is_empty() {
                        // With hundreds of connections the capacity of one request adds up.
                        self.input = BytesMut::new();
                    }
                    return;
                }
                Decoded::Broken(error) => {
                    self.log_no_modbus_tcp(LogKind::Framing, now, &error.to_string());
                    self.drain();
                }
                Decoded::Dropped(dropped) => self.log_dropped(dropped, now),
            }
        }
        self.decoder.suspend();
    }

    /// When the next timer is due.
    fn poll_timeout(&self) -> Option<Instant> {
        let idle = self.idle_since.map(|since| since + self.idle_timeout());
        let stalled = self.session.unsent_since().map(|since| since + WRITE_TIMEOUT);
        [self.session.poll_timeout(), idle, self.decoder.poll_timeout(), stalled].into_iter().flatten().min()
    }

    fn handle_timeout(&mut self, now: Instant) {
        let past = |since: Option<Instant>, limit| since.is_some_and(|since| now >= since + limit);
        if past(self.session.unsent_since(), WRITE_TIMEOUT) {
            self.log_closing(LogKind::Stalled, now, "it does not read its replies");
            return self.phase = ConnectionPhase::Gone;
        }
        self.session.handle_timeout(now);
        if self.phase == ConnectionPhase::Open && self.decoder.is_stalled(now) {
            self.log_no_modbus_tcp(LogKind::Stalled, now, "it sent half a request and no more");
            self.drain();
        }
        if past(self.idle_since, self.idle_timeout()) {
            debug!("idle for too long");
            self.drain();
        }
    }

    /// Publishes to the listener whether the connection may be evicted.
    fn show_idle(&mut self, now: Instant) {
        let is_idle = self.session.in_flight() == 0;
        if is_idle && self.idle_since.is_none() {
            self.client.idle.set_idle(now);
            self.idle_since = Some(now);
        } else if !is_idle {
            self.client.idle.set_busy();
            self.idle_since = None;
        }
    }

    fn has_room(&self) -> bool {
        self.session.in_flight() < self.client.listener.load().settings.max_in_flight
    }

    fn idle_timeout(&self) -> Duration {
        self.client.listener.load().settings.idle_timeout
    }

    fn drain(&mut self) {
        self.phase = ConnectionPhase::Draining;
        self.decoder.suspend();
    }

    /// Logs the closing because of the bytes in the input; the most frequent cause has a message of its own.
    fn log_no_modbus_tcp(&self, kind: LogKind, now: Instant, why: &str) {
        if !self.log_rtu(now) {
            self.log_closing(kind, now, why);
        }
    }

    /// Logs that the client speaks RTU over TCP, if the input begins with a whole frame.
    fn log_rtu(&self, now: Instant) -> bool {
        let is_rtu =
            self.client.link.framing == AduFraming::Tcp && rtu::request_at_front(&self.input).is_some();
        if is_rtu {
            self.log_misframed(now);
        }
        is_rtu
    }

    fn log_misframed(&self, now: Instant) {
        self.session.note_misframed(AduFraming::Rtu, now);
        self.log_closing(LogKind::Misframed, now, RTU_OVER_TCP);
    }

    /// Logs that bytes were dropped without an answer.
    fn log_dropped(&self, dropped: Dropped, now: Instant) {
        let (kind, what) = match dropped {
            Dropped::ModbusTcp => {
                self.session.note_misframed(AduFraming::Tcp, now);
                (LogKind::Misframed, MODBUS_TCP)
            }
            Dropped::Damaged => {
                (LogKind::Damaged, "an incomplete request, or one with a wrong CRC, is not answered")
            }
        };
        if let Some(held_back) = self.client.log_limiter.permit(kind, now) {
            info!(held_back, "{what}");
        }
    }

    fn log_closing(&self, kind: LogKind, now: Instant, why: &str) {
        if let Some(held_back) = self.client.log_limiter.permit(kind, now) {
            info!(held_back, "closing the connection: {why}");
        }
    }

    /// The client is answered or gone: from now on only outcomes of writes are awaited.
    fn end(&mut self, now: Instant) {
        self.decoder.suspend();
        self.idle_since = None;
        self.session.handle_gone(now);
    }

    /// Ends the connection regularly: the kernel has all replies.
    async fn close(&mut self) {
        // TLS has one more record to send, for which a client that reads nothing has no room.
        if !matches!(timeout(SHUTDOWN_TIMEOUT, self.writer.shutdown()).await, Ok(Ok(()))) {
            return;
        }
        // Closing a socket with unread bytes is a reset, and a reset can destroy replies in transit.
        for _ in 0..DISCARDED_READS {
            self.input.clear();
            tokio::select! {
                biased;
                Ok(1..) = read_some(&mut self.reader, &mut self.input) => {}
                () = ready(()) => break,
            }
        }
        self.input = BytesMut::new();
    }
}

/// Sets the alarm to go off at `due` at the latest.
fn set_alarm(alarm: Pin<&mut Sleep>, due: Option<Instant>) {
    let due = due.unwrap_or_else(|| Instant::now() + WRITE_TIMEOUT);
    // An early alarm only costs a check, and most deadlines never come.
    if alarm.is_elapsed() || due < alarm.deadline() {
        alarm.reset(due);
    }
}

/// The next input of the client: its bytes, or only how much it has closed.
async fn incoming<R: Receive>(
    reader: &mut R,
    input: &mut BytesMut,
    may_read: bool,
    peer: PeerState,
) -> Wakeup {
    if may_read {
        Wakeup::Read(read_some(reader, input).await)
    } else {
        Wakeup::PeerClosed(reader.closed(peer).await)
    }
}

/// Appends the available bytes to `input`, which has no capacity while it waits.
async fn read_some<R: AsyncRead + Unpin>(reader: &mut R, input: &mut BytesMut) -> io::Result<usize> {
    poll_fn(|context| {
        let mut room = [MaybeUninit::uninit(); READ_BUFFER];
        let length = READ_BUFFER.saturating_sub(input.len());
        let mut read = ReadBuf::uninit(&mut room[..length]);
        Pin::new(&mut *reader).poll_read(context, &mut read).map_ok(|()| {
            input.extend_from_slice(read.filled());
            read.filled().len()
        })
    })
    .await
}

/// The output of a future, if it is ready.
fn ready_now<T>(poll: Poll<T>) -> Option<T> {
    match poll {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// A reply that the kernel has not accepted for this long closes the connection.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the regular end of a connection may take; after it, the connection is dropped.
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// Capacity for the rest of an incomplete ADU and one whole ADU, in bytes.
const READ_BUFFER: usize = 2 * ADU_MAX;

/// Largest number of reads that are discarded when a connection is closed with unread requests.
const DISCARDED_READS: usize = 256;
