//! The task of a broker: connects, drives a session over the socket, pauses, connects again.
//!
//! Never ends before it is stopped. A broker that is away, takes nothing or breaks the protocol costs this task its
//! connection and nothing else: what is to be delivered stays in the outbox. A name is looked up on a thread of its own.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::net::TcpStream;
use tokio::time::{sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::backoff::Backoff;
use super::broker_metrics::BrokerMetrics;
use super::delivery::Delivery;
use super::loss::{Loss, LossCause};
use super::outbox::Outbox;
use super::session::{Qos, Session, SessionEvent, WINDOW, goodbye};
use super::settings::BrokerSettings;
use super::sparkplug_outbox::SparkplugOutbox;
use crate::serial::NameLookup;
use crate::sparkplug::{Received, Taken};
use crate::tls::describe_server;

/// Everything one client needs.
#[derive(Clone, Debug)]
pub struct BrokerClient {
    /// The broker.
    pub settings: BrokerSettings,
    /// What is delivered.
    pub delivery: Delivery,
    /// What is counted.
    pub metrics: Arc<BrokerMetrics>,
}

/// How a connection ended.
enum End {
    /// The client was stopped.
    Stopped,
    /// The reason, and whether the broker had accepted the connection for a while.
    Lost { why: Loss, held: bool },
}

/// Delivers what is in the outbox until `stop`.
pub async fn run(client: BrokerClient, stop: CancellationToken) {
    let (lookup, mut backoff) = (NameLookup::default(), Backoff::default());
    loop {
        // A task of its own: a fault of the protocol's implementation ends the connection and not the client.
        let connection = tokio::spawn(connect_and_serve(client.clone(), lookup.clone(), stop.clone()));
        let (why, held) = match connection.await {
            Ok(End::Stopped) => break,
            Ok(End::Lost { why, held }) => (why, held),
            Err(_) => {
                let text = "the connection failed by a fault of this program";
                (Loss::new(LossCause::Internal, text), false)
            }
        };
        if held {
            backoff.reset();
        }
        let address = &client.settings.address;
        if client.metrics.note_away(why.clone(), Instant::now()) {
            warn!("broker {address}: {why}; readings are kept meanwhile");
        } else {
            debug!("broker {address}: {why}");
        }
        tokio::select! {
            () = sleep(backoff.next()) => {}
            () = stop.cancelled() => break,
        }
    }
    client.metrics.note_stopped();
}

async fn connect_and_serve(client: BrokerClient, lookup: NameLookup, stop: CancellationToken) -> End {
    let connected = tokio::select! {
        connected = connect(&client.settings, &lookup) => connected,
        () = stop.cancelled() => return End::Stopped,
    };
    let stream = match connected {
        Ok(stream) => stream,
        Err(why) => return End::Lost { why, held: false },
    };
    let Some(tls) = client.settings.tls.clone() else {
        return Connection::new(client, Instant::now()).serve(stream, stop).await;
    };
    let host = client.settings.address.server().host();
    let shaken = tokio::select! {
        shaken = timeout(HANDSHAKE_TIMEOUT, tls.connect(host, stream)) => shaken,
        () = stop.cancelled() => return End::Stopped,
    };
    match shaken {
        Ok(Ok(stream)) => Connection::new(client, Instant::now()).serve(stream, stop).await,
        Ok(Err(error)) => {
            let text = format!("TLS failed: {}", describe_loss(&error));
            End::Lost { why: Loss::new(LossCause::Tls, text), held: false }
        }
        Err(_) => {
            let text = format!("TLS failed: no answer within {HANDSHAKE_TIMEOUT:?}");
            End::Lost { why: Loss::new(LossCause::Tls, text), held: false }
        }
    }
}

/// Connects to one of the broker's addresses after the other.
async fn connect(settings: &BrokerSettings, lookup: &NameLookup) -> Result<TcpStream, Loss> {
    let server = settings.address.server();
    let found = lookup.resolve(server, LOOKUP_TIMEOUT).await;
    let found = found.map_err(|error| {
        Loss::new(LossCause::NameNotFound, format!("name not found: {}: {error}", server.host()))
    })?;
    let mut reasons: Vec<(String, LossCause)> = Vec::new();
    for address in found.into_iter().take(MOST_ADDRESSES) {
        match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => match prepare(&stream) {
                Ok(()) => return Ok(stream),
                Err(error) => reasons.push(describe(address, &error)),
            },
            Ok(Err(error)) => reasons.push(describe(address, &error)),
            Err(_) => {
                let text = format!("no answer from {address} within {CONNECT_TIMEOUT:?}");
                reasons.push((text, LossCause::NoAnswer));
            }
        }
    }
    // A name server hands addresses out in another order each time, which is no news.
    reasons.sort_unstable_by(|one, other| one.0.cmp(&other.0));
    let (texts, causes): (Vec<_>, Vec<_>) = reasons.into_iter().unzip();
    let same = causes.first().filter(|first| causes.iter().all(|cause| cause == *first));
    Err(Loss::new(same.copied().unwrap_or(LossCause::NotReached), texts.join("; ")))
}

