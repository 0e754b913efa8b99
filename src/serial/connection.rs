//! The connection to a server: made, kept alive, and given up when nothing sent arrives any more.
//!
//! Owns the socket's options and what is said of a connection that fails or ends.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use crate::serial::name_lookup::{LookupError, NameLookup};
use crate::serial::settings::ServerAddress;

/// Why there is no connection to a server.
#[derive(Debug)]
pub enum ConnectError {
    /// Its name has no address.
    Name {
        /// The name.
        host: String,
        /// What the resolver said.
        error: LookupError,
    },
    /// None of its addresses can be connected to; each with the reason, in the order of addresses.
    Addresses(Vec<(SocketAddr, AddressError)>),
}

/// Why one address of a server cannot be connected to.
#[derive(Debug)]
pub enum AddressError {
    /// What the system said.
    System(io::Error),
    /// No answer within this time.
    NoAnswer(Duration),
    /// The connection was accepted and closed at once, with these first bytes.
    Dismissed(Vec<u8>),
    /// The connection begins with a command of telnet.
    Telnet,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name { host, error: error @ LookupError::NotFound(_) } => {
                write!(f, "name not found: {host}: {error}")
            }
            Self::Name { host, error: error @ LookupError::NoAnswer(_) } => {
                write!(f, "name not found yet: {host}: {error}")
            }
            Self::Addresses(tried) => {
                for (index, (address, error)) in tried.iter().enumerate() {
                    f.write_str(if index == 0 { "" } else { "; " })?;
                    error.describe(*address, f)?;
                }
                Ok(())
            }
        }
    }
}

impl AddressError {
    fn describe(&self, address: SocketAddr, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(error) => {
                let kind = error.kind();
                if kind == io::ErrorKind::ConnectionRefused {
                    write!(f, "connection refused by {address}")
                } else if has_no_route(error) {
                    write!(f, "no route to {address}")
                } else {
                    write!(f, "cannot connect to {address}: {error}")
                }
            }
            Self::NoAnswer(within) => write!(f, "no answer from {address} within {within:?}"),
            Self::Dismissed(said) => {
                write!(f, "{address} accepted the connection and closed it at once")?;
                if said.is_empty() {
                    f.write_str("; it may serve another client")
                } else {
                    write!(f, ", saying \"{}\"", said.trim_ascii().escape_ascii())
                }
            }
            Self::Telnet => write!(
                f,
                "{address} speaks telnet (RFC 2217), which changes bytes of requests and answers; set its port to raw TCP"
            ),
        }
    }
}

impl std::error::Error for ConnectError {}

/// When a new connection counts as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// From its first moment on.
    Presumed,
    /// When it has lasted for a moment, in which what comes answers no request of ours and is discarded: a server that
    /// has another client, or as many as it takes, often accepts all the same, may say so in words, and closes.
    Awaited,
}

/// Connects to the server, to one of its addresses after the other.
///
/// # Errors
/// If its name has no address, or none of them takes and keeps a connection.
pub(super) async fn connect(
    server: &ServerAddress,
    acceptance: Acceptance,
    response_timeout: Duration,
    lookup: &NameLookup,
) -> Result<TcpStream, ConnectError> {
    let found = lookup.resolve(server, LOOKUP_TIMEOUT).await;
    let addresses = found.map_err(|error| ConnectError::Name { host: server.host().to_owned(), error })?;
    let within = CONNECT_TIMEOUT.max(response_timeout);
    let mut tried = Vec::new();
    for address in addresses.into_iter().take(MAX_ADDRESSES) {
        match connect_to(address, acceptance, within, acknowledge_timeout(response_timeout)).await {
            Ok(stream) => return Ok(stream),
            Err(error) => tried.push((address, error)),
        }
    }
    // A name server hands addresses out in another order each time, which is no news.
    tried.sort_by_key(|(address, _)| *address);
    Err(ConnectError::Addresses(tried))
}

async fn connect_to(
    address: SocketAddr,
    acceptance: Acceptance,
    within: Duration,
    acknowledge_within: Duration,
) -> Result<TcpStream, AddressError> {
    let connected = timeout(within, TcpStream::connect(address)).await;
    let mut stream = connected.map_err(|_| AddressError::NoAnswer(within))?.map_err(AddressError::System)?;
    keep_alive(&stream, acknowledge_within).map_err(AddressError::System)?;
    // On this machine the system may pick the port that is connected to, and TCP then connects it to itself.
    if stream.local_addr().ok() == Some(address) {
        return Err(AddressError::System(io::ErrorKind::ConnectionRefused.into()));
    }
    match acceptance {
        Acceptance::Presumed => {}
        Acceptance::Awaited => settle(&mut stream).await?,
    }
    Ok(stream)
}

fn keep_alive(stream: &TcpStream, acknowledge_within: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(acknowledge_within))
}

