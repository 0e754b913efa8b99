//! The HTTP client for a gateway's status address: one request per connection, the page in pieces as it arrives.
//!
//! Owns the connection, its timeouts and the bounds of what is accepted. It sends nothing but GET, follows no
//! redirection, and never repeats a request. A token is sent over TLS, or on the loopback to a listener of a trusted user;
//! nowhere else. hyper does the framing. Source: RFC 9110, RFC 9112.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::socket_owner::listening_users;
use crate::config::{API_HEADER, Token};
use crate::tls::{self, Trust};

/// Why there is no page.
#[derive(Debug)]
pub enum HttpFailure {
    /// No connection was possible.
    Unreachable(io::Error),
    /// The server does not answer as a gateway does, and what is wrong.
    Broken(String),
    /// An answer with another status than 200, and its text.
    Refused(u16, String),
    /// The token was not sent, and why.
    Withheld(String),
}

/// Where a page is, and how far its server is trusted.
#[derive(Clone, Debug)]
pub struct PageServer {
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The token to send.
    pub token: Option<Token>,
    /// HTTPS, with these certificates; `None`: HTTP.
    pub trust: Option<Trust>,
    /// The users whose listener on the loopback may have the token.
    pub users: BTreeSet<u32>,
}

impl fmt::Display for HttpFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(error) => error.fmt(f),
            Self::Broken(why) | Self::Withheld(why) => f.write_str(why),
            Self::Refused(status, text) => write!(f, "status {status}: {text}"),
        }
    }
}

/// A response whose body is being read.
#[derive(Debug)]
pub struct Response {
    body: Incoming,
    connection: JoinHandle<()>,
}

impl Response {
    /// Requests `path`, a query included. Returns once the head of the answer has arrived.
    ///
    /// # Errors
    /// No connection, no answer in time, another status than 200, or the token cannot be sent there.
    pub async fn get(server: &PageServer, path: &str) -> Result<Self, HttpFailure> {
        let late = || HttpFailure::Unreachable(io::ErrorKind::TimedOut.into());
        let connect = TcpStream::connect((server.host.as_str(), server.port));
        let stream = timeout(CONNECT_TIMEOUT, connect).await.map_err(|_| late())?;
        let stream = stream.map_err(HttpFailure::Unreachable)?;
        match &server.trust {
            Some(trust) => {
                let handshake = timeout(CONNECT_TIMEOUT, tls::connect(trust, &server.host, stream)).await;
                let stream =
                    handshake.map_err(|_| late())?.map_err(|error| HttpFailure::Broken(error.to_string()))?;
                Self::ask_over(stream, server, path).await
            }
            None => {
                if server.token.is_some() {
                    let address = stream.peer_addr().map_err(HttpFailure::Unreachable)?;
                    check_exposure(address, &server.users)?;
                }
                Self::ask_over(stream, server, path).await
            }
        }
    }

    async fn ask_over<S>(stream: S, server: &PageServer, path: &str) -> Result<Self, HttpFailure>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let PageServer { host, port, token, .. } = server;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
        let connection = tokio::spawn(async move {
            // The error also reaches the waiting request.
            let _told_there = connection.await;
        });
        let name = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let mut request = Request::get(path).header(HOST, name);
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, token.bearer());
        }
        let request =
            request.body(Empty::<Bytes>::new()).map_err(|error| HttpFailure::Broken(error.to_string()))?;
        let answer = timeout(ANSWER_TIMEOUT, sender.send_request(request)).await;
        let answer = answer.map_err(|_| HttpFailure::Broken("no answer in time".to_owned()));
        let (head, body) = answer?.map_err(|error| broken(&error))?.into_parts();
        let page = Self { body, connection };
        if head.status == StatusCode::OK {
            return match head.headers.contains_key(API_HEADER) {
                true => Ok(page),
                false => Err(HttpFailure::Broken("what answers there is no metergate, or one older than this command, which a restart of the service replaces".to_owned())),
            };
        }
        let text = page.whole(REFUSAL_MAX).await.unwrap_or_default();
        let text = String::from_utf8_lossy(&text).trim().to_owned();
        Err(HttpFailure::Refused(head.status.as_u16(), text))
    }

    /// The next piece; `None` at the end. Cancel safe.
    ///
    /// # Errors
    /// The page broke off before its end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, HttpFailure> {
        while let Some(frame) = self.body.frame().await {
            if let Ok(data) = frame.map_err(|error| broken(&error))?.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// The whole page, of `most` bytes at most.
    ///
    /// # Errors
    /// It broke off, took too long, or is larger.
    pub async fn whole(mut self, most: usize) -> Result<Vec<u8>, HttpFailure> {
        let reading = async {
            let mut bytes = Vec::new();
            while let Some(piece) = self.next().await? {
                if bytes.len() + piece.len() > most {
                    return Err(HttpFailure::Broken(format!("the page is larger than {most} bytes")));
                }
                bytes.extend_from_slice(&piece);
            }
            Ok(bytes)
        };
        let done = timeout(PAGE_TIMEOUT, reading).await;
        done.map_err(|_| HttpFailure::Broken("the page did not come in time".to_owned()))?
    }
}

impl Drop for Response {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// Whether a token can be sent to this address without TLS.
fn check_exposure(address: SocketAddr, trusted: &BTreeSet<u32>) -> Result<(), HttpFailure> {
    if !address.ip().to_canonical().is_loopback() {
        let why = "without TLS the token could be read on the way: ask it by https:// (key `tls` of `status`), or through \
                   a tunnel such as ssh -L 8502:127.0.0.1:8502";
        return Err(HttpFailure::Withheld(why.to_owned()));
    }
    let users = listening_users(address);
    if users.is_empty() || !users.is_subset(trusted) {
        let found = users.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
        let found = if found.is_empty() {
            "an unknown user".to_owned()
        } else {
            format!("the user with the id {found}")
        };
        let why = format!(
            "{found} listens there, who is neither root, you nor the service's user; `sudo ss -ltnp` shows the program"
        );
        return Err(HttpFailure::Withheld(why));
    }
    Ok(())
}

fn broken(error: &hyper::Error) -> HttpFailure {
    HttpFailure::Broken(error.to_string())
}

/// Until the connection is established.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Until the head of the answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Until the end of a page that has one.
const PAGE_TIMEOUT: Duration = Duration::from_secs(30);

/// Largest text of a refusal.
const REFUSAL_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_loopback_no_token_is_sent_without_tls() {
        for address in ["10.1.2.3:8502", "[fd00::7]:8502", "0.0.0.0:8502"] {
            let checked = check_exposure(address.parse().unwrap(), &(0..=u32::from(u16::MAX)).collect());
            assert!(matches!(checked, Err(HttpFailure::Withheld(why)) if why.contains("https")), "{address}");
        }
    }
}
