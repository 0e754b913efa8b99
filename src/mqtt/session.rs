//! One connection to a broker as a state machine: bytes in, bytes and events out.
//!
//! Owns what is in flight and the deadlines of the protocol; the packets are `mqtt-protocol-core`'s. MQTT 3.1.1 with a
//! clean session: what must survive a connection is in the outbox. Everything a broker can send is bounded: the size
//! of a packet, the number of messages, the time until it answers.

use std::collections::VecDeque;
use std::mem;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mqtt_protocol_core::mqtt::Version;
use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::{Connection, ConnectionOptions, Event, TimerKind};
pub use mqtt_protocol_core::mqtt::packet::Qos;
use mqtt_protocol_core::mqtt::packet::v3_1_1::{
    Connack, Connect, Disconnect, Publish, Suback, Subscribe, Unsubscribe,
};
use mqtt_protocol_core::mqtt::packet::{GenericPacketTrait, Packet, SubEntry, SubOpts};
use mqtt_protocol_core::mqtt::result_code::{ConnectReturnCode, MqttError};
use mqtt_protocol_core::mqtt::role::Client;

use super::loss::{Loss, LossCause};
use super::outbox::Message;
use super::settings::{BrokerSettings, Credentials};

/// One connection.
pub struct Session {
    connection: Connection<Client>,
    output: Vec<u8>,
    events: VecDeque<SessionEvent>,
    /// In the order in which they were sent.
    in_flight: VecDeque<InFlight>,
    timers: Timers,
    /// Until when the broker must have accepted the connection; `None`: it has.
    accepted_by: Option<Instant>,
    unsolicited: Unsolicited,
    has_heard: bool,
    is_over: bool,
}

/// What a session reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEvent {
    /// The broker accepted the connection.
    Connected,
    /// The broker has this message.
    Acknowledged(Message),
    /// A message of the broker to one of the subscriptions.
    Received {
        /// Its topic.
        topic: String,
        /// Its content.
        payload: Vec<u8>,
        /// Whether the broker kept it, or has just received it.
        is_retained: bool,
    },
    /// The broker refused a subscription.
    NotSubscribed,
    /// The session is over, and why.
    Closed(Loss),
}

struct InFlight {
    packet: u16,
    sent: Instant,
    message: Message,
}

/// The packets that answer nothing, within the last hour.
struct Unsolicited {
    since: Instant,
    count: usize,
    most: usize,
}

/// The timers of the protocol that run in a client.
#[derive(Default)]
struct Timers {
    ping: Option<Instant>,
    pong: Option<Instant>,
}

impl Session {
    /// A session whose first bytes are the CONNECT, with the will that the gateway is off-line.
    #[must_use]
    pub fn new(settings: &BrokerSettings, now: Instant) -> Self {
        Self::with_will(settings, &goodbye(settings), now)
    }

    /// A session whose first bytes are the CONNECT, with this will.
    #[must_use]
    pub fn with_will(settings: &BrokerSettings, will: &Message, now: Instant) -> Self {
        let options = ConnectionOptions::new().maximum_packet_size_recv(LARGEST_PACKET);
        let mut connection = Connection::with_options(Version::V3_1_1, options);
        connection.set_auto_pub_response(true);
        connection.set_pingresp_recv_timeout(millis(ANSWER_TIMEOUT));
        let mut session = Self {
            connection,
            output: Vec::new(),
            events: VecDeque::new(),
            in_flight: VecDeque::new(),
            timers: Timers::default(),
            accepted_by: Some(now + ANSWER_TIMEOUT),
            unsolicited: Unsolicited { since: now, count: 0, most: MOST_UNSOLICITED },
            has_heard: false,
            is_over: false,
        };
        match connect(settings, will) {
            Ok(packet) => {
                let events = session.connection.checked_send(packet);
                session.apply(events, now);
            }
            Err(error) => session.close(LossCause::Protocol, describe(error)),
        }
        session
    }

    /// Expects so many retained messages, each sent by the broker and sent back when it is published.
    pub fn expect_retained(&mut self, count: usize) {
        self.unsolicited.most = MOST_UNSOLICITED.saturating_add(count.saturating_mul(2));
    }