/// Sends what was kept, or something new; returns the length of that. Nothing is lost if it is cancelled.
async fn send(writer: &mut (impl AsyncWrite + Unpin), new: &[u8], is_unflushed: bool) -> io::Result<usize> {
    if is_unflushed { writer.flush().await.map(|()| 0) } else { writer.write(new).await }
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED))
}

fn describe(address: SocketAddr, error: &io::Error) -> (String, LossCause) {
    if error.kind() == io::ErrorKind::ConnectionRefused {
        (format!("connection refused by {address}"), LossCause::PortRefused)
    } else if has_no_route(error) {
        (format!("no route to {address}"), LossCause::NoRoute)
    } else {
        (format!("cannot connect to {address}: {error}"), LossCause::NotReached)
    }
}

/// A connection, from the socket's opening to its end.
struct Connection {
    client: BrokerClient,
    session: Session,
    pacing: Pacing,
    accepted: Option<Instant>,
    is_status_watched: bool,
    reconciliation: Reconciliation,
    /// Since when the socket has taken nothing of what waits for it.
    blocked: Option<Instant>,
    /// Until when retained messages may be removed before `offline` is published; after it, until when that may be
    /// acknowledged.
    stopping: Option<Stopping>,
    /// Why the connection is being ended, unless the client is stopped.
    leaving: Option<Loss>,
}

/// A stop has two steps, of which the first is for brokers that are published to no more.
#[derive(Clone, Copy, Debug)]
enum Stopping {
    /// What is retained is being removed, until then.
    Clearing(Instant),
    /// `offline` was sent, and may be acknowledged until then.
    Goodbye(Instant),
}

/// The look for retained messages that are left over from an earlier configuration.
#[derive(Default)]
struct Reconciliation {
    filters: Vec<String>,
    /// The announcements that the broker's messages were last compared with.
    edition: Option<u64>,
    began: Option<Instant>,
    /// When the last message came, or the subscription was made.
    heard: Option<Instant>,
}

/// A bucket of as many messages as the session may have in flight, filled at the pace.
struct Pacing {
    full_at: Instant,
}

impl Connection {
    fn new(client: BrokerClient, now: Instant) -> Self {
        Self {
            session: Session::with_will(
                &client.settings,
                &client.delivery.connect(&client.settings, SystemTime::now()),
                now,
            ),
            pacing: Pacing::new(now),
            client,
            accepted: None,
            is_status_watched: false,
            reconciliation: Reconciliation::default(),
            blocked: None,
            stopping: None,
            leaving: None,
        }
    }

