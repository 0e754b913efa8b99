//! Traffic as a pcapng file: a run with every function and fault, read back by a reader of its own.
//!
//! With `METERGATE_CAPTURE` set the file is left there: `tests/peers` has tshark judge it.

use std::collections::BTreeMap;
use std::time::Duration;

use metergate::capture::Capture;
use metergate::line::BusId;
use metergate::modbus::{AduFraming, rtu};
use metergate::server::{Broadcast, ListenerSettings, Writes};
use metergate::traffic::{PASSING_PER_SECOND, TrafficEvent, TrafficKind, UnitDirectory};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::captured::{Act, Rig, told};
use crate::support::clients::{READ, bytes_of, settings};
use crate::support::pcapng::{self, File};

/// A request of each function, and what a unit says to it.
const FUNCTIONS: &[(&[u8], &[u8])] = &[
    (&[0x01, 0, 0, 0, 10], &[0x01, 2, 0x55, 0x01]),
    (&[0x02, 0, 0, 0, 3], &[0x02, 1, 0x05]),
    (&[0x03, 1, 0, 0, 2], &[0x03, 4, 1, 2, 3, 4]),
    (&[0x04, 1, 0, 0, 1], &[0x04, 2, 0, 9]),
    (&[0x05, 0, 3, 0xFF, 0], &[0x05, 0, 3, 0xFF, 0]),
    (&[0x06, 0, 3, 0, 7], &[0x06, 0, 3, 0, 7]),
    (&[0x08, 0, 0, 0xA5, 0x37], &[0x08, 0, 0, 0xA5, 0x37]),
    (&[0x0F, 0, 0, 0, 10, 2, 0xFF, 0x01], &[0x0F, 0, 0, 0, 10]),
    (&[0x10, 0, 1, 0, 2, 4, 0, 1, 0, 2], &[0x10, 0, 1, 0, 2]),
    (&[0x14, 7, 6, 0, 4, 0, 1, 0, 2], &[0x14, 6, 5, 6, 0, 1, 0, 2]),
    (&[0x15, 9, 6, 0, 4, 0, 7, 0, 1, 6, 0xAF], &[0x15, 9, 6, 0, 4, 0, 7, 0, 1, 6, 0xAF]),
    (&[0x16, 0, 4, 0, 0xF2, 0, 0x25], &[0x16, 0, 4, 0, 0xF2, 0, 0x25]),
    (&[0x17, 0, 3, 0, 1, 0, 14, 0, 1, 2, 0, 0xFF], &[0x17, 2, 0, 0xFE]),
    (&[0x18, 4, 0xDE], &[0x18, 0, 6, 0, 2, 1, 0xB8, 0x12, 0x84]),
    (&[0x2B, 0x0E, 1, 0], &[0x2B, 0x0E, 1, 1, 0, 0, 1, 0, 3, b'A', b'B', b'C']),
    // Too short on the line for some dissectors.
    (&[0x07], &[0x07, 0x6D]),
    (&[0x0B], &[0x0B, 0, 0, 1, 8]),
    (&[0x0C], &[0x0C, 8, 0, 0, 1, 8, 1, 0x21, 0x20, 0]),
    (&[0x11], &[0x11, 3, 0x42, 0xFF, 1]),
];

fn damaged(pdu: &[u8]) -> Vec<u8> {
    let mut adu = rtu::encode(1, pdu).to_vec();
    adu[3] ^= 0x10;
    adu
}

fn encode(events: &[std::sync::Arc<TrafficEvent>]) -> Vec<u8> {
    let mut names = UnitDirectory::default();
    names.insert(BusId(0), "riser-a", BTreeMap::new());
    let mut capture = Capture::default();
    let mut bytes = Capture::head();
    for event in events {
        bytes.extend(capture.encode(event, &names));
    }
    bytes
}

