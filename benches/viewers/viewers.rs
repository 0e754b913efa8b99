//! The viewers of a gateway: browsers with the page open, Prometheus, and streams of events.
//!
//! Each is a thread that sleeps between requests, so that the gateway is measured. Requests are those of the page's
//! script and of Prometheus: one connection each.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::UNIT_COUNT;

/// The kinds of viewers.
#[derive(Clone, Copy, Debug)]
enum Viewer {
    /// Has the page open, whose script requests it every second.
    Page,
    /// Scrapes the metrics.
    Prometheus,
    /// Reads a stream of events.
    Events,
    /// Follows the traffic of both sides, every line of it.
    Trace,
}

/// Ten running viewers.
pub(crate) struct Viewers {
    stops: Vec<Sender<()>>,
    threads: Vec<JoinHandle<Seen>>,
}

/// Their results.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Answers, and events of streams.
    pub(crate) answers: u64,
    /// Bytes of them.
    pub(crate) bytes: u64,
    /// From the request for a page to its last byte.
    pub(crate) page_times: Vec<Duration>,
    /// The same for metrics.
    pub(crate) metrics_times: Vec<Duration>,
}

impl Viewers {
    /// Ten viewers, their requests spread over the period.
    pub(crate) fn start(status: SocketAddr) -> Self {
        let begun = Instant::now();
        let mut viewers = Self { stops: Vec::new(), threads: Vec::new() };
        for (number, viewer) in (0_u32..).zip(TEN) {
            let (sender, stop) = channel();
            let first = begun + Duration::from_millis(97) * number;
            viewers.stops.push(sender);
            viewers.threads.push(thread::spawn(move || match viewer {
                Viewer::Page => ask_again(status, PAGE, first, PAGE_PERIOD, &stop),
                Viewer::Prometheus => ask_again(status, METRICS, first, METRICS_PERIOD, &stop),
                Viewer::Events => follow(status, (EVENTS, EVENT), first, &stop),
                Viewer::Trace => follow(status, (TRACE, LINE), first, &stop),
            }));
        }
        viewers
    }

    /// Stops them.
    pub(crate) fn stop(self) -> Seen {
        drop(self.stops);
        let mut all = Seen::default();
        for (thread, viewer) in self.threads.into_iter().zip(TEN) {
            let one = thread.join().expect("no viewer panics");
            assert!(one.answers > 0, "a viewer saw nothing: {viewer:?}");
            all.answers += one.answers;
            all.bytes += one.bytes;
            all.page_times.extend(one.page_times);
            all.metrics_times.extend(one.metrics_times);
        }
        all
    }
}

/// The whole response at a path, headers included; it must exist.
pub(crate) fn fetch(status: SocketAddr, path: &str) -> String {
    let mut answer = String::new();
    ask(status, path).read_to_string(&mut answer).expect("the gateway answers");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {}", answer.lines().next().unwrap_or_default());
    answer
}

/// Returns when all units have been read.
pub(crate) fn until_all_is_read(status: SocketAddr) {
    let begun = Instant::now();
    while fetch(status, METRICS).matches("metergate_unit_age_seconds{").count() < UNIT_COUNT {
        assert!(begun.elapsed() < PATIENCE, "not all units were read");
        thread::sleep(PAGE_PERIOD);
    }
}

/// Requests a page, and again at the end of each period. A late response delays none of the others.
fn ask_again(
    status: SocketAddr,
    path: &'static str,
    first: Instant,
    period: Duration,
    stop: &Receiver<()>,
) -> Seen {
    let mut seen = Seen::default();
    let mut due = first;
    while stop.recv_timeout(due.saturating_duration_since(Instant::now())) == Err(RecvTimeoutError::Timeout) {
        let asked = Instant::now();
        seen.bytes += fetch(status, path).len() as u64;
        seen.answers += 1;
        let times = if path == METRICS { &mut seen.metrics_times } else { &mut seen.page_times };
        times.push(asked.elapsed());
        due += period;
    }
    seen
}

/// Reads a stream until it is stopped, and counts the occurrences of `mark`.
fn follow(status: SocketAddr, (path, mark): (&str, &[u8]), first: Instant, stop: &Receiver<()>) -> Seen {
    let mut seen = Seen::default();
    if stop.recv_timeout(first.saturating_duration_since(Instant::now())) != Err(RecvTimeoutError::Timeout) {
        return seen;
    }
    let mut stream = ask(status, path);
    stream.set_read_timeout(Some(Duration::from_millis(100))).expect("a socket takes a timeout");
    let (mut bytes, mut matched) = (vec![0; 64 * 1024], 0);
    while stop.try_recv() == Err(TryRecvError::Empty) {
        match stream.read(&mut bytes) {
            Ok(0) => panic!("the gateway ended a stream"),
            Ok(count) => {
                seen.bytes += count as u64;
                for byte in &bytes[..count] {
                    matched =
                        if *byte == mark[matched] { matched + 1 } else { usize::from(*byte == mark[0]) };
                    if matched == mark.len() {
                        seen.answers += 1;
                        matched = 0;
                    }
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => panic!("the gateway broke a stream off: {error}"),
        }
    }
    seen
}

fn ask(status: SocketAddr, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(status).expect("the status page listens");
    let question =
        format!("GET {path} HTTP/1.1\r\nHost: {status}\r\nAccept: */*\r\nConnection: close\r\n\r\n");
    stream.write_all(question.as_bytes()).expect("the gateway reads");
    stream
}

/// Half of an office, two Prometheus, one that follows the figures and one that follows the traffic.
const TEN: [Viewer; 10] = [
    Viewer::Page,
    Viewer::Prometheus,
    Viewer::Page,
    Viewer::Events,
    Viewer::Page,
    Viewer::Page,
    Viewer::Prometheus,
    Viewer::Page,
    Viewer::Trace,
    Viewer::Page,
];

/// The path that the page's script requests.
pub(crate) const PAGE: &str = "/?part=main";
pub(crate) const METRICS: &str = "/metrics";
const EVENTS: &str = "/api/v1/events";

/// The beginning of an event.
const EVENT: &[u8] = b"data: ";
const TRACE: &str = "/api/v1/trace";

/// The beginning of a line of a trace.
const LINE: &[u8] = b"{\"";

const PAGE_PERIOD: Duration = Duration::from_secs(1);
const METRICS_PERIOD: Duration = Duration::from_secs(5);

/// Longest wait until all units have been read.
const PATIENCE: Duration = Duration::from_secs(90);
