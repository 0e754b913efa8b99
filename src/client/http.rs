//! The HTTP client for a gateway's status address: one request per connection, the page in pieces as it arrives.
//!
//! Owns the connection, its timeouts and the bounds of what is accepted. It sends nothing but GET, follows no
//! redirection, supports no TLS, and never repeats a request. hyper does the framing. Source: RFC 9110, RFC 9112.

use std::fmt;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::config::Token;

/// Why there is no page.
#[derive(Debug)]
pub enum HttpFailure {
    /// No connection was possible.
    Unreachable(io::Error),
    /// The server does not answer as a gateway does, and what is wrong.
    Broken(String),
    /// An answer with another status than 200, and its text.
    Refused(u16, String),
}

impl fmt::Display for HttpFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(error) => error.fmt(f),
            Self::Broken(why) => f.write_str(why),
            Self::Refused(status, text) => write!(f, "status {status}: {text}"),
        }
    }
}

/// A page that is being read.
#[derive(Debug)]
pub struct Page {
    body: Incoming,
    connection: JoinHandle<()>,
}

impl Page {
    /// Requests `path`, a query included, from `host`. Returns once the head of the answer has arrived.
    ///
    /// # Errors
    /// No connection, no answer in time, or another status than 200.
    pub async fn ask(host: &str, port: u16, path: &str, token: Option<&Token>) -> Result<Self, HttpFailure> {
        let late = || HttpFailure::Unreachable(io::ErrorKind::TimedOut.into());
        let connecting = timeout(CONNECT_TIMEOUT, TcpStream::connect((host, port))).await;
        let stream = connecting.map_err(|_| late())?.map_err(HttpFailure::Unreachable)?;
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
            return Ok(page);
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

impl Drop for Page {
    fn drop(&mut self) {
        self.connection.abort();
    }
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
