//! Traffic as a pcapng file: both sides of the gateway, each listener and each bus an interface of its own.
//!
//! Owns the order of packets and their comments. It reads no clock and writes to nothing: events in, bytes out, and the
//! bytes of the events so far are a valid file at any point.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::BytesMut;

use super::frame::{self, LineEnd};
use super::pcapng::{self, LinkType};
use super::segment::{self, SequenceNumbers};
use crate::endpoint::{DevicePath, Endpoint};
use crate::line::{BusId, Cause, Received, ReceivedPart, Record, SegmentKind, Stray, Target, Transaction};
use crate::modbus::{AduFraming, rtu};
use crate::traffic::{Link, Message, Sender, Served, TrafficEvent, TrafficKind, UnitDirectory};

/// A file being written.
#[derive(Debug, Default)]
pub struct Capture {
    interfaces: u32,
    listeners: BTreeMap<(SocketAddr, AduFraming), u32>,
    serial_clients: BTreeMap<DevicePath, LineInterface>,
    buses: BTreeMap<BusId, LineInterface>,
    connections: BTreeMap<u64, SequenceNumbers>,
}

/// A line in the file.
#[derive(Clone, Copy, Debug)]
struct LineInterface {
    interface: u32,
    framing: AduFraming,
    /// Number in its synthetic addresses, from 1.
    number: u8,
}

impl Capture {
    /// The head of the file, which comes first.
    #[must_use]
    pub fn head() -> Vec<u8> {
        let mut out = Vec::new();
        pcapng::section(&mut out, concat!("metergate ", env!("CARGO_PKG_VERSION")));
        out
    }

    /// The packets of one event, in the order of their times. A bus is called as `names` has it when its first packet is
    /// written.
    #[must_use]
    pub fn encode(&mut self, event: &TrafficEvent, names: &UnitDirectory) -> Vec<u8> {
        let mut out = Vec::new();
        match &event.kind {
            TrafficKind::Client(message) => self.encode_message(event, message, &mut out),
            TrafficKind::Line { bus, record } => {
                let bus = self.bus(*bus, record.framing(), names, &mut out);
                let mut packets = Vec::new();
                match &**record {
                    Record::Transaction(transaction) => transaction_packets(transaction, &mut packets),
                    Record::Stray(stray) => stray_packets(stray, &mut packets),
                }
                for Packet { at, from, to, bytes, comment } in packets {
                    let bytes = frame::packet(bus.framing, bus.number, from, to, bytes);
                    let comment = (!comment.is_empty()).then(|| comment.join("; "));
                    pcapng::packet(&mut out, bus.interface, event.wall(at), &bytes, comment.as_deref());
                }
            }
        }
        out
    }

    /// A packet, on the last interface, whose comment states that `lost` events are missing because the follower was
    /// too slow.
    #[must_use]
    pub fn encode_loss(&self, lost: u64, last: &TrafficEvent) -> Vec<u8> {
        let mut out = Vec::new();
        if let Some(interface) = self.interfaces.checked_sub(1) {
            let comment = format!("{lost} events are missing here: the reader was too slow");
            pcapng::packet(&mut out, interface, last.begun(), &[], Some(&comment));
        }
        out
    }

    fn encode_message(&mut self, event: &TrafficEvent, message: &Message, out: &mut Vec<u8>) {
        match (&message.link.client, &message.link.listener) {
            (Endpoint::Tcp(client), Endpoint::Tcp(listener)) => {
                self.encode_tcp(event, message, (*client, *listener), out);
            }
            (_, Endpoint::Serial(device)) | (Endpoint::Serial(device), _) => {
                self.encode_serial(event, message, device, out);
            }
        }
    }

    /// The ADU as it is on the line of a serial client.
    fn encode_serial(
        &mut self,
        event: &TrafficEvent,
        message: &Message,
        device: &DevicePath,
        out: &mut Vec<u8>,
    ) {
        let line = self.serial_client(device, out);
        let unit = LineEnd::Unit(message.adu.unit);
        let (from, to, comment) = match &message.sender {
            Sender::Client => (LineEnd::Requester, unit, None),
            Sender::Gateway { served, .. } => (unit, LineEnd::Requester, answer_source(*served)),
        };
        let bytes = rtu::encode(message.adu.unit, &message.adu.pdu);
        let bytes = frame::packet(line.framing, line.number, from, to, &bytes);
        pcapng::packet(out, line.interface, event.wall(message.at), &bytes, comment);
    }