    /// Bytes of the broker.
    pub fn handle_bytes(&mut self, bytes: &[u8], now: Instant) {
        // The text of another protocol may look like the beginning of a long packet.
        if !mem::replace(&mut self.has_heard, true) && bytes.first() != Some(&CONNACK) {
            self.close(LossCause::NotMqtt, "what answers there is no MQTT broker");
        }
        let mut cursor = Cursor::new(bytes);
        while !self.is_over && cursor.position() < bytes.len() as u64 {
            let events = self.connection.recv(&mut cursor);
            self.apply(events, now);
        }
    }

    /// The broker closed the connection.
    pub fn handle_end(&mut self) {
        if self.accepted_by.is_some() {
            self.close(LossCause::NotAccepted, "the broker closed the connection instead of accepting it");
        } else {
            self.close(LossCause::Closed, "the broker closed the connection");
        }
    }

    /// Applies the timers that have expired.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.accepted_by.is_some_and(|by| by <= now) {
            let why = format!("the broker has not accepted the connection for {ANSWER_TIMEOUT:?}");
            self.close(LossCause::Silent, why);
        }
        if self.in_flight.front().is_some_and(|first| first.sent + ACKNOWLEDGE_TIMEOUT <= now) {
            let why = format!("the broker has not acknowledged a message for {ACKNOWLEDGE_TIMEOUT:?}");
            self.close(LossCause::Silent, why);
        }
        if self.timers.pong.take_if(|at| *at <= now).is_some() {
            let why = format!("the broker has not answered a ping for {ANSWER_TIMEOUT:?}");
            self.close(LossCause::Silent, why);
        }
        if self.timers.ping.take_if(|at| *at <= now).is_some() {
            let events = self.connection.notify_timer_fired(TimerKind::PingreqSend);
            self.apply(events, now);
        }
    }

    /// When [`Self::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let unacknowledged = self.in_flight.front().map(|first| first.sent + ACKNOWLEDGE_TIMEOUT);
        [self.timers.ping, self.timers.pong, self.accepted_by, unacknowledged].into_iter().flatten().min()
    }

    /// What happened, oldest first.
    pub fn poll_event(&mut self) -> Option<SessionEvent> {
        self.events.pop_front()
    }

    /// The bytes to send; [`Self::advance`] removes those that were.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        &self.output
    }

    /// So many bytes were sent.
    pub fn advance(&mut self, sent: usize) {
        self.output.drain(..sent);
    }

    /// Whether another message may be sent, with so many in flight at most.
    #[must_use]
    pub fn has_room(&self, window: usize) -> bool {
        self.is_open() && self.in_flight.len() < window && self.output.len() < MOST_OUTPUT
    }

    /// Whether bytes of the broker may be read: not while it does not take what they are answered with.
    #[must_use]
    pub fn may_receive(&self) -> bool {
        self.output.len() < MOST_OUTPUT
    }

    /// Whether the broker has accepted the connection and it is not over.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.accepted_by.is_none() && !self.is_over
    }

    /// Whether every message was acknowledged.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Sends a message with QoS 1.
    pub fn publish(&mut self, message: Message, now: Instant) {
        let Ok(packet) = self.connection.acquire_packet_id() else {
            return self.close(LossCause::Internal, "no packet identifier is free");
        };
        let built = Publish::builder().topic_name(&*message.topic).and_then(|builder| {
            let builder = builder.qos(Qos::AtLeastOnce).retain(message.retained).packet_id(packet);
            builder.payload(message.payload.to_vec()).build()
        });
        match built {
            Ok(publish) => {
                self.in_flight.push_back(InFlight { packet, sent: now, message });
                let events = self.connection.checked_send(publish);
                self.apply(events, now);
            }
            Err(error) => self.close(LossCause::Protocol, describe(error)),
        }
    }

    /// Sends a message with QoS 0: nothing tells whether the broker has it.
    pub fn send(&mut self, message: &Message, now: Instant) {
        let built = Publish::builder().topic_name(&*message.topic).and_then(|builder| {
            builder.qos(Qos::AtMostOnce).retain(message.retained).payload(message.payload.to_vec()).build()
        });
        match built {
            Ok(publish) => {
                let events = self.connection.checked_send(publish);
                self.apply(events, now);
            }
            Err(error) => self.close(LossCause::Protocol, describe(error)),
        }
    }

    /// Subscribes to these filters.
    pub fn subscribe(&mut self, filters: &[String], qos: Qos, now: Instant) {
        let Ok(packet) = self.connection.acquire_packet_id() else { return };
        let options = SubOpts::new().set_qos(qos);
        let entries: Result<Vec<_>, _> =
            filters.iter().map(|filter| SubEntry::new(filter.as_str(), options)).collect();
        let built =
            entries.and_then(|entries| Subscribe::builder().packet_id(packet).entries(entries).build());
        match built {
            Ok(subscribe) => {
                let events = self.connection.checked_send(subscribe);
                self.apply(events, now);
            }
            Err(error) => self.close(LossCause::Protocol, describe(error)),
        }
    }

    /// Ends the subscription to these filters.
    pub fn unsubscribe(&mut self, filters: &[String], now: Instant) {
        let Ok(packet) = self.connection.acquire_packet_id() else { return };
        let built = Unsubscribe::builder()
            .packet_id(packet)
            .entries(filters.iter().map(String::as_str))
            .and_then(|builder| builder.build());
        match built {
            Ok(unsubscribe) => {
                let events = self.connection.checked_send(unsubscribe);
                self.apply(events, now);
            }
            Err(error) => self.close(LossCause::Protocol, describe(error)),
        }
    }

    /// Sends the DISCONNECT, after which the broker does not publish the will.
    pub fn disconnect(&mut self, now: Instant) {
        let events = self.connection.checked_send(Disconnect::new());
        self.apply(events, now);
    }

    /// What was sent and not acknowledged, in the order in which it was sent.
    pub fn take_in_flight(&mut self) -> VecDeque<Message> {
        mem::take(&mut self.in_flight).into_iter().map(|sent| sent.message).collect()
    }

    fn apply(&mut self, events: Vec<Event>, now: Instant) {
        for event in events {
            match event {
                Event::NotifyPacketReceived(packet) => self.receive(packet, now),
                Event::RequestSendPacket { packet, release_packet_id_if_send_error: _ } => {
                    self.output.extend(packet.to_continuous_buffer());
                }
                Event::RequestTimerReset { kind, duration_ms } => {
                    self.set_timer(kind, Some(now + Duration::from_millis(duration_ms)));
                }
                Event::RequestTimerCancel(kind) => self.set_timer(kind, None),
                Event::NotifyError(error) => self.close(LossCause::Protocol, describe(error)),
                Event::RequestClose => self.is_over = true,
                Event::NotifyPacketIdReleased(_) => {}
            }
        }
        if self.is_over {
            self.close(LossCause::Protocol, "the broker broke the protocol");
        }
    }

    fn set_timer(&mut self, kind: TimerKind, at: Option<Instant>) {
        match kind {
            TimerKind::PingreqSend => self.timers.ping = at,
            TimerKind::PingrespRecv => self.timers.pong = at,
            // A server's.
            TimerKind::PingreqRecv => {}
        }
    }

    fn receive(&mut self, packet: Packet, now: Instant) {
        if let Packet::V3_1_1Puback(puback) = &packet {
            let at = self.in_flight.iter().position(|sent| sent.packet == puback.packet_id());
            if let Some(sent) = at.and_then(|at| self.in_flight.remove(at)) {
                self.events.push_back(SessionEvent::Acknowledged(sent.message));
                return;
            }
        }
        if self.unsolicited.is_too_many(now) {
            return self.close(LossCause::Protocol, "the broker sends packets without end");
        }
        if let Packet::V3_1_1Connack(connack) = &packet {
            self.receive_connack(connack);
        } else if let Packet::V3_1_1Publish(publish) = &packet {
            self.receive_publish(publish);
        } else if let Packet::V3_1_1Suback(suback) = &packet {
            self.receive_suback(suback);
        }
    }

    fn receive_connack(&mut self, connack: &Connack) {
        if self.accepted_by.is_none() {
            self.close(
                LossCause::Protocol,
                "the broker broke the protocol: it accepted the connection twice",
            );
        } else if connack.return_code() == ConnectReturnCode::Accepted {
            self.accepted_by = None;
            self.events.push_back(SessionEvent::Connected);
        } else {
            let (cause, why) = describe_refusal(connack.return_code());
            self.close(cause, why);
        }
    }

    fn receive_publish(&mut self, publish: &Publish) {
        self.events.push_back(SessionEvent::Received {
            topic: publish.topic_name().to_owned(),
            payload: publish.payload().as_slice().to_vec(),
            is_retained: publish.retain(),
        });
    }

    fn receive_suback(&mut self, suback: &Suback) {
        if suback.return_codes().iter().any(|code| code.is_failure()) {
            self.events.push_back(SessionEvent::NotSubscribed);
        }
    }

    fn close(&mut self, cause: LossCause, why: impl Into<String>) {
        let has_told = matches!(self.events.back(), Some(SessionEvent::Closed(_)));
        self.is_over = true;
        if !has_told {
            self.events.push_back(SessionEvent::Closed(Loss::new(cause, why)));
        }
    }
}

