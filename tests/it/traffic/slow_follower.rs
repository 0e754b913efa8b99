//! A follower over HTTP that does not read: it gets the number of missed events, and costs the line nothing.
//!
//! The built program, a unit on a pseudo terminal, and a follower whose kernel takes little on its behalf.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};

use metergate::traffic::FOLLOWER_EVENTS;
use socket2::{Domain, Socket, Type};

use crate::support::clients::Peer;
use crate::support::counter_unit::CounterUnit;
use crate::support::page::PATIENCE;
use crate::support::pcapng::File;
use crate::support::program::{Folder, Program};

/// A unit, the gateway before it, and a client that has its line to itself.
struct Site {
    _unit: CounterUnit,
    _folder: Folder,
    _gateway: Program,
    page: SocketAddr,
    client: Peer<tokio::net::TcpStream>,
}

impl Site {
    async fn start() -> Self {
        let unit = CounterUnit::start();
        let folder = Folder::new();
        let text = format!(
            "listeners: [{{address: '127.0.0.1:0'}}]\nbuses:\n  - {{name: riser, device: {}, baud_rate: 115200, \
             echo: off, response_timeout: 2s, late_guard: 10ms, units: [{{id: 1}}]}}\n\
             status: {{address: '127.0.0.1:0'}}\n",
            unit.device().display()
        );
        let file = folder.write("metergate.yaml", &text);
        let mut gateway = Program::start(["run".as_ref(), "--config".as_ref(), file.as_os_str()]);
        let (modbus, page) = (gateway.listening(), gateway.status_page());
        gateway.line_with("port open");
        let client = Peer::new(tokio::net::TcpStream::connect(modbus).await.unwrap());
        Self { _unit: unit, _folder: folder, _gateway: gateway, page, client }
    }

    /// Opens an answer that has no end, and reads as far as its body.
    fn follow(&self, path: &str) -> BufReader<TcpStream> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(1).unwrap();
        // What the sender's kernel takes grows with the size of the segments.
        socket.set_tcp_mss(536).unwrap();
        socket.connect(&self.page.into()).unwrap();
        let mut stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // By HTTP/1.0 a body is no chunks.
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.page).unwrap();
        let mut body = BufReader::new(stream);
        let mut line = String::new();
        body.read_line(&mut line).unwrap();
        assert_eq!(line, "HTTP/1.0 200 OK\r\n");
        while line != "\r\n" {
            line.clear();
            body.read_line(&mut line).unwrap();
        }
        body
    }

    /// More transactions than a follower may be behind and the kernel takes for it: all of them are answered.
    async fn ask_on_and_on(&mut self) {
        for _ in 0..TRANSACTIONS {
            let reply = self.client.ask(1, &[0x03, 0, 0, 0, 120]).await.unwrap();
            assert_eq!((reply[0], reply[1], reply.len()), (0x03, 240, 242), "{reply:02x?}");
        }
    }

    /// One more, whose answer is [`LAST`] and no other's.
    async fn ask_last(&mut self) {
        assert_eq!(self.client.ask(1, &[0x03, 0, 200, 0, 3]).await.unwrap()[..], LAST);
    }
}

#[tokio::test]
async fn a_slow_trace_reports_how_many_events_it_missed_and_continues() {
    let mut site = Site::start().await;
    let mut trace = site.follow("/api/v1/trace?kept=1");
    site.ask_on_and_on().await;
    let (mut told, mut lost) = (0, 0);
    let mut line = String::new();
    loop {
        line.clear();
        assert_ne!(trace.read_line(&mut line).unwrap(), 0, "it ended");
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        if event["kind"] == "lost" {
            if lost == 0 {
                site.ask_last().await;
            }
            lost += event["events"].as_u64().unwrap();
            continue;
        }
        assert_eq!(event["number"].as_u64(), Some(told + lost + 1), "{event}");
        told += 1;
        if event["kind"] == "answer" && event["pdu"] == "0306000000000000" {
            break;
        }
    }
    assert!(lost > 0, "nothing was lost: the follower was not slow");
    assert_eq!(told + lost, EVENTS);
    assert!(told >= FOLLOWER_EVENTS as u64, "{told}: less than is kept for a slow follower");
}

#[tokio::test]
async fn a_slow_capture_reports_how_many_events_it_missed_and_continues() {
    let mut site = Site::start().await;
    let mut capture = site.follow("/capture.pcapng?seconds=600");
    site.ask_on_and_on().await;
    let mut file = File::default();
    // A transaction on the line is two packets, what a client or the gateway said to it is one.
    let (mut on_the_line, mut said, mut lost) = (0, 0, 0);
    loop {
        let before = file.packets.len();
        file.read_block(&mut capture);
        let Some(packet) = file.packets.get(before) else { continue };
        let missing = packet.comment.as_ref().and_then(|comment| comment.split_once(MISSING));
        if let Some((count, "")) = missing {
            assert!(packet.data.is_empty());
            if lost == 0 {
                site.ask_last().await;
            }
            lost += count.parse::<u64>().unwrap();
        } else if file.interfaces[packet.interface].name == "bus riser" {
            on_the_line += 1;
        } else {
            said += 1;
            if packet.data.ends_with(&LAST) {
                break;
            }
        }
    }
    assert!(lost > 0, "nothing was lost: the follower was not slow");
    assert_eq!((on_the_line % 2, on_the_line / 2 + said + lost), (0, EVENTS));
}

/// Before the last one.
const TRANSACTIONS: u64 = 600;

/// Of each transaction: the request, what was on the line, the answer.
const EVENTS: u64 = 3 * (TRANSACTIONS + 1);

/// The answer to three registers that hold zero.
const LAST: [u8; 8] = [0x03, 6, 0, 0, 0, 0, 0, 0];

/// The text of a capture about missing events, behind their number.
const MISSING: &str = " events are missing here: the reader was too slow";