/// Everything a line and a client can do to each other.
async fn run() -> (Rig, Vec<u8>) {
    let listener = ListenerSettings {
        writes: Writes::Allow,
        broadcast: Broadcast::Acknowledge,
        max_age: Duration::from_secs(5),
        ..settings()
    };
    let mut rig = Rig::start(listener);
    let mut first = rig.connect("10.0.0.5:40001", "10.0.0.1:502");
    let mut other = rig.connect("[2001:db8::5]:40002", "[2001:db8::1]:5020");
    let (kept, follower) = rig.traffic.follow();
    assert!(kept.is_empty());
    for (request, reply) in FUNCTIONS {
        rig.script(request, [Act::Reply(reply.to_vec())]);
        assert_eq!(first.ask(1, request).await.unwrap()[..], **reply, "{request:02X?}");
    }
    // The same registers again: from the snapshot.
    rig.script(READ, [Act::Reply(vec![3, 4, 1, 2, 3, 4])]);
    for _ in 0..2 {
        assert_eq!(other.ask(2, READ).await.unwrap()[..2], [3, 4]);
    }
    // Faults, each followed by a good answer to the further attempt where there is one.
    let good = || Act::Reply(vec![3, 4, 0, 0, 0, 1]);
    let read = |start: u8| [3, 2, start, 0, 2];
    rig.script(&read(1), [Act::Raw(damaged(&[3, 4, 0, 0, 0, 1])), good()]);
    first.ask(1, &read(1)).await.unwrap();
    rig.script(&read(2), [Act::Raw(rtu::encode(1, &[3, 4, 0, 0, 0, 1])[..5].to_vec()), good()]);
    first.ask(1, &read(2)).await.unwrap();
    let foreign =
        [&[0xFF, 0][..], &rtu::encode(9, &[3, 2, 0, 1]), &rtu::encode(1, &[3, 4, 0, 0, 0, 1])].concat();
    rig.script(&read(3), [Act::Raw(foreign)]);
    first.ask(1, &read(3)).await.unwrap();
    rig.script(&read(4), [Act::Reply(vec![0x83, 2])]);
    assert_eq!(first.ask(1, &read(4)).await.unwrap()[..], [0x83, 2]);
    rig.script(&[6, 0, 1, 0x12, 0x34], [Act::Late(vec![6, 0, 1, 0x12, 0x34])]);
    assert_eq!(first.ask(1, &[6, 0, 1, 0x12, 0x34]).await.unwrap()[..], [0x86, 0x0B]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    // Refused without a line, and told to all units.
    assert_eq!(other.ask(77, READ).await.unwrap()[..], [0x83, 0x0A]);
    assert_eq!(other.ask(0, &[6, 0, 1, 0, 1]).await.unwrap()[..], [6, 0, 1, 0, 1]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let bytes = encode(&told(follower).await);
    (rig, bytes)
}

#[tokio::test(start_paused = true)]
async fn a_file_holds_every_byte_of_both_sides_under_the_right_name_and_time() {
    let (rig, bytes) = run().await;
    if let Some(path) = std::env::var_os("METERGATE_CAPTURE") {
        std::fs::write(path, &bytes).unwrap();
    }
    let file = File::read(&bytes);
    let told = |interface: &pcapng::Interface| (interface.name.clone(), interface.link_type);
    let interfaces: Vec<_> = file.interfaces.iter().map(told).collect();
    let named = |name: &str, link_type| (name.to_owned(), link_type);
    let expected = [
        named("listener 10.0.0.1:502", 101),
        named("bus riser-a", 252),
        named("listener [2001:db8::1]:5020", 101),
    ];
    assert_eq!(interfaces, expected);
    assert!(file.interfaces[2].description.contains("port 5020 shown as 502"));

    let heard = rig.heard.lock().unwrap();
    let on_line = file.of("bus riser-a");
    let (mut requests, mut answers) = (Vec::new(), Vec::new());
    for packet in &on_line {
        let (tags, frame) = packet.exported();
        assert!(tags.contains(&(12, b"mbrtu\0\0\0".to_vec())), "{tags:?}");
        let from_gateway = tags.contains(&(20, vec![0, 0, 1, 0]));
        if from_gateway { requests.push(frame.to_vec()) } else { answers.extend_from_slice(frame) }
    }
    assert_eq!(requests, heard.requests);
    assert_eq!(answers, heard.answers.concat());

    let on_tcp = file.of("listener 10.0.0.1:502");
    let (request, _) = FUNCTIONS[2];
    let first_read = on_tcp.iter().find(|packet| packet.data[40..] == bytes_of(0xA5C3, 1, request)).unwrap();
    assert_eq!(&first_read.data[12..20], [10, 0, 0, 5, 10, 0, 0, 1]);
    assert_eq!(&first_read.data[20..24], [0x9C, 0x41, 0x01, 0xF6]);
    // The answer came 20 ms after the request was on the pipe, both on the line and to the client.
    let sent = on_line.iter().find(|packet| packet.exported().1 == rtu::encode(1, request)).unwrap();
    let answered =
        on_line.iter().find(|packet| packet.exported().1 == rtu::encode(1, FUNCTIONS[2].1)).unwrap();
    assert!((20_000_000..22_000_000).contains(&(answered.at - sent.at)), "{}", answered.at - sent.at);
    assert!(first_read.at <= sent.at && sent.at < first_read.at + 600_000_000);
}

#[tokio::test(start_paused = true)]
async fn failures_are_described_in_words() {
    let (_rig, bytes) = run().await;
    let file = File::read(&bytes);
    let comments: Vec<&str> = file.packets.iter().filter_map(|packet| packet.comment.as_deref()).collect();
    for expected in [
        "wrong CRC",
        "the answer broke off",
        "attempt 2",
        "no answer",
        "late answer",
        "answers nothing asked",
        "noise",
        "answered from the snapshot",
        "answered by the gateway",
        "acknowledged by the gateway for all units",
    ] {
        assert!(comments.contains(&expected), "{expected} is not among {comments:?}");
    }
    let plain = file.packets.len() - comments.len();
    assert!(plain >= 4 * FUNCTIONS.len(), "what went well needs no words");
}

#[tokio::test(start_paused = true)]
async fn the_numbers_of_a_connection_lead_from_one_segment_to_the_next() {
    let (_rig, bytes) = run().await;
    let file = File::read(&bytes);
    for name in ["listener 10.0.0.1:502", "listener [2001:db8::1]:5020"] {
        let (mut ours, mut theirs) = (1, 1);
        for packet in file.of(name) {
            let tcp = if packet.data[0] >> 4 == 4 { &packet.data[20..] } else { &packet.data[40..] };
            let number = |at: usize| u32::from_be_bytes(tcp[at..at + 4].try_into().unwrap());
            let length = u32::try_from(tcp.len() - 20).unwrap();
            let (own, other) =
                if tcp[2..4] == [0x01, 0xF6] { (&mut theirs, &mut ours) } else { (&mut ours, &mut theirs) };
            assert_eq!((number(4), number(8)), (*own, *other), "{name}");
            *own += length;
        }
        assert!(ours > 1 && theirs > 1);
    }
}

#[tokio::test(start_paused = true)]
async fn rtu_over_tcp_is_shown_as_modbus_tcp_with_synthetic_identifiers() {
    let mut rig = Rig::start(ListenerSettings { framing: AduFraming::Rtu, ..settings() });
    let mut stream = rig.connect("10.0.0.5:40001", "10.0.0.1:2101").stream;
    let reply = [3, 4, 1, 2, 3, 4];
    rig.script(READ, [Act::Reply(reply.to_vec())]);
    for _ in 0..2 {
        stream.write_all(&rtu::encode(1, READ)).await.unwrap();
        let mut received = [0; 9];
        stream.read_exact(&mut received).await.unwrap();
        assert_eq!(received[..], rtu::encode(1, &reply)[..]);
    }
    let file = File::read(&encode(&rig.traffic.kept()));
    let listener = file.interfaces.iter().find(|one| one.name == "listener 10.0.0.1:2101").unwrap();
    let expected =
        "RTU over TCP shown as Modbus/TCP, synthetic transaction identifiers, port 2101 shown as 502";
    assert_eq!(listener.description, expected);
    let shown: Vec<_> = file.of(&listener.name).iter().map(|packet| packet.data[40..].to_vec()).collect();
    let expected = [(1, READ), (1, &reply), (2, READ), (2, &reply)];
    assert_eq!(shown, expected.map(|(transaction, pdu)| bytes_of(transaction, 1, pdu).to_vec()));
}

#[tokio::test(start_paused = true)]
async fn reads_from_the_snapshot_reach_followers_and_take_no_room_from_what_is_kept() {
    let listener = ListenerSettings { max_age: Duration::from_secs(5), ..settings() };
    let mut rig = Rig::start(listener);
    let mut peer = rig.connect("10.0.0.5:40001", "10.0.0.1:502");
    rig.script(READ, [Act::Reply(vec![3, 4, 1, 2, 3, 4])]);
    peer.ask(1, READ).await.unwrap();
    // Asked, sent, answered.
    assert_eq!(rig.traffic.kept().len(), 3);
    peer.ask(1, READ).await.unwrap();
    let (kept, follower) = rig.traffic.follow();
    assert_eq!(kept.len(), 3);
    for _ in 0..PASSING_PER_SECOND + 10 {
        peer.ask(1, READ).await.unwrap();
    }
    let told = told(follower).await;
    let both_sides = usize::try_from(2 * PASSING_PER_SECOND).unwrap();
    assert_eq!(told.len(), both_sides, "each with its answer, and no more of one second");
    assert_eq!(told[0].number, 4);
    assert!(told.iter().all(|event| matches!(event.kind, TrafficKind::Client(_))));
    assert_eq!(rig.traffic.kept().len(), 3, "what was kept is still there, and nothing else");
}
