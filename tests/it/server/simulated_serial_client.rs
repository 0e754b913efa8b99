//! The seeded simulation of a line with a serial client beside its other clients: the real RTU server, its session and
//! the snapshot in front of the line, driven by instants; the promises of the design checked at each step.
//!
//! `METERGATE_SEEDS`, `METERGATE_FIRST_SEED` and `METERGATE_TRACE` as in `line/simulation.rs`.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use arc_swap::ArcSwap;
use bytes::Bytes;
use metergate::audit::{Audit, WriteCounter};
use metergate::endpoint::{DevicePath, Endpoint};
use metergate::line::{Answer, BusId, Now, Request, View};
use metergate::modbus::AduFraming;
use metergate::serial::{BusHandle, Direction, ReplyReceiver, ReplySender};
use metergate::server::connection::ClientContext;
use metergate::server::connection::serial_client::RtuServer;
use metergate::server::{
    Broadcast, ClientPort, IdleTracker, ListenAt, ListenerSettings, ListenerState, Routes, Writes,
};
use metergate::traffic::Link;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::support::clients::{Requests, settings, units};
use crate::support::simulation::{self, ClientGateway, ClientListener, ClientTally};

#[test]
fn seeded_runs_with_a_serial_client_keep_every_promise() {
    let number = |name: &str, default: u64| {
        std::env::var(name).map_or(default, |value| value.parse().expect("a number of seeds"))
    };
    let (first, count) = (number("METERGATE_FIRST_SEED", 0), number("METERGATE_SEEDS", 100));
    match run_all(first, count) {
        Err(report) => panic!("{report}"),
        Ok(ClientTally { data, exceptions, from_snapshot, writes, given_up, superseded })
            if count >= ENOUGH =>
        {
            let seen = [data, exceptions, from_snapshot, writes, given_up, superseded];
            assert!(seen.iter().all(|count| *count > 0), "something never happened: {seen:?}");
        }
        Ok(_) => {}
    }
}

/// So many seeds have everything among them, wherever they begin.
const ENOUGH: u64 = 100;

fn run_all(first: u64, count: u64) -> Result<ClientTally, String> {
    let (next, end) = (AtomicU64::new(first), first + count);
    let work = || -> Result<ClientTally, String> {
        let mut tally = ClientTally::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return Ok(tally);
            }
            let again = "cargo test --test it server::simulated_serial_client";
            tally += simulation::run_serial_client(seed, new_gateway, again)
                .inspect_err(|_| next.store(end, Ordering::Relaxed))?;
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut tally = ClientTally::default();
        for worker in workers {
            tally += worker.join().expect("a run catches its panics")?;
        }
        Ok(tally)
    })
}

fn new_gateway(listener: &ClientListener, now: std::time::Instant) -> Box<dyn ClientGateway> {
    Box::new(Gateway::new(listener, now))
}

/// What a process has of a serial client and its bus, its tasks aside.
struct Gateway {
    server: RtuServer,
    answers: ReplyReceiver,
    listening: Arc<ArcSwap<ListenerState>>,
    port: ClientPort,
    bus: BusHandle,
    requests: Requests,
    /// Of the requests that the bus has.
    senders: BTreeMap<u64, ReplySender>,
    writes: Arc<WriteCounter>,
}

impl Gateway {
    fn new(listener: &ClientListener, now: std::time::Instant) -> Self {
        let now = Instant::from_std(now);
        let device = "/dev/ttyS7".parse::<DevicePath>().unwrap();
        let port = ClientPort {
            device: device.clone(),
            framing: listener.framing,
            direction: Direction::Auto,
            echo: listener.echo,
        };
        let (bus, requests) = BusHandle::new(BusId(0), "a");
        let writes = Arc::<WriteCounter>::default();
        let audit = Arc::new(Audit::new(Arc::default(), None, Arc::clone(&writes)));
        let state = ListenerState { audit, id: listener.id, ..state(listener, &port, &bus) };
        let listening = Arc::new(ArcSwap::from_pointee(state));
        let endpoint = Endpoint::Serial(device);
        let client = ClientContext {
            link: Arc::new(Link {
                client: endpoint.clone(),
                listener: endpoint,
                framing: AduFraming::Rtu,
                connection: listener.connection,
                identity: None,
            }),
            listener: Arc::clone(&listening),
            idle: Arc::new(IdleTracker::new(now, now, CancellationToken::new())),
            log_limiter: Arc::default(),
        };
        let (server, answers) = RtuServer::new(client, &port, now);
        Self { server, answers, listening, port, bus, requests, senders: BTreeMap::new(), writes }
    }

