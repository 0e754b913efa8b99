//! A bus task that is stuck is detected; one that merely waits is not.

use std::future::{self, Ready};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use bytes::Bytes;
use metergate::config;
use metergate::line::{BusId, LineSettings, ListenerId, Request, Source, Target, UnitId};
use metergate::modbus::pdu::RequestPdu;
use metergate::runtime::Timer;
use metergate::serial::{
    Acceptance, BusHandle, BusParts, OpenPort, PortDevice, ReplyChannel, ReplySender, Watchdog, bus_task,
};
use tokio::io::{AsyncReadExt, DuplexStream};
use tokio::task::{JoinHandle, yield_now};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A running bus whose port is opened by `open`, and what keeps it running.
fn bus<F, O>(
    id: BusId,
    name: &str,
    watchdog: &Watchdog,
    open: F,
) -> (BusHandle, CancellationToken, JoinHandle<()>)
where
    F: FnMut(Acceptance) -> O + Send + 'static,
    O: Future<Output = io::Result<OpenPort<DuplexStream>>> + Send + 'static,
{
    let (handle, requests) = BusHandle::new(id, name);
    let stop = CancellationToken::new();
    let alone =
        BusParts::alone(line(name), PortDevice::Path("pipe".into()), requests, Arc::clone(handle.view()));
    let parts = BusParts { stop: stop.clone(), heartbeat: watchdog.add(id, name), ..alone };
    (handle, stop, tokio::spawn(bus_task::run(parts, open, Timer::Coarse)))
}

/// The settings of a line with one unit.
fn line(name: &str) -> LineSettings {
    let text = format!(
        "listeners: [{{address: '127.0.0.1:0'}}]\n\
         buses: [{{name: {name}, device: /dev/none, units: [{{id: 1}}]}}]\n"
    );
    let loaded = config::parse(&text, "test.yaml").unwrap_or_else(|problems| panic!("{problems}"));
    loaded.config.buses[0].line.clone()
}

type Opened = Ready<io::Result<OpenPort<DuplexStream>>>;

fn absent(_: Acceptance) -> Opened {
    future::ready(Err(io::ErrorKind::NotFound.into()))
}

/// A driver that reports when it is entered, and does not return before it is released.
fn stuck(entered: Sender<()>, release: Receiver<()>) -> impl FnMut(Acceptance) -> Opened {
    move |acceptance| {
        entered.send(()).unwrap();
        // Released when the test drops its end.
        let _ = release.recv();
        absent(acceptance)
    }
}

/// Waits until just these buses have not answered.
async fn until_silent(watchdog: &Watchdog, names: &[&str]) {
    while watchdog.silent() != names {
        yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_bus_stuck_in_its_driver_is_named_and_one_without_a_port_is_not() {
    let watchdog = Watchdog::default();
    let (entered, inside) = channel();
    let (let_go, release) = channel();
    let _stuck = bus(BusId(0), "stuck", &watchdog, stuck(entered, release));
    let _absent = bus(BusId(1), "absent", &watchdog, absent);
    inside.recv().unwrap();
    watchdog.request_heartbeats();
    until_silent(&watchdog, &["stuck"]).await;
    // It cannot answer however long one waits, for its task is inside the driver.
    for _ in 0..100 {
        watchdog.request_heartbeats();
        until_silent(&watchdog, &["stuck"]).await;
    }
    drop(let_go);
    until_silent(&watchdog, &[]).await;
}

#[tokio::test]
async fn a_bus_that_was_stopped_is_asked_no_more_and_one_that_panicked_stays_silent() {
    let watchdog = Watchdog::default();
    let (_one, stop, stopped) = bus(BusId(0), "stopped", &watchdog, absent);
    let (_other, _, panicked) =
        bus(BusId(1), "panicked", &watchdog, |_| -> Opened { panic!("as a fault in the program would") });
    stop.cancel();
    stopped.await.unwrap();
    assert!(panicked.await.unwrap_err().is_panic());
    watchdog.request_heartbeats();
    assert_eq!(watchdog.silent(), ["panicked"]);
}

#[tokio::test(start_paused = true)]
async fn a_bus_whose_meter_is_dead_answers_while_it_waits_for_it() {
    let watchdog = Watchdog::default();
    let (port, mut meters) = tokio::io::duplex(512);
    let mut port = Some(port);
    let open = move |_| {
        let report = String::from("a pipe");
        let opened = |stream| OpenPort { stream, report, line_errors: |_| None, discard: |_| {} };
        future::ready(port.take().map(opened).ok_or(io::ErrorKind::NotFound.into()))
    };
    let (handle, _stop, _task) = bus(BusId(0), "riser", &watchdog, open);
    let (back, _answers) = ReplyChannel::new();
    let request = Request {
        to: ReplySender::new(&back, 1),
        source: Source { address: IpAddr::V4(Ipv4Addr::LOCALHOST).into(), connection: 1 },
        target: Target::Unit(UnitId::new(1).unwrap()),
        pdu: RequestPdu::decode(Bytes::from_static(&[3, 0, 0, 0, 1])).unwrap(),
        deadline: (Instant::now() + Duration::from_secs(60)).into_std(),
        max_age: Duration::ZERO,
        listener: ListenerId::default(),
    };
    handle.send(request).await.unwrap();
    // The request is on the wire, and will not be answered.
    meters.read_exact(&mut [0; 8]).await.unwrap();
    watchdog.request_heartbeats();
    until_silent(&watchdog, &[]).await;
}
