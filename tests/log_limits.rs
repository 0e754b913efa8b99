//! Lines of the log that clients can cause: so many of a kind within a minute, and how many were held back.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod captured;
mod clients;
mod settings;

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use captured::{Act, Rig};
use clients::WRITE;
use metergate::io::audit::WRITES_LOGGED;
use metergate::io::settings::{ListenerSettings, Writes};
use metergate::io::throttle::STRETCH;

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn writes_are_logged_up_to_a_number_a_minute_and_the_rest_are_counted() {
    let sink = Sink::default();
    let writer = sink.clone();
    let log = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(log);
    let said = |text: &str| String::from_utf8(sink.0.lock().unwrap().clone()).unwrap().matches(text).count();
    let mut rig = Rig::start(ListenerSettings { writes: Writes::Allow, ..clients::settings() });
    let mut peer = rig.connect("10.0.0.5:40001", "10.0.0.1:502");
    rig.script(WRITE, [Act::Reply(WRITE.to_vec())]);
    let first = tokio::time::Instant::now();
    let logged = usize::try_from(WRITES_LOGGED).unwrap();
    for _ in 0..logged + 5 {
        assert_eq!(peer.ask(1, WRITE).await.unwrap()[..], *WRITE);
    }
    assert!(first.elapsed() < STRETCH, "all of them within one stretch");
    assert_eq!((said("write: done"), said("held_back")), (logged, 0));
    tokio::time::sleep(STRETCH).await;
    peer.ask(1, WRITE).await.unwrap();
    assert_eq!((said("write: done"), said("held_back=5")), (logged + 1, 1));
}