    /// Passes on what buses have answered, as the task does.
    fn take_answers(&mut self, now: Now) {
        let mut context = Context::from_waker(Waker::noop());
        while let Poll::Ready((key, answer)) = pin!(self.answers.next()).poll(&mut context) {
            self.server.handle_answer(key, answer, now.instant.into());
        }
    }
}

impl ClientGateway for Gateway {
    fn restart(&mut self, listener: &ClientListener, now: std::time::Instant) {
        *self = Self::new(listener, now);
    }

    fn reload(&mut self, listener: &ClientListener) {
        let before = self.listening.load();
        let (audit, metrics) = (Arc::clone(&before.audit), Arc::clone(&before.metrics));
        let (id, traffic) = (before.id, Arc::clone(&before.traffic));
        drop(before);
        let next = state(listener, &self.port, &self.bus);
        self.listening.store(Arc::new(ListenerState { id, audit, metrics, traffic, ..next }));
        self.server.handle_settings();
    }

    fn handle_port(&mut self) {
        self.server.handle_port(&self.port);
    }

    fn handle_bytes(&mut self, bytes: &[u8], now: Now) {
        self.server.handle_bytes(bytes, now.instant.into());
    }

    fn handle_answer(&mut self, key: u64, answer: Answer, now: Now) {
        if let Some(sender) = self.senders.remove(&key) {
            sender.send(answer);
        }
        self.take_answers(now);
    }

    fn handle_timeout(&mut self, now: Now) {
        self.server.handle_timeout(now.instant.into());
    }

    fn poll_timeout(&self) -> Option<std::time::Instant> {
        self.server.poll_timeout().map(Instant::into_std)
    }

    fn poll_transmit(&mut self, now: Now) -> Option<Bytes> {
        let adu = self.server.poll_transmit(now)?;
        self.server.handle_transmitted(&adu, now.instant.into());
        Some(adu)
    }

    fn poll_request(&mut self) -> Option<Request<u64>> {
        let Request { to, source, target, pdu, deadline, max_age, listener } =
            self.requests.try_recv().ok()?;
        let key = to.key();
        self.senders.insert(key, to);
        Some(Request { to: key, source, target, pdu, deadline, max_age, listener })
    }

    fn is_gone(&self, key: u64) -> bool {
        self.senders.get(&key).is_none_or(ReplySender::is_gone)
    }

    fn discard(&mut self, key: u64, now: Now) {
        self.senders.remove(&key);
        self.take_answers(now);
    }

    fn publish(&mut self, view: &Arc<View>) {
        self.bus.view().store(Arc::clone(view));
    }

    fn recorded_writes(&mut self) -> u64 {
        self.writes.take().values().map(|writes| writes.total).sum()
    }
}

fn state(listener: &ClientListener, port: &ClientPort, bus: &BusHandle) -> ListenerState {
    let settings = ListenerSettings {
        at: ListenAt::Serial(port.clone()),
        framing: AduFraming::Rtu,
        max_age: listener.max_age,
        writes: if listener.has_writes { Writes::Allow } else { Writes::Deny },
        broadcast: if listener.has_acknowledgements { Broadcast::Acknowledge } else { Broadcast::Silent },
        answer_within: Some(listener.answer_within),
        ..settings()
    };
    let routes = Routes::new(vec![(bus.clone(), units(listener.units.iter().copied()))]);
    ListenerState::new(settings, routes)
}
