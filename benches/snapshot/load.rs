//! The cheapest possible clients, so that the server is measured: tasks that send prebuilt requests and compare prebuilt
//! replies.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use metergate::modbus::rtu;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use crate::wire;

/// What the clients of a listener speak.
#[derive(Clone, Copy)]
pub(crate) enum Framing {
    Tcp,
    Rtu,
}

/// A request and the reply it must get, as on the wire.
pub(crate) struct Question {
    framing: Framing,
    request: Vec<u8>,
    reply: Vec<u8>,
}

impl Question {
    /// A read of a unit by Modbus TCP; `number` is its place among those of a client.
    pub(crate) fn new(number: u16, unit: u8, start: u16, quantity: u16) -> Self {
        let [high, low] = number.to_be_bytes();
        let mut request = vec![high, low, 0, 0, 0, 6, unit];
        request.extend(wire::read(wire::HOLDING, start, quantity));
        let pdu = wire::registers(wire::HOLDING, unit, start, quantity);
        let length = u8::try_from(pdu.len() + 1).expect("a PDU has at most 253 bytes");
        let mut reply = vec![high, low, 0, 0, 0, length, unit];
        reply.extend(pdu);
        Self { framing: Framing::Tcp, request, reply }
    }

    /// The read sent to the gateway and the ceiling alike: 60 of the registers that are read in the background.
    pub(crate) fn ceiling() -> Self {
        Self::new(0, UNIT, FLOATS, QUANTITY)
    }

    /// The same read as an RTU frame. It has no number, so that it is the only one of its client.
    pub(crate) fn rtu() -> Self {
        let request = rtu::encode(UNIT, &wire::read(wire::HOLDING, FLOATS, QUANTITY));
        let reply = rtu::encode(UNIT, &wire::registers(wire::HOLDING, UNIT, FLOATS, QUANTITY));
        Self { framing: Framing::Rtu, request: request.to_vec(), reply: reply.to_vec() }
    }

    pub(crate) fn reply(&self) -> &[u8] {
        &self.reply
    }
}

/// The work of the clients.
#[derive(Clone)]
pub(crate) struct Work {
    /// Sent in turn, each client beginning with another one. Number `n` is the one made with that number.
    pub(crate) questions: Arc<[Question]>,
    /// Requests each client has in flight.
    pub(crate) in_flight: usize,
    /// Before each further request.
    pub(crate) pause: Duration,
}

/// The results of the clients.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) replies: u64,
    pub(crate) exceptions: u64,
    /// From a request to its reply, where only one is in flight.
    pub(crate) latencies: Vec<Duration>,
    /// How long they worked.
    pub(crate) time: Duration,
}

impl Outcome {
    /// Replies per second.
    pub(crate) fn rate(&self) -> f64 {
        self.replies as f64 / self.time.as_secs_f64()
    }
}

/// Threads for clients.
pub(crate) struct Load(Runtime);

impl Load {
    pub(crate) fn new() -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
        Self(runtime.expect("threads can be had"))
    }

    /// Connects `clients` clients, and then runs them for `time`.
    pub(crate) fn run(&self, address: SocketAddr, clients: usize, work: &Work, time: Duration) -> Outcome {
        self.run_over(async || connect(address).await, clients, work, time)
    }

    /// The same, over the connections that `connect` makes.
    pub(crate) fn run_over<S>(
        &self,
        connect: impl AsyncFn() -> S,
        clients: usize,
        work: &Work,
        time: Duration,
    ) -> Outcome
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        self.0.block_on(async {
            let mut streams = Vec::new();
            for _ in 0..clients {
                streams.push(connect().await);
            }
            let stop = Arc::new(AtomicBool::new(false));
            let begun = Instant::now();
            let tasks: Vec<JoinHandle<Outcome>> = (streams.into_iter().enumerate())
                .map(|(first, stream)| tokio::spawn(ask(stream, work.clone(), first, Arc::clone(&stop))))
                .collect();
            tokio::time::sleep(time).await;
            stop.store(true, Ordering::Relaxed);
            let mut all = Outcome { time: begun.elapsed(), ..Outcome::default() };
            for task in tasks {
                let one = task.await.expect("no client panics");
                all.replies += one.replies;
                all.exceptions += one.exceptions;
                all.latencies.extend(one.latencies);
            }
            all
        })
    }
}

/// A connection that sends at once.
pub(crate) async fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).await.expect("the server listens");
    stream.set_nodelay(true).expect("a socket takes TCP_NODELAY");
    stream
}

async fn ask<S>(mut stream: S, work: Work, first: usize, stop: Arc<AtomicBool>) -> Outcome
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Work { questions, in_flight, pause } = work;
    let mut next = (0..questions.len()).cycle().skip(first % questions.len());
    let mut outcome = Outcome::default();
    let (mut input, mut filled) = (vec![0; 16 * 1024], 0);
    let framing = questions[0].framing;
    let mut requests = Vec::with_capacity(in_flight * REQUEST_LENGTH);
    let mut wanted = in_flight;
    while !stop.load(Ordering::Relaxed) {
        requests.clear();
        for question in next.by_ref().take(wanted) {
            requests.extend_from_slice(&questions[question].request);
        }
        let sent = Instant::now();
        stream.write_all(&requests).await.expect("the server reads");
        // Of TLS, what is accepted is not yet sent.
        stream.flush().await.expect("the server reads");
        wanted = 0;
        while wanted == 0 {
            let count = stream.read(&mut input[filled..]).await.expect("the server answers");
            assert!(count > 0, "the server closed a connection");
            filled += count;
            let mut rest = &input[..filled];
            while let Some(reply) = whole_reply(rest, framing) {
                outcome.note(reply, &questions);
                rest = &rest[reply.len()..];
                wanted += 1;
            }
            let left = rest.len();
            input.copy_within(filled - left..filled, 0);
            filled = left;
        }
        if in_flight == 1 {
            outcome.latencies.push(sent.elapsed());
        }
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
    outcome
}

impl Outcome {
    fn note(&mut self, reply: &[u8], questions: &[Question]) {
        self.replies += 1;
        let (function, number) = match questions[0].framing {
            Framing::Tcp => (reply[HEADER], u16::from_be_bytes([reply[0], reply[1]])),
            Framing::Rtu => (reply[1], 0),
        };
        if function & 0x80 != 0 {
            self.exceptions += 1;
            return;
        }
        assert!(reply == questions[usize::from(number)].reply, "a wrong reply: {reply:02x?}");
    }
}

/// The first ADU of `bytes`, if all of it is there.
fn whole_reply(bytes: &[u8], framing: Framing) -> Option<&[u8]> {
    let length = match framing {
        Framing::Tcp => HEADER - 1 + usize::from(*bytes.get(HEADER - 2)?),
        Framing::Rtu if *bytes.get(1)? & 0x80 != 0 => rtu::OVERHEAD + 2,
        Framing::Rtu => rtu::OVERHEAD + 2 + usize::from(*bytes.get(2)?),
    };
    bytes.get(..length)
}

/// The read that is sent to the gateway and the ceiling alike.
const UNIT: u8 = 1;
const QUANTITY: u16 = 60;

/// The address of the first of the registers that the profile polls.
pub(crate) const FLOATS: u16 = 256;

/// Bytes of a read request's ADU by Modbus TCP.
pub(crate) const REQUEST_LENGTH: usize = 12;

/// Bytes of an MBAP header.
const HEADER: usize = 7;