/// Discards what comes first, and finds out whether the server keeps the connection.
async fn settle(stream: &mut TcpStream) -> Result<(), AddressError> {
    let until = Instant::now() + SETTLE;
    let (mut said, mut buffer) = (Vec::new(), [0; LONGEST_SAYING]);
    loop {
        let Ok(read) = timeout_at(until, stream.read(&mut buffer)).await else { return Ok(()) };
        let is_first = said.is_empty();
        match read {
            Ok(0) => return Err(AddressError::Dismissed(said)),
            Ok(length) if is_first && is_telnet(&buffer[..length]) => return Err(AddressError::Telnet),
            Ok(length) => {
                let room = LONGEST_SAYING.saturating_sub(said.len());
                said.extend(buffer.iter().take(length.min(room)));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                return Err(AddressError::Dismissed(said));
            }
            Err(error) => return Err(AddressError::System(error)),
        }
    }
}

/// Whether a connection that begins so is one of telnet: IAC, then one of WILL, WONT, DO and DONT (RFC 854), and an
/// option, of which those in use are below 64. It would double each byte of 0xFF in answers, and take some bytes of
/// requests for commands.
fn is_telnet(first: &[u8]) -> bool {
    matches!(first, [0xFF, 0xFB..=0xFE, 0..=0x3F, ..])
}

/// Has the connection reset when it is closed. What is not delivered yet goes with it: a request that the server got
/// only after the next connection is made would be answered there.
pub(super) fn discard(stream: &TcpStream) {
    // A connection that is gone has nothing left to discard.
    drop(SockRef::from(stream).set_linger(Some(Duration::ZERO)));
}

/// How a connection to `server` ended, in words.
pub(super) fn describe_loss(server: &str, error: &io::Error) -> String {
    let kind = error.kind();
    if kind == io::ErrorKind::UnexpectedEof {
        format!("{server} closed the connection")
    } else if kind == io::ErrorKind::ConnectionReset || kind == io::ErrorKind::BrokenPipe {
        format!("{server} reset the connection")
    } else if kind == io::ErrorKind::TimedOut {
        format!("{server} acknowledges nothing any more")
    } else if has_no_route(error) {
        format!("no route to {server} any more")
    } else {
        error.to_string()
    }
}

/// Whether a connection ended because the server has closed it.
pub(super) fn is_closed_by_server(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}

fn has_no_route(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable)
}

/// How long what was sent may stay unacknowledged.
fn acknowledge_timeout(response_timeout: Duration) -> Duration {
    ACKNOWLEDGE_TIMEOUT.max(response_timeout * 2)
}

/// How long the resolver is waited for.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(3);

/// How long an address may take to accept. The system repeats its attempt after a second, so two are made; good values
/// are then back within 3 s of the server's return.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1500);

/// Addresses of one name that are tried.
const MAX_ADDRESSES: usize = 8;

/// How long a new connection is watched: longer than the way there and back within a building.
const SETTLE: Duration = Duration::from_millis(250);

/// Bytes kept of what a server says before it closes: ser2net's "Port already in use" and its like.
const LONGEST_SAYING: usize = 80;

/// A meter is asked more often than this, so keep-alive only matters on a line without requests.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// TCP repeats what is lost within a fraction of this in a building.
const ACKNOWLEDGE_TIMEOUT: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_names_the_address_and_a_list_keeps_its_order() {
        let error = |kind: io::ErrorKind| AddressError::System(kind.into());
        let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let tried = vec![
            (address("10.0.0.7:4001"), error(io::ErrorKind::ConnectionRefused)),
            (address("10.0.0.8:4001"), error(io::ErrorKind::HostUnreachable)),
            (address("10.0.0.9:4001"), AddressError::NoAnswer(CONNECT_TIMEOUT)),
            (address("[fd00::7]:4001"), AddressError::Dismissed(b"Port already in use\r\n\x1b".to_vec())),
        ];
        assert_eq!(
            ConnectError::Addresses(tried).to_string(),
            "connection refused by 10.0.0.7:4001; no route to 10.0.0.8:4001; no answer from 10.0.0.9:4001 within \
             1.5s; [fd00::7]:4001 accepted the connection and closed it at once, saying \"Port already in \
             use\\r\\n\\x1b\""
        );
    }

    #[tokio::test]
    async fn a_connection_is_watched_by_the_system() {
        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = server.local_addr().expect("an address");
        let acknowledge_within = Duration::from_secs(4);
        let stream = connect_to(address, Acceptance::Awaited, CONNECT_TIMEOUT, acknowledge_within)
            .await
            .expect("a connection");
        let socket = SockRef::from(&stream);
        assert!(stream.nodelay().expect("an option"));
        assert_eq!(socket.tcp_user_timeout().expect("an option"), Some(acknowledge_within));
        assert!(socket.keepalive().expect("an option"));
        let times = (socket.tcp_keepalive_time(), socket.tcp_keepalive_interval());
        assert_eq!(times.0.expect("an option"), KEEPALIVE_IDLE);
        assert_eq!(times.1.expect("an option"), KEEPALIVE_INTERVAL);
    }

    #[test]
    fn sent_bytes_may_stay_unacknowledged_for_two_response_timeouts_and_never_less_than_3_s() {
        assert_eq!(acknowledge_timeout(Duration::from_millis(500)), Duration::from_secs(3));
        assert_eq!(acknowledge_timeout(Duration::from_secs(2)), Duration::from_secs(4));
    }
}