    fn encode_tcp(
        &mut self,
        event: &TrafficEvent,
        message: &Message,
        (client, listener): (SocketAddr, SocketAddr),
        out: &mut Vec<u8>,
    ) {
        let Link { framing, connection, .. } = *message.link;
        let interface = self.listener(listener, framing, out);
        // The dissector detects Modbus/TCP by this port; the real one is in the interface's name.
        let server = SocketAddr::new(listener.ip(), MODBUS_PORT);
        let mut data = BytesMut::new();
        message.adu.encode(&mut data);
        let length = u32::try_from(data.len()).unwrap_or_default();
        if self.connections.len() >= CONNECTIONS_MAX && !self.connections.contains_key(&connection) {
            self.connections.pop_first();
        }
        let progress = self.connections.entry(connection).or_default();
        let (bytes, comment) = match &message.sender {
            Sender::Client => {
                let bytes = segment::packet(client, server, progress.client, progress.gateway, &data);
                progress.client = progress.client.wrapping_add(length);
                (bytes, None)
            }
            Sender::Gateway { served, .. } => {
                let bytes = segment::packet(server, client, progress.gateway, progress.client, &data);
                progress.gateway = progress.gateway.wrapping_add(length);
                (bytes, answer_source(*served))
            }
        };
        pcapng::packet(out, interface, event.wall(message.at), &bytes, comment);
    }

    fn listener(&mut self, address: SocketAddr, framing: AduFraming, out: &mut Vec<u8>) -> u32 {
        if let Some(&interface) = self.listeners.get(&(address, framing)) {
            return interface;
        }
        let mut description = match framing {
            AduFraming::Tcp => String::from("Modbus/TCP"),
            // There is no port by which the dissector detects RTU over TCP.
            AduFraming::Rtu => {
                String::from("RTU over TCP shown as Modbus/TCP, synthetic transaction identifiers")
            }
        };
        if address.port() != MODBUS_PORT {
            let _ = write!(description, ", port {} shown as {MODBUS_PORT}", address.port());
        }
        pcapng::interface(out, LinkType::RawIp, &format!("listener {address}"), &description);
        let interface = self.next_interface();
        self.listeners.insert((address, framing), interface);
        interface
    }

    fn serial_client(&mut self, device: &DevicePath, out: &mut Vec<u8>) -> LineInterface {
        if let Some(&line) = self.serial_clients.get(device) {
            return line;
        }
        let number = self.next_line();
        let description = format!("Modbus RTU, the client is 0.0.{number}.0, units are 0.0.{number}.UNIT");
        pcapng::interface(out, LinkType::UpperPdu, &format!("serial client {device}"), &description);
        let line = LineInterface { interface: self.next_interface(), framing: AduFraming::Rtu, number };
        self.serial_clients.insert(device.clone(), line);
        line
    }

    fn bus(
        &mut self,
        id: BusId,
        framing: AduFraming,
        names: &UnitDirectory,
        out: &mut Vec<u8>,
    ) -> LineInterface {
        let known = self.buses.get(&id).copied();
        // A reload may lead a bus from a line to a Modbus TCP server.
        if let Some(bus) = known.filter(|bus| bus.framing == framing) {
            return bus;
        }
        let number = known.map_or_else(|| self.next_line(), |bus| bus.number);
        let protocol = match framing {
            AduFraming::Tcp => "Modbus/TCP",
            AduFraming::Rtu => "Modbus RTU",
        };
        let description = format!("{protocol}, units are 0.0.{number}.UNIT");
        pcapng::interface(out, LinkType::UpperPdu, &format!("bus {}", names.bus(id)), &description);
        let bus = LineInterface { interface: self.next_interface(), framing, number };
        self.buses.insert(id, bus);
        bus
    }