impl Unsolicited {
    /// Counts one more.
    fn is_too_many(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) >= HOUR {
            (self.since, self.count) = (now, 0);
        }
        self.count += 1;
        self.count > self.most
    }
}

/// The message that the gateway is off-line: the will, and what precedes a DISCONNECT.
pub(super) fn goodbye(settings: &BrokerSettings) -> Message {
    Message {
        topic: settings.status_topic.as_str().into(),
        payload: Bytes::from_static(OFFLINE.as_bytes()),
        retained: true,
        begun: None,
    }
}

fn connect(settings: &BrokerSettings, will: &Message) -> Result<Connect, MqttError> {
    let mut builder = Connect::builder()
        .client_id(settings.client_id.as_str())?
        .clean_session(true)
        .keep_alive(KEEP_ALIVE)
        .will_message(&*will.topic, will.payload.to_vec(), Qos::AtLeastOnce, will.retained)?;
    if let Some(Credentials { username, password }) = &settings.credentials {
        builder = builder.user_name(username.as_str())?;
        if let Some(password) = password {
            builder = builder.password(password.as_bytes().to_vec())?;
        }
    }
    builder.build()
}

fn describe_refusal(code: ConnectReturnCode) -> (LossCause, &'static str) {
    match code {
        ConnectReturnCode::Accepted => (LossCause::Protocol, "accepted"),
        ConnectReturnCode::UnacceptableProtocolVersion => {
            (LossCause::NotMqtt, "the broker does not speak MQTT 3.1.1")
        }
        ConnectReturnCode::IdentifierRejected => {
            (LossCause::ClientId, "the broker refuses the client identifier; set another with `client_id`")
        }
        ConnectReturnCode::ServerUnavailable => {
            (LossCause::Unavailable, "the broker says that it is not available")
        }
        ConnectReturnCode::BadUserNameOrPassword => (
            LossCause::Credentials,
            "the broker refuses the user name or the password; check `username` and `password_file`",
        ),
        ConnectReturnCode::NotAuthorized => (
            LossCause::NotAuthorized,
            "the broker does not let this client in; check `username`, `password_file` and the broker's ACL",
        ),
    }
}

