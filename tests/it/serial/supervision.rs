//! A bus whose task panics: its clients are answered, it is restarted, and the line is kept silent first.

use std::collections::VecDeque;
use std::future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use metergate::line::{BusId, PortState, View};
use metergate::modbus::AduFraming;
use metergate::modbus::rtu;
use metergate::runtime::Timer;
use metergate::serial::{
    BusHandle, BusSettings, Direction, OpenPort, PortDevice, PortSettings, PortView, RESTART_PAUSE_MAX,
    RESTART_PAUSE_MIN, Supervised, Watchdog, supervision,
};
use metergate::server::connection::ClientContext;
use metergate::server::{IdleTracker, ListenerSettings, ListenerState, Writes, connection};
use metergate::traffic::Link;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::support::clients::{self, Peer, READ, WRITE, listening, units};
use crate::support::settings;

/// A port that fails the program when this byte comes in.
struct Faulty(DuplexStream);

const FAULT: u8 = 0xEE;

impl AsyncRead for Faulty {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.0).poll_read(context, buffer);
        assert!(buffer.filled().first() != Some(&FAULT), "a fault of the program");
        read
    }
}

impl AsyncWrite for Faulty {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// A supervised bus, and what its clients reach it by.
struct Rig {
    view: Arc<ArcSwap<View>>,
    port: Arc<ArcSwap<PortView>>,
    watchdog: Watchdog,
    restarts: Arc<AtomicU64>,
    /// By which a reload gives other settings.
    reloads: Arc<watch::Sender<BusSettings>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
    listening: Arc<ArcSwap<ListenerState>>,
    /// When the port was opened or tried.
    tries: Arc<Mutex<Vec<Instant>>>,
}

impl Rig {
    /// A bus on these ports, one after another; a task that finds none panics.
    fn start(ports: impl IntoIterator<Item = DuplexStream>) -> Self {
        Self::start_with(ports, |_, _| {})
    }

    /// The same; `on_start` is called for each task after its parts were put together and before it runs, with its
    /// number and the means to reload.
    fn start_with(
        ports: impl IntoIterator<Item = DuplexStream>,
        mut on_start: impl FnMut(u64, &watch::Sender<BusSettings>) + Send + 'static,
    ) -> Self {
        let ports = Arc::new(Mutex::new(ports.into_iter().map(Faulty).collect::<VecDeque<_>>()));
        let (handle, requests) = BusHandle::new(BusId(0), "riser");
        let (view, watchdog) = (Arc::clone(handle.view()), Watchdog::default());
        let (port, restarts, tries) =
            <(Arc<ArcSwap<PortView>>, Arc<AtomicU64>, Arc<Mutex<Vec<_>>>)>::default();
        let stop = CancellationToken::new();
        let (reloads, settings) = watch::channel(bus_settings());
        let reloads = Arc::new(reloads);
        let supervised = Supervised {
            id: BusId(0),
            settings,
            view: Arc::clone(&view),
            traffic: Arc::default(),
            port: Arc::clone(&port),
            stop: stop.clone(),
            watchdog: watchdog.clone(),
            restarts: Arc::clone(&restarts),
        };
        let (tried, reload, mut started) = (Arc::clone(&tries), Arc::clone(&reloads), 0);
        let opener = move || {
            started += 1;
            on_start(started, &reload);
            let (ports, tried) = (Arc::clone(&ports), Arc::clone(&tried));
            move |_| {
                tried.lock().unwrap().push(Instant::now());
                let next = ports.lock().unwrap().pop_front();
                let stream = next.expect("no port is left");
                let report = String::from("a pipe");
                let port = OpenPort { stream, report, line_errors: |_| None, discard: |_| {} };
                future::ready(Ok::<_, io::Error>(port))
            }
        };
        let reconnect = handle.reconnect();
        let task = tokio::spawn(supervision::run(supervised, requests, reconnect, opener, || Timer::Coarse));
        let settings = ListenerSettings { writes: Writes::Allow, ..clients::settings() };
        let listening = listening(settings, vec![(handle, units([1, 2]))]);
        Self { view, port, watchdog, restarts, reloads, stop, task, listening, tries }
    }

    fn connect(&self) -> Peer<DuplexStream> {
        let (ours, theirs) = duplex(4096);
        let (reader, writer) = tokio::io::split(theirs);
        let address = |text: &str| text.parse().unwrap();
        let client = ClientContext {
            link: Arc::new(Link {
                identity: None,
                client: address("10.0.0.5:40001"),
                listener: address("10.0.0.1:502"),
                framing: AduFraming::Tcp,
                connection: 1,
            }),
            listener: Arc::clone(&self.listening),
            idle: Arc::new(IdleTracker::new(Instant::now(), Instant::now(), CancellationToken::new())),
            log_limiter: Arc::default(),
        };
        tokio::spawn(connection::run(reader, writer, client));
        Peer::new(ours)
    }

    fn restarts(&self) -> u64 {
        self.restarts.load(Ordering::Relaxed)
    }

