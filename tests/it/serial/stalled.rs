//! The bus task and the readers of its view: neither waits for the other.

use std::future;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use metergate::config::parse;
use metergate::line::{BusId, LineSettings, PortState, View};
use metergate::modbus::AduFraming;
use metergate::modbus::rtu;
use metergate::runtime::Timer;
use metergate::serial::{BusHandle, BusParts, OpenPort, PortDevice, bus_task};
use metergate::server::connection::ClientContext;
use metergate::server::{IdleTracker, ListenerSettings, Writes, connection};
use metergate::traffic::Link;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::support::clients::{self, Peer, WRITE, listening, settings, units};

/// One unit whose floats are read once an hour, on a line that hardly waits for late answers.
fn line() -> LineSettings {
    let text = "listeners: [{address: '127.0.0.1:0'}]\nbuses:\n  - name: riser\n    device: /nowhere\n    \
                echo: off\n    late_guard: 10ms\n    units: [{id: 1, profile: leviton-4000r, poll: 1h, blocks: [floats]}]\n";
    let loaded = parse(text, "m.yaml").unwrap_or_else(|problems| panic!("{problems}"));
    loaded.config.buses[0].line.clone()
}

/// A bus on these ports: what the operating system does when one is opened, each time anew.
fn start(open: impl FnMut() -> std::io::Result<DuplexStream> + Send + 'static) -> BusHandle {
    let (handle, requests) = BusHandle::new(BusId(0), "riser");
    let parts = BusParts::alone(line(), PortDevice::Path("pipe".into()), requests, Arc::clone(handle.view()));
    let mut open = open;
    let open = move |_| {
        let report = String::from("a pipe");
        let port = |stream| OpenPort { stream, report, line_errors: |_| None, discard: |_| {} };
        future::ready(open().map(port))
    };
    tokio::spawn(bus_task::run(parts, open, Timer::Coarse));
    handle
}

/// A client of a listener that takes data a minute old and allows writes.
fn connect(bus: &BusHandle) -> Peer<DuplexStream> {
    let settings = ListenerSettings { max_age: Duration::from_secs(60), writes: Writes::Allow, ..settings() };
    let (ours, theirs) = duplex(4096);
    let (reader, writer) = tokio::io::split(theirs);
    let closing = CancellationToken::new();
    let client = ClientContext {
        link: Arc::new(Link {
            identity: None,
            client: SocketAddr::from(([127, 0, 0, 1], 40000)).into(),
            listener: SocketAddr::from(([127, 0, 0, 1], 502)).into(),
            framing: AduFraming::Tcp,
            connection: 1,
        }),
        listener: listening(settings, vec![(bus.clone(), units([1]))]),
        idle: Arc::new(IdleTracker::new(Instant::now(), Instant::now(), closing)),
        log_limiter: Arc::default(),
    };
    tokio::spawn(connection::run(reader, writer, client));
    Peer::new(ours)
}

/// Takes the next read off the line and answers it with bytes that all hold `value`.
async fn serve(far: &mut DuplexStream, value: u8) {
    let mut adu = [0; 8];
    far.read_exact(&mut adu).await.expect("a request");
    let count = adu[5] * 2;
    let reply = [&[adu[1], count][..], &vec![value; usize::from(count)]].concat();
    far.write_all(&rtu::encode(adu[0], &reply)).await.expect("the bus listens");
}

/// Two floats of the block.
const READ: [u8; 5] = [3, 1, 0, 0, 4];

fn reply(value: u8) -> Bytes {
    Bytes::from([&[3, 8][..], &[value; 8]].concat())
}

/// Lets other tasks run until the bus has published what `wanted` waits for.
async fn published(bus: &BusHandle, wanted: impl Fn(&View) -> bool) {
    while !wanted(&bus.view().load()) {
        tokio::task::yield_now().await;
    }
}

fn blocks(view: &View) -> usize {
    view.units.iter().map(|unit| unit.snapshot.blocks().len()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_read_from_the_snapshot_is_answered_while_the_bus_task_stands_still() {
    let (near, mut far) = duplex(256);
    let (entered, is_entered) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let mut first = Some(near);
    let bus = start(move || match first.take() {
        Some(stream) => Ok(stream),
        None => {
            // The thread of the bus task is held here, as by a driver that does not come back.
            entered.send(()).ok();
            released.recv().ok();
            Err(std::io::ErrorKind::NotFound.into())
        }
    });
    serve(&mut far, 7).await;
    published(&bus, |view| blocks(view) == 1).await;
    let mut peer = connect(&bus);
    assert_eq!(peer.ask(1, &READ).await, Some(reply(7)));
    drop(far);
    tokio::task::block_in_place(|| is_entered.recv()).expect("the bus opens its port again");
    assert_eq!(bus.view().load().port, PortState::Closed);
    for _ in 0..100 {
        assert_eq!(peer.ask(1, &READ).await, Some(reply(7)), "with its port gone and its task held");
    }
    // It was blocked all the while; requests that need the bus are answered now.
    release.send(()).expect("the bus task waits");
    assert_eq!(peer.ask(1, WRITE).await, Some(Bytes::from_static(&[0x86, 0x0A])));
    drop(release);
}

#[tokio::test(start_paused = true)]
async fn readers_that_hold_what_was_published_do_not_hold_up_the_bus() {
    let (near, mut far) = duplex(256);
    let mut first = Some(near);
    let bus = start(move || first.take().ok_or_else(|| std::io::ErrorKind::NotFound.into()));
    serve(&mut far, 0).await;
    published(&bus, |view| blocks(view) == 1).await;
    // More than the cell can note without falling back to another way of counting them.
    let held: Vec<_> = (0..100).map(|_| bus.view().load()).collect();
    let before = held[0].counters.transactions;
    let mut peer = connect(&bus);
    for round in 1..=100 {
        // A write drops the block, so that the next read needs the line.
        let mut echo = [0; 8];
        peer.send(1, 1, WRITE).await;
        far.read_exact(&mut echo).await.expect("a request");
        far.write_all(&echo).await.expect("the bus listens");
        assert_eq!(peer.receive().await.expect("a reply").pdu[..], *WRITE);
        peer.send(2, 1, &READ).await;
        serve(&mut far, round).await;
        assert_eq!(peer.receive().await.expect("a reply").pdu, reply(round));
    }
    assert!(bus.view().load().counters.transactions >= before + 200);
    assert!(held.iter().all(|view| view.counters.transactions == before && blocks(view) == 1));
}

#[tokio::test(start_paused = true)]
async fn a_read_sent_behind_a_write_without_waiting_shows_what_was_written() {
    let (near, mut far) = duplex(256);
    let mut first = Some(near);
    let bus = start(move || first.take().ok_or_else(|| std::io::ErrorKind::NotFound.into()));
    serve(&mut far, 7).await;
    published(&bus, |view| blocks(view) == 1).await;
    let mut peer = connect(&bus);
    // Both in one piece: the write has not reached the bus when the read is looked at.
    let both = [clients::bytes_of(1, 1, WRITE), clients::bytes_of(2, 1, &READ)].concat();
    peer.stream.write_all(&both).await.expect("the gateway listens");
    let mut echo = [0; 8];
    far.read_exact(&mut echo).await.expect("a request");
    far.write_all(&echo).await.expect("the bus listens");
    serve(&mut far, 8).await;
    for (transaction, expected) in [(1, Bytes::from_static(WRITE)), (2, reply(8))] {
        let adu = peer.receive().await.expect("a reply");
        assert_eq!((adu.transaction_id, adu.pdu), (transaction, expected));
    }
}