fn describe(error: MqttError) -> String {
    if error == MqttError::MalformedPacket {
        "the broker sent what is no MQTT packet".to_owned()
    } else if error == MqttError::PacketTooLarge {
        format!("the broker sent a packet of more than {LARGEST_PACKET} bytes")
    } else {
        format!("the broker broke the protocol: {error}")
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What the status topic says once the connection is gone.
const OFFLINE: &str = "offline";

/// Seconds without a packet of ours, after which a PINGREQ is sent. A broker that misses it half as long again publishes
/// the will: `offline` is seen after 45 s at most.
const KEEP_ALIVE: u16 = 30;

/// How long the answer to a CONNECT or a PINGREQ may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an acknowledgement may take.
const ACKNOWLEDGE_TIMEOUT: Duration = Duration::from_secs(30);

/// The first byte of a CONNACK, which precedes everything else.
const CONNACK: u8 = 0x20;

/// Messages in flight.
pub(super) const WINDOW: usize = 32;

/// Bytes that wait for the socket, above which nothing is added.
const MOST_OUTPUT: usize = 64 * 1024;

/// Largest packet of a broker: what this gateway publishes itself is far smaller.
const LARGEST_PACKET: u32 = 256 * 1024;

/// Packets of the broker in an hour that answer nothing, beside the retained messages of this gateway: what is left over
/// from earlier configurations, and the answers to pings.
const MOST_UNSOLICITED: usize = 100_000;

/// The time over which they are counted.
const HOUR: Duration = Duration::from_secs(60 * 60);