    async fn serve(mut self, stream: impl AsyncRead + AsyncWrite, stop: CancellationToken) -> End {
        let (mut reader, mut writer) = split(stream);
        // TLS keeps what the socket does not take; a socket keeps nothing.
        let mut is_unflushed = false;
        let mut buffer = vec![0; READ_BUFFER];
        let delivery = self.client.delivery.clone();
        let end = loop {
            if let Some(end) = self.proceed(Instant::now()) {
                break end;
            }
            let has_output = is_unflushed || !self.session.output().is_empty();
            let wakes = self.accepted.is_some() && self.has_room(Instant::now()) && self.stopping.is_none();
            let is_ready = self.pacing.is_ready(Instant::now(), delivery.pace());
            let due = self.due();
            tokio::select! {
                () = stop.cancelled(), if self.stopping.is_none() => {
                    if !self.session.is_open() {
                        break End::Stopped;
                    }
                    self.begin_stop(Instant::now());
                }
                read = reader.read(&mut buffer), if self.session.may_receive() => match read {
                    Ok(0) => self.session.handle_end(),
                    Ok(length) => self.session.handle_bytes(&buffer[..length], Instant::now()),
                    Err(error) => break self.lost(self.loss_by(&error)),
                },
                sent = send(&mut writer, self.session.output(), is_unflushed), if has_output => match sent {
                    Ok(length) => {
                        is_unflushed = length > 0;
                        self.session.advance(length);
                        self.blocked = None;
                    }
                    Err(error) => break self.lost(self.loss_by(&error)),
                },
                () = delivery.filled(), if wakes && is_ready => {}
                () = sleep_until(due.into()) => self.session.handle_timeout(Instant::now()),
            }
        };
        let says_goodbye = matches!(end, End::Stopped) || self.leaving.is_some();
        let end = self.put_back(end);
        if says_goodbye {
            let rest = self.session.output().to_vec();
            // A broker that does not take it publishes the will, which says the same.
            let _taken = timeout(GOODBYE_TIMEOUT, async {
                writer.write_all(&rest).await?;
                writer.shutdown().await
            })
            .await;
        }
        end
    }

    /// Everything that can be done without waiting; the end, if this is it.
    fn proceed(&mut self, now: Instant) -> Option<End> {
        while let Some(event) = self.session.poll_event() {
            match event {
                SessionEvent::Connected => self.begin(now),
                SessionEvent::Acknowledged(message) => {
                    self.client.metrics.note_published(now);
                    self.watch_status(&message.topic, now);
                }
                SessionEvent::Received { topic, payload, is_retained } => {
                    self.receive(&topic, &payload, is_retained, now);
                }
                SessionEvent::NotSubscribed => self.note_not_subscribed(),
                SessionEvent::Closed(why) => return Some(self.lost(why)),
            }
        }
        match self.stopping {
            Some(Stopping::Goodbye(until)) => {
                if self.session.is_idle() && self.session.output().is_empty() {
                    self.session.disconnect(now);
                    return Some(self.leave());
                }
                return (until <= now).then(|| self.leave());
            }
            Some(Stopping::Clearing(until)) => {
                let is_clear = self.clear(now) && self.session.is_idle();
                if is_clear || until <= now {
                    self.say_goodbye(now);
                }
            }
            None if self.accepted.is_some() => match &self.client.delivery {
                Delivery::Json(outbox) => self.publish_from(&Arc::clone(outbox), now),
                Delivery::Sparkplug(outbox) => self.send_from(&Arc::clone(outbox), now),
            },
            None => {}
        }
        if self.session.output().is_empty() {
            self.blocked = None;
            return None;
        }
        let blocked = *self.blocked.get_or_insert(now);
        let is_stuck = blocked + UNACKNOWLEDGED <= now;
        is_stuck.then(|| {
            let text = format!("the broker has taken nothing for {UNACKNOWLEDGED:?}");
            self.lost(Loss::new(LossCause::Silent, text))
        })
    }