    fn next_line(&self) -> u8 {
        u8::try_from(self.buses.len() + self.serial_clients.len() + 1).unwrap_or(u8::MAX)
    }

    fn next_interface(&mut self) -> u32 {
        self.interfaces += 1;
        self.interfaces - 1
    }
}

/// Bytes on a line.
struct Packet<'r> {
    at: Instant,
    from: LineEnd,
    to: LineEnd,
    bytes: &'r [u8],
    comment: Vec<String>,
}

/// The request when it began to be sent, and the received bytes, each part when it began to arrive.
fn transaction_packets<'r>(transaction: &'r Transaction, packets: &mut Vec<Packet<'r>>) {
    let unit = match transaction.target {
        Target::Unit(unit) => LineEnd::Unit(unit.get()),
        Target::Broadcast => LineEnd::Unknown,
    };
    let mut comment = Vec::new();
    match transaction.cause {
        Cause::Client => {}
        Cause::Background => comment.push("read on the gateway's own account".to_owned()),
        Cause::Probe => comment.push("probe of an off-line unit".to_owned()),
        Cause::EchoCheck => comment.push("read to find out whether the adapter echoes".to_owned()),
    }
    if transaction.attempt > 1 {
        comment.push(format!("attempt {}", transaction.attempt));
    }
    if !transaction.outcome.is_good() {
        comment.push(transaction.outcome.to_string());
    }
    packets.push(Packet {
        at: transaction.sent_at,
        from: LineEnd::Requester,
        to: unit,
        bytes: &transaction.request,
        comment,
    });
    for part in transaction.received.parts() {
        // The rest of a damaged answer most likely came from the addressed unit.
        let mut packet = part_packet(&part, transaction.framing, unit, transaction.ended_at);
        if part.kind.is_none() && !transaction.outcome.is_good() {
            packet.comment = vec![transaction.outcome.to_string()];
        }
        packets.push(packet);
    }
    comment_cut(&transaction.received, packets);
}

fn stray_packets<'r>(stray: &'r Stray, packets: &mut Vec<Packet<'r>>) {
    let parts = stray.received.parts();
    packets
        .extend(parts.iter().map(|part| part_packet(part, stray.framing, LineEnd::Unknown, stray.ended_at)));
    comment_cut(&stray.received, packets);
}

fn part_packet<'r>(
    part: &ReceivedPart<'r>,
    framing: AduFraming,
    unit: LineEnd,
    ended_at: Instant,
) -> Packet<'r> {
    let head = framing.unit_of(part.bytes).unwrap_or_default();
    let (from, to, comment) = match part.kind {
        Some(SegmentKind::Answer) => (unit, LineEnd::Requester, None),
        Some(SegmentKind::Echo) => (LineEnd::Requester, unit, Some("handed back by the adapter")),
        Some(SegmentKind::Foreign) => {
            (LineEnd::Unit(head), LineEnd::Requester, Some("answers nothing asked"))
        }
        Some(SegmentKind::Late(unit)) => (LineEnd::Unit(unit.get()), LineEnd::Requester, Some("late answer")),
        None => (unit, LineEnd::Requester, Some("noise")),
    };
    let comment = comment.map(str::to_owned).into_iter().collect();
    Packet { at: part.at.unwrap_or(ended_at), from, to, bytes: part.bytes, comment }
}

fn comment_cut(received: &Received, packets: &mut [Packet<'_>]) {
    if let Some(last) = packets.last_mut().filter(|_| received.is_cut()) {
        last.comment.push(format!("{} bytes came, the rest is not kept", received.total));
    }
}

/// The source of an answer, which the client cannot see.
fn answer_source(served: Served) -> Option<&'static str> {
    match served {
        Served::Unit => None,
        Served::Snapshot => Some("answered from the snapshot"),
        Served::Diagnostics => Some("answered by the diagnostics unit"),
        Served::Refused => Some("answered by the gateway"),
        Served::Acknowledged => Some("acknowledged by the gateway for all units"),
    }
}

/// The port of Modbus/TCP.
const MODBUS_PORT: u16 = 502;

/// Connections whose sequence numbers are remembered; those of a forgotten one start again.
const CONNECTIONS_MAX: usize = 16_384;
