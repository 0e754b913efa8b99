//! A thousand connections whose handshakes never end, each begun anew a moment after it has been closed.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::runtime::{Builder, Runtime};

/// The connections; ended when dropped.
pub(crate) struct Flood {
    _runtime: Runtime,
    begun: Arc<AtomicU64>,
}

impl Flood {
    /// Every connection sends `bytes`, from one of many addresses: the bound of an address is not what is measured.
    pub(crate) fn start(target: SocketAddr, bytes: Vec<u8>) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a thread can be had");
        let (begun, bytes) = (Arc::new(AtomicU64::new(0)), Arc::<[u8]>::from(bytes));
        for host in (1..=ADDRESSES).cycle().take(AT_ONCE) {
            let from = IpAddr::V4(Ipv4Addr::new(127, 0, 1, host));
            runtime.spawn(attack(SocketAddr::new(from, 0), target, Arc::clone(&bytes), Arc::clone(&begun)));
        }
        Self { _runtime: runtime, begun }
    }

    /// Connections begun so far.
    pub(crate) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }
}

async fn attack(from: SocketAddr, target: SocketAddr, bytes: Arc<[u8]>, begun: Arc<AtomicU64>) {
    loop {
        let socket = TcpSocket::new_v4().expect("descriptors are left");
        socket.bind(from).expect("a port is free");
        // What the gateway does with it does not matter: another follows.
        if let Ok(mut stream) = socket.connect(target).await {
            begun.fetch_add(1, Ordering::Relaxed);
            let _sent = stream.write_all(&bytes).await;
            let mut input = [0; 4096];
            while let Ok(1..) = stream.read(&mut input).await {}
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// A server that keeps as many connections as the gateway does handshakes, and closes the oldest for the next; it ends
/// with the program.
pub(crate) fn serve() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port can be had");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        let mut kept = VecDeque::new();
        for stream in listener.incoming().flatten() {
            kept.push_back(stream);
            if kept.len() > KEPT {
                kept.pop_front();
            }
        }
    });
    address
}

/// Connections at once.
const AT_ONCE: usize = 1000;
/// They come from.
const ADDRESSES: u8 = 125;
/// The gateway's `HANDSHAKES_MAX`.
const KEPT: usize = 64;
/// Before a connection is begun anew.
const PAUSE: Duration = Duration::from_secs(1);