    fn begin(&mut self, now: Instant) {
        self.accepted = Some(now);
        let BrokerSettings { address, client_id, status_topic, .. } = &self.client.settings;
        let awaited = match &self.client.delivery {
            Delivery::Json(outbox) => {
                outbox.begin(status_topic);
                None
            }
            Delivery::Sparkplug(outbox) => {
                self.session.subscribe(&outbox.filters(), Qos::AtLeastOnce, now);
                outbox.begin()
            }
        };
        match awaited {
            None => {
                self.client.metrics.note_connected(now);
                info!("broker {address}: connected as {client_id}");
            }
            Some(host) => {
                let why = Loss::new(LossCause::HostAway, format!("the primary host {host} is not on-line"));
                self.client.metrics.note_waiting(why, now);
                info!("broker {address}: connected as {client_id}, waiting for the primary host {host}");
            }
        }
    }

    /// Publishes what waits and may be sent.
    fn publish_from(&mut self, outbox: &Outbox, now: Instant) {
        self.reconciliation.proceed(&mut self.session, outbox, now);
        let pace = outbox.pace();
        while self.has_room(now) && self.pacing.is_ready(now, pace) {
            let Some(message) = outbox.next() else { break };
            self.pacing.take(now, pace);
            self.session.publish(message, now);
        }
    }

    /// Sends what waits and may be sent.
    fn send_from(&mut self, outbox: &SparkplugOutbox, now: Instant) {
        let pace = outbox.pace();
        while self.has_room(now) && self.pacing.is_ready(now, pace) {
            let Some(message) = outbox.next(Taken::new(now, SystemTime::now())) else { break };
            self.pacing.take(now, pace);
            self.session.send(&message, now);
            self.client.metrics.note_published(now);
        }
    }

    /// Has the broker forget what is retained, without a pace: nothing else is published, and the window limits it. Returns
    /// whether that was all.
    fn clear(&mut self, now: Instant) -> bool {
        let Delivery::Json(outbox) = self.client.delivery.clone() else { return true };
        while self.has_room(now) {
            let Some(message) = outbox.next() else { return true };
            self.session.publish(message, now);
        }
        false
    }

    fn note_not_subscribed(&self) {
        let address = &self.client.settings.address;
        match &self.client.delivery {
            Delivery::Json(_) => debug!(
                "broker {address}: not allowed to subscribe; what is left over from earlier configurations stays"
            ),
            Delivery::Sparkplug(outbox) => warn!(
                "broker {address}: not allowed to subscribe to {}; hosts cannot request births; check the broker's ACL",
                outbox.filters().join(" and ")
            ),
        }
    }

    /// Subscribes to the status once the broker has it: the will of an earlier connection, or another client of this topic,
    /// may replace it at any time.
    fn watch_status(&mut self, acknowledged: &str, now: Instant) {
        let status_topic = &self.client.settings.status_topic;
        if acknowledged == status_topic && self.stopping.is_none() && !self.is_status_watched {
            self.is_status_watched = true;
            self.session.subscribe(std::slice::from_ref(status_topic), Qos::AtMostOnce, now);
        }
    }

    fn receive(&mut self, topic: &str, payload: &[u8], is_retained: bool, now: Instant) {
        let outbox = match &self.client.delivery {
            Delivery::Json(outbox) => outbox,
            Delivery::Sparkplug(outbox) => {
                if self.stopping.is_none() {
                    let received = outbox.handle_message(topic, payload);
                    self.obey(received, now);
                }
                return;
            }
        };
        if topic == self.client.settings.status_topic {
            if self.stopping.is_none() {
                outbox.correct_status(topic, payload);
            }
        } else if is_retained {
            self.reconciliation.heard = Some(now);
            outbox.reconcile(topic, payload);
        }
    }

    fn obey(&mut self, received: Received, now: Instant) {
        let address = &self.client.settings.address;
        match received {
            Received::Rebirth => debug!("broker {address}: a host requests births"),
            Received::HostOnline => {
                self.client.metrics.note_connected(now);
                info!("broker {address}: the primary host is on-line");
            }
            Received::HostOffline => {
                self.leaving = Some(Loss::new(LossCause::HostAway, "the primary host has gone off-line"));
                self.say_goodbye(now);
            }
            Received::Ignored => {}
        }
    }