    /// The units of the line once the bus has been started anew and has opened its port.
    async fn units_after_a_restart(&self) -> Vec<u8> {
        while self.restarts() == 0 || self.view.load().port == PortState::Closed {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.view.load().units.iter().map(|unit| unit.id.get()).collect()
    }
}

fn bus_settings() -> BusSettings {
    bus_settings_of(&[1, 2])
}

fn bus_settings_of(units: &[u8]) -> BusSettings {
    let line = settings::line(units);
    let port = PortSettings {
        device: PortDevice::Path("pipe".into()),
        framing: settings::FRAMING,
        direction: Direction::Auto,
    };
    BusSettings { line, port }
}

async fn expect_request(far: &mut DuplexStream, unit: u8, pdu: &[u8]) {
    let mut adu = vec![0; pdu.len() + rtu::OVERHEAD];
    far.read_exact(&mut adu).await.unwrap();
    assert_eq!(adu, rtu::encode(unit, pdu)[..]);
}

#[tokio::test(start_paused = true)]
async fn a_bus_whose_task_panics_answers_all_it_had_with_0a_and_is_started_anew() {
    let ((near, mut far), (near_again, mut far_again)) = (duplex(256), duplex(256));
    let rig = Rig::start([near, near_again]);
    let (mut first, mut second) = (rig.connect(), rig.connect());
    first.send(1, 1, WRITE).await;
    expect_request(&mut far, 1, WRITE).await;
    // These wait for their turn.
    first.send(2, 2, READ).await;
    second.send(3, 2, READ).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(rig.view.load().port, PortState::Open);
    far.write_all(&[FAULT]).await.unwrap();
    let failed = Instant::now();
    let answers = [first.receive().await.unwrap(), first.receive().await.unwrap()];
    let mut answers = answers.map(|adu| (adu.transaction_id, adu.pdu.to_vec()));
    answers.sort();
    assert_eq!(answers, [(1, vec![0x86, 0x0A]), (2, vec![0x83, 0x0A])]);
    assert_eq!(second.receive().await.unwrap().pdu[..], [0x83, 0x0A]);
    // Until it runs again new requests are refused, and nothing of before is shown as current.
    assert_eq!(first.ask(1, READ).await.unwrap()[..], [0x83, 0x0A]);
    assert!(failed.elapsed() < RESTART_PAUSE_MIN, "answered after {:?}", failed.elapsed());
    assert_eq!(rig.view.load().port, PortState::Closed);
    let problem = rig.port.load().problem.clone().unwrap();
    assert!(problem.contains("a fault of the program"), "{problem}");
    while rig.restarts() == 0 || rig.view.load().port == PortState::Closed {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let opened = *rig.tries.lock().unwrap().last().unwrap();
    first.send(4, 1, READ).await;
    expect_request(&mut far_again, 1, READ).await;
    assert!(
        opened.elapsed() >= bus_settings().line.late_guard,
        "units may still have owed: {:?}",
        opened.elapsed()
    );
    far_again.write_all(&rtu::encode(1, &[3, 4, 1, 2, 3, 4])).await.unwrap();
    assert_eq!(first.receive().await.unwrap().pdu[..], [3, 4, 1, 2, 3, 4]);
    assert_eq!(rig.restarts(), 1);
    rig.stop.cancel();
    rig.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_bus_that_panics_again_and_again_is_started_ever_less_often_and_can_be_stopped() {
    let rig = Rig::start([]);
    while rig.restarts() < 8 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // The last one ends as soon as it has begun.
    tokio::task::yield_now().await;
    let tries = rig.tries.lock().unwrap().clone();
    let pauses: Vec<Duration> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (pause, times) in pauses.iter().zip(0..) {
        let expected = (RESTART_PAUSE_MIN * 2_u32.pow(times)).min(RESTART_PAUSE_MAX);
        let allowed = expected..expected + Duration::from_millis(20);
        assert!(allowed.contains(pause), "{pause:?} after {times} restarts, not {expected:?}");
    }
    assert!(pauses.len() >= 7);
    let mut client = rig.connect();
    assert_eq!(client.ask(1, READ).await.unwrap()[..], [0x83, 0x0A]);
    rig.stop.cancel();
    rig.task.await.unwrap();
    rig.watchdog.request_heartbeats();
    assert_eq!(rig.watchdog.silent(), [""; 0], "a bus that was stopped is asked no more");
}

#[tokio::test(start_paused = true)]
async fn a_bus_that_is_reloaded_between_two_tasks_begins_with_the_new_settings() {
    let ((near, mut far), (near_again, _far_again)) = (duplex(256), duplex(256));
    let rig = Rig::start([near, near_again]);
    far.write_all(&[FAULT]).await.unwrap();
    while rig.port.load().problem.is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(rig.restarts(), 0, "it pauses");
    rig.reloads.send(bus_settings_of(&[1, 2, 3])).unwrap();
    assert_eq!(rig.units_after_a_restart().await, [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_reload_that_comes_as_a_task_is_started_anew_is_not_lost() {
    let ((near, mut far), (near_again, _far_again)) = (duplex(256), duplex(256));
    let rig = Rig::start_with([near, near_again], |task, reloads| {
        if task == 2 {
            reloads.send(bus_settings_of(&[1, 2, 3])).unwrap();
        }
    });
    far.write_all(&[FAULT]).await.unwrap();
    assert_eq!(rig.units_after_a_restart().await, [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn the_watchdog_is_fed_while_another_bus_lives() {
    let ((near, mut far), (near_again, _far_again)) = (duplex(256), duplex(256));
    let rig = Rig::start([near, near_again]);
    let other = rig.watchdog.add(BusId(1), "other");
    tokio::task::yield_now().await;
    far.write_all(&[FAULT]).await.unwrap();
    while rig.port.load().problem.is_none() {
        tokio::task::yield_now().await;
    }
    rig.watchdog.request_heartbeats();
    other.answer();
    assert_eq!(rig.watchdog.silent(), [""; 0]);
    while rig.restarts() == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    rig.watchdog.request_heartbeats();
    other.answer();
    while rig.watchdog.silent() != [""; 0] {
        tokio::task::yield_now().await;
    }
}
