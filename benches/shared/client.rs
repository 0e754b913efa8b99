//! Modbus TCP clients: a thread each, one request in flight, the next after the reply.

use std::io::{Read as _, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::wire::{self, Seen, Wire};

/// The reads that a client repeats.
#[derive(Clone, Debug)]
pub(crate) struct Reads {
    /// These units in turn.
    pub(crate) units: Vec<u8>,
    /// First register.
    pub(crate) start: u16,
    /// The distance from the start of each read to that of the next.
    pub(crate) step: u16,
    /// Registers.
    pub(crate) quantity: u16,
    /// Between a reply and the next request.
    pub(crate) pause: Duration,
}

impl Reads {
    /// `quantity` registers of unit 1, without a pause.
    pub(crate) fn of(quantity: u16) -> Self {
        Self { units: vec![1], start: 0, step: 0, quantity, pause: Duration::ZERO }
    }
}

/// One read of holding or input registers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Read {
    pub(crate) unit: u8,
    pub(crate) function: u8,
    pub(crate) start: u16,
    pub(crate) quantity: u16,
}

/// One reply.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reply {
    /// When it was received.
    pub(crate) at: Instant,
    /// Since its request was sent.
    pub(crate) latency: Duration,
    /// The exception it was, if any.
    pub(crate) exception: Option<u8>,
}

/// Running clients.
pub(crate) struct Clients {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Vec<Reply>>>,
}

impl Clients {
    /// Connects one client for each entry of `work`, then lets all begin.
    pub(crate) fn start(gateway: SocketAddr, work: impl IntoIterator<Item = Reads>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let connect = |reads| (TcpStream::connect(gateway).expect("the gateway listens"), reads);
        let connected: Vec<(TcpStream, Reads)> = work.into_iter().map(connect).collect();
        let begin = |(stream, reads): (TcpStream, Reads)| {
            stream.set_nodelay(true).expect("a socket takes TCP_NODELAY");
            let stop = Arc::clone(&stop);
            let builder = thread::Builder::new().stack_size(STACK);
            builder.spawn(move || work_until(stream, &reads, &stop)).expect("a thread can be had")
        };
        let threads = connected.into_iter().map(begin).collect();
        Self { stop, threads }
    }

    /// Stops them, each after its pending reply. One list per client, in the order of their work.
    pub(crate) fn stop(self) -> Vec<Vec<Reply>> {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().map(|thread| thread.join().expect("no client panics")).collect()
    }
}

/// The requests that such clients caused on the line in `time`. On a line without faults none of them is refused.
pub(crate) fn seen_of(
    line: &Wire,
    gateway: SocketAddr,
    work: impl IntoIterator<Item = Reads>,
    time: Duration,
) -> Vec<Seen> {
    line.take_seen();
    let clients = Clients::start(gateway, work);
    thread::sleep(time);
    let seen = line.take_seen();
    let replies = clients.stop();
    assert!(replies.iter().flatten().all(|reply| reply.exception.is_none()), "an exception on a good line");
    line.take_seen();
    seen
}

fn work_until(mut stream: TcpStream, reads: &Reads, stop: &AtomicBool) -> Vec<Reply> {
    let mut replies = Vec::new();
    let mut start = reads.start;
    for (transaction, &unit) in (0_u16..=u16::MAX).cycle().zip(reads.units.iter().cycle()) {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let sent = Instant::now();
        let read = Read { unit, function: wire::HOLDING, start, quantity: reads.quantity };
        let exception = ask(&mut stream, transaction, read);
        let at = Instant::now();
        replies.push(Reply { at, latency: at - sent, exception });
        start += reads.step;
        if !reads.pause.is_zero() {
            thread::sleep(reads.pause);
        }
    }
    replies
}

/// One request and its reply, either data or an exception.
pub(crate) fn ask(stream: &mut TcpStream, transaction: u16, read: Read) -> Option<u8> {
    let Read { unit, function, start, quantity } = read;
    let [high, low] = transaction.to_be_bytes();
    let mut request = vec![high, low, 0, 0, 0, 6, unit];
    request.extend(wire::read(function, start, quantity));
    stream.write_all(&request).expect("the gateway reads");
    let mut reply = [0; 260];
    let mut filled = 0;
    while filled < HEADER || filled < HEADER - 1 + usize::from(reply[5]) {
        match stream.read(&mut reply[filled..]) {
            Ok(0) => panic!("the gateway closed a connection"),
            Ok(count) => filled += count,
            Err(error) => panic!("the gateway does not answer: {error}"),
        }
    }
    assert!(reply[..4] == request[..4] && reply[6] == unit, "a reply to something else");
    let pdu = &reply[HEADER..filled];
    if pdu[0] & 0x80 != 0 {
        return Some(pdu[1]);
    }
    assert_eq!(pdu, wire::registers(function, unit, start, quantity), "a wrong value");
    None
}

/// Bytes of an MBAP header.
const HEADER: usize = 7;

/// Hundreds of these threads are cheap.
const STACK: usize = 64 * 1024;