    /// Whether another message may be sent; one at a time for a while, if that is to show which one ends connections.
    fn has_room(&self, now: Instant) -> bool {
        let is_young = self.accepted.is_some_and(|at| at + HELD > now);
        let is_careful = match &self.client.delivery {
            Delivery::Json(outbox) => outbox.is_careful(),
            Delivery::Sparkplug(_) => false,
        };
        self.session.has_room(if is_young && is_careful { 1 } else { WINDOW })
    }

    /// Returns what was not acknowledged to the outbox.
    fn put_back(&mut self, end: End) -> End {
        let sent = self.session.take_in_flight();
        let outbox = match &self.client.delivery {
            Delivery::Json(outbox) => outbox,
            Delivery::Sparkplug(outbox) => {
                outbox.disconnect();
                return end;
            }
        };
        match end {
            End::Stopped => {
                outbox.put_back(sent);
                End::Stopped
            }
            // A broker that hangs, or a way to it that is cut, says nothing of any message.
            End::Lost { why, held } if why.cause != LossCause::Closed => {
                outbox.put_back(sent);
                End::Lost { why, held }
            }
            End::Lost { why, held } => {
                let dropped = outbox.put_back_lost(sent);
                let dropped = dropped.map(|topic| {
                    format!(
                        "; the message at {topic} was dropped, because the connection was lost with it each time"
                    )
                });
                End::Lost { why: why.with(&dropped.unwrap_or_default()), held }
            }
        }
    }

    fn begin_stop(&mut self, now: Instant) {
        let is_retired = match &self.client.delivery {
            Delivery::Json(outbox) => outbox.is_retired(),
            Delivery::Sparkplug(_) => false,
        };
        if is_retired {
            self.stopping = Some(Stopping::Clearing(now + CLEAR_TIMEOUT));
        } else {
            self.say_goodbye(now);
        }
    }

    fn say_goodbye(&mut self, now: Instant) {
        self.stopping = Some(Stopping::Goodbye(now + GOODBYE_TIMEOUT));
        let message = match &self.client.delivery {
            Delivery::Json(_) => goodbye(&self.client.settings),
            Delivery::Sparkplug(outbox) => outbox.end(SystemTime::now()),
        };
        self.session.publish(message, now);
    }

    /// The end after a goodbye.
    fn leave(&self) -> End {
        match &self.leaving {
            None => End::Stopped,
            Some(why) => End::Lost { why: why.clone(), held: true },
        }
    }

    /// How the socket's error ended the connection.
    fn loss_by(&self, error: &io::Error) -> Loss {
        let cause = if describe_server(error).is_some() {
            LossCause::Tls
        } else if error.kind() == io::ErrorKind::TimedOut {
            LossCause::Silent
        } else if has_no_route(error) {
            LossCause::NoRoute
        } else if self.accepted.is_none() {
            LossCause::NotAccepted
        } else {
            LossCause::Closed
        };
        Loss::new(cause, describe_loss(error))
    }

    fn lost(&self, why: Loss) -> End {
        let held = self.accepted.is_some_and(|at| at.elapsed() >= HELD);
        End::Lost { why, held }
    }

    /// When something is to be done although nothing comes.
    fn due(&self) -> Instant {
        let now = Instant::now();
        let protocol = self.session.poll_timeout();
        if let Some(Stopping::Clearing(until) | Stopping::Goodbye(until)) = self.stopping {
            return protocol.map_or(until, |due| due.min(until));
        }
        let blocked = self.blocked.map(|since| since + UNACKNOWLEDGED);
        let pace = self.client.delivery.pace();
        let is_paced = self.has_room(now) && !self.pacing.is_ready(now, pace);
        let paced = is_paced.then(|| self.pacing.ready_at(pace));
        let quiet = self.reconciliation.due();
        let rebirth = match &self.client.delivery {
            Delivery::Json(_) => None,
            // What cannot be sent is waited for by itself.
            Delivery::Sparkplug(outbox) => outbox.rebirth_due().filter(|due| *due > now),
        };
        [protocol, blocked, paced, quiet, rebirth].into_iter().flatten().min().unwrap_or(now + IDLE)
    }
}

