//! What runs beside the workers: the status page does not wait for them, and they do not wait for it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use metergate::config;
use metergate::gateway::Gateway;
use metergate::runtime::{BackgroundRuntime, YIELDING};
use rustix::process::getpriority_process;
use tokio::sync::oneshot;

#[tokio::test]
async fn what_runs_aside_has_a_thread_of_its_own_that_takes_the_processor_last() {
    let aside = BackgroundRuntime::start("beside").unwrap();
    let here = getpriority_process(None).unwrap();
    let look = || (thread::current().name().map(str::to_owned), getpriority_process(None).unwrap());
    let there = aside.spawn(async move { look() }).await.unwrap();
    assert_eq!(there, (Some("beside".to_owned()), (here + YIELDING).min(LEAST)));
    assert_eq!(getpriority_process(None).unwrap(), here, "the worker gave way too");
}

#[tokio::test]
async fn what_still_runs_when_the_thread_is_let_go_is_dropped() {
    let aside = BackgroundRuntime::start("beside").unwrap();
    let (held, released) = oneshot::channel::<()>();
    let task = aside.spawn(async move {
        let _held = held;
        std::future::pending::<()>().await;
    });
    drop(aside);
    assert!(released.await.is_err());
    assert!(task.await.unwrap_err().is_cancelled());
}

/// This test's runtime has one thread, which waits for the answers here and so runs nothing else.
#[tokio::test]
async fn the_page_answers_while_the_workers_are_busy() {
    let text = "listeners: [{address: '127.0.0.1:0'}]\n\
        buses: [{name: riser, device: /dev/none, units: [{id: 1}]}]\n\
        status: {address: '127.0.0.1:0'}\n";
    let loaded = config::parse(text, "test.yaml").unwrap_or_else(|problems| panic!("{problems}"));
    let gateway = Gateway::start(&loaded.config).unwrap();
    let page = gateway.status_address().unwrap();
    let ask = |path: &str| {
        let mut stream = TcpStream::connect(page).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    for path in ["/", "/metrics", "/api/v1/status"] {
        assert!(ask(path).starts_with("HTTP/1.1 200 "), "{path}");
    }
    gateway.stop().await;
    assert!(TcpStream::connect(page).is_err(), "the page outlives the gateway");
}

/// The least claim to a processor there is.
const LEAST: i32 = 19;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);
