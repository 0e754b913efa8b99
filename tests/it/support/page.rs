//! Asking the status page as a client that writes every byte itself.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// An answer, taken apart.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// UnitDirectory in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

pub(crate) fn connect(page: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(page).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Everything that comes until the other side closes. One that closes with a reset has closed.
pub(crate) fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return bytes,
            Ok(length) => bytes.extend(&buffer[..length]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return bytes,
            Err(error) => panic!("{error}, after {}", String::from_utf8_lossy(&bytes)),
        }
    }
}

/// Sends these bytes and takes what comes.
pub(crate) fn say(page: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = connect(page);
    // A server that has refused already may have closed before the last byte.
    let _refused_early = stream.write_all(request);
    parse(&read_all(&mut stream))
}

pub(crate) fn parse(bytes: &[u8]) -> Answer {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let header = |line: &str| {
        let (name, value) = line.split_once(':').unwrap();
        (name.to_ascii_lowercase(), value.trim().to_owned())
    };
    Answer { status, headers: lines.map(header).collect(), body: body.to_owned() }
}

/// A request as a browser on this machine sends it, with more headers, on a connection of its own.
pub(crate) fn request(page: SocketAddr, method: &str, path: &str, headers: &[&str]) -> Answer {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {page}\r\nConnection: close\r\n");
    say(page, format!("{head}{headers}\r\n").as_bytes())
}

pub(crate) fn get(page: SocketAddr, path: &str) -> Answer {
    request(page, "GET", path, &[])
}

/// Asks again and again until the answer is one that is waited for.
pub(crate) fn get_until(page: SocketAddr, path: &str, fits: impl Fn(&Answer) -> bool) -> Answer {
    let until = std::time::Instant::now() + PATIENCE;
    loop {
        let answer = get(page, path);
        if fits(&answer) {
            return answer;
        }
        assert!(std::time::Instant::now() < until, "{path} never became what it should be: {answer:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// How long a test waits for something that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