impl Reconciliation {
    /// Subscribes once for each set of announcements, and unsubscribes when nothing more comes: the broker would send
    /// every state back from then on.
    fn proceed(&mut self, session: &mut Session, outbox: &Outbox, now: Instant) {
        if self.due().is_some_and(|due| due <= now) {
            session.unsubscribe(&self.filters, now);
            (self.began, self.heard) = (None, None);
        }
        let edition = outbox.edition();
        if self.edition.replace(edition) == Some(edition) {
            return;
        }
        let filters = outbox.filters();
        if !filters.is_empty() {
            session.expect_retained(outbox.retained());
            session.subscribe(&filters, Qos::AtMostOnce, now);
            self.filters = filters;
            (self.began, self.heard) = (Some(now), Some(now));
        }
    }

    fn due(&self) -> Option<Instant> {
        Some((self.heard? + QUIET).min(self.began? + LONGEST_LOOK))
    }
}

impl Pacing {
    fn new(now: Instant) -> Self {
        Self { full_at: now }
    }

    fn is_ready(&self, now: Instant, pace: u32) -> bool {
        self.ready_at(pace) <= now
    }

    fn ready_at(&self, pace: u32) -> Instant {
        let burst = interval(pace) * (BURST - 1);
        self.full_at.checked_sub(burst).unwrap_or(self.full_at)
    }

    fn take(&mut self, now: Instant, pace: u32) {
        self.full_at = self.full_at.max(now) + interval(pace);
    }
}

/// The time between two messages.
fn interval(pace: u32) -> Duration {
    Duration::from_secs(1) / pace.max(1)
}

/// How a connection ended, in words.
fn describe_loss(error: &io::Error) -> String {
    if let Some(fault) = describe_server(error) {
        fault
    } else if matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) {
        "the broker reset the connection".to_owned()
    } else if error.kind() == io::ErrorKind::TimedOut {
        "the broker acknowledges nothing any more".to_owned()
    } else if has_no_route(error) {
        "no route to the broker any more".to_owned()
    } else {
        error.to_string()
    }
}

fn has_no_route(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable)
}

/// How long the resolver is waited for.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an address may take to accept.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Addresses of one name that are tried.
const MOST_ADDRESSES: usize = 8;

/// How long bytes may wait for the broker to take them.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// A connection that lasted so long was a good one: the next attempt follows after the shortest pause.
const HELD: Duration = Duration::from_secs(30);

/// How long the broker may take to acknowledge `offline`, and to take the DISCONNECT.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the broker may take to forget what is retained, when nothing is published to it any more.
const CLEAR_TIMEOUT: Duration = Duration::from_secs(5);

/// Silence after which no more retained messages are expected.
const QUIET: Duration = Duration::from_secs(5);

/// Longest look for retained messages that are left over.
const LONGEST_LOOK: Duration = Duration::from_secs(60);

/// Messages that may follow one another without a pause.
const BURST: u32 = 32;

/// Bytes read at once.
const READ_BUFFER: usize = 4096;

/// Longest time without a look at the timers.
const IDLE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_burst_messages_follow_at_the_pace() {
        let start = Instant::now();
        let mut pacing = Pacing::new(start);
        let mut sent = 0;
        for tick in 0..1000 {
            let now = start + Duration::from_millis(tick);
            while pacing.is_ready(now, 100) {
                pacing.take(now, 100);
                sent += 1;
            }
        }
        assert_eq!(sent, BURST + 99);
    }
}
