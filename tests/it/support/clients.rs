//! Clients, fake buses and listeners for the tests of the TCP side.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use metergate::line::{Answer, BusId, Request, Target, UnitId};
use metergate::modbus::AduFraming;
use metergate::modbus::mbap::{self, Adu};
use metergate::serial::{BusHandle, ReplySender};
use metergate::server::{Broadcast, ListenAt, ListenerSettings, ListenerState, Routes, Writes, listener};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// The end of a bus that a fake bus task reads.
pub(crate) type Requests = mpsc::Receiver<Request<ReplySender>>;

/// A read of two registers from address 0.
pub(crate) const READ: &[u8] = &[0x03, 0, 0, 0, 2];

/// A write of one register.
pub(crate) const WRITE: &[u8] = &[0x06, 0, 1, 0x12, 0x34];

/// The contract's defaults, on a free port.
pub(crate) fn settings() -> ListenerSettings {
    ListenerSettings {
        at: ListenAt::Tcp(SocketAddr::from(([127, 0, 0, 1], 0))),
        framing: AduFraming::Tcp,
        max_age: Duration::ZERO,
        writes: Writes::Deny,
        rules: Vec::new(),
        tls: None,
        broadcast: Broadcast::Refuse,
        request_deadline: Duration::from_secs(3),
        answer_within: None,
        max_in_flight: 16,
        max_connections: 256,
        max_connections_per_ip: 256,
        idle_timeout: Duration::from_secs(600),
        allow: Vec::new(),
    }
}

/// Units that clients know under the identifier they have on the line.
pub(crate) fn units(ids: impl IntoIterator<Item = u8>) -> BTreeMap<u8, UnitId> {
    ids.into_iter().map(|id| (id, UnitId::new(id).unwrap())).collect()
}

/// What a listener obeys, with one bus per entry.
pub(crate) fn listening(
    settings: ListenerSettings,
    buses: Vec<(BusHandle, BTreeMap<u8, UnitId>)>,
) -> Arc<ArcSwap<ListenerState>> {
    Arc::new(ArcSwap::from_pointee(ListenerState::new(settings, Routes::new(buses))))
}

/// A running listener.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) listening: Arc<ArcSwap<ListenerState>>,
    pub(crate) stop: CancellationToken,
    pub(crate) task: JoinHandle<()>,
}

/// Starts a listener on a free port.
pub(crate) fn serve(settings: ListenerSettings, buses: Vec<(BusHandle, BTreeMap<u8, UnitId>)>) -> Server {
    let listener = listener::bind(settings.at.tcp().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let listening = listening(settings, buses);
    let stop = CancellationToken::new();
    let task = tokio::spawn(listener::run(listener, listening.clone(), stop.clone()));
    Server { address, listening, stop, task }
}

/// The reply of a unit of [`answering_bus`]: the unit, and the requested start address.
pub(crate) fn reply_of(unit: u8, start: u16) -> Bytes {
    let [high, low] = start.to_be_bytes();
    Bytes::copy_from_slice(&[0x03, 4, 0, unit, high, low])
}

/// A bus all of whose units answer every 0x03 at once.
pub(crate) fn answering_bus(name: &str) -> BusHandle {
    let (handle, mut requests) = BusHandle::new(BusId(0), name);
    tokio::spawn(async move {
        while let Some(request) = requests.recv().await {
            answer(request);
        }
    });
    handle
}

/// Answers as the unit would.
pub(crate) fn answer(request: Request<ReplySender>) {
    let start = u16::from_be_bytes([request.pdu.data()[0], request.pdu.data()[1]]);
    let answer = match request.target {
        Target::Unit(unit) => Answer::Reply(reply_of(unit.get(), start)),
        Target::Broadcast => Answer::Sent,
    };
    request.to.send(answer);
}

/// A request or reply as it stands on the wire.
pub(crate) fn bytes_of(transaction_id: u16, unit: u8, pdu: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    Adu { transaction_id, unit, pdu: Bytes::copy_from_slice(pdu) }.encode(&mut out);
    out
}

/// A read of two registers from `start`.
pub(crate) fn read_from(start: u16) -> [u8; 5] {
    let [high, low] = start.to_be_bytes();
    [0x03, high, low, 0, 2]
}

/// One end of a connection to the gateway.
pub(crate) struct Peer<S> {
    pub(crate) stream: S,
    input: BytesMut,
}

impl Peer<TcpStream> {
    pub(crate) async fn connect(server: &Server) -> Self {
        Self::new(TcpStream::connect(server.address).await.unwrap())
    }

    /// Connects from one of the many addresses of the loopback.
    pub(crate) async fn connect_from(address: [u8; 4], server: &Server) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((address, 0))).unwrap();
        Self::new(socket.connect(server.address).await.unwrap())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, input: BytesMut::new() }
    }

    pub(crate) async fn send(&mut self, transaction_id: u16, unit: u8, pdu: &[u8]) {
        self.stream.write_all(&bytes_of(transaction_id, unit, pdu)).await.unwrap();
    }

    /// The next reply; `None` when the gateway closed the connection.
    pub(crate) async fn receive(&mut self) -> Option<Adu> {
        loop {
            if let Some(adu) = mbap::decode(&mut self.input).unwrap() {
                return Some(adu);
            }
            let read = timeout(LONG, self.stream.read_buf(&mut self.input)).await;
            match read.expect("the gateway neither answers nor closes") {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// Sends a request and gives the PDU of its reply.
    pub(crate) async fn ask(&mut self, unit: u8, pdu: &[u8]) -> Option<Bytes> {
        self.send(0xA5C3, unit, pdu).await;
        let reply = self.receive().await?;
        assert_eq!((reply.transaction_id, reply.unit), (0xA5C3, unit));
        Some(reply.pdu)
    }
}

/// Only a guard against tests that hang, far beyond anything waited for.
const LONG: Duration = Duration::from_secs(60);
