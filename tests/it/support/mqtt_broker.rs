//! A broker as tests need it: it speaks the packets of MQTT 3.1.1 that the gateway sends, remembers what came, and
//! misbehaves where it is told to. Written from the standard, without the gateway's library.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// What a connection is answered with.
#[derive(Clone, Debug)]
pub(crate) enum Manners {
    /// As the standard has it.
    Good,
    /// As the standard has it, but that no PUBLISH is acknowledged.
    NoAcknowledgement,
    /// As the standard has it, but that the connection ends with a PUBLISH to this topic.
    HangUpAt(String),
    /// A CONNACK with this code.
    Refuse(u8),
    /// A CONNACK, after which nothing is read.
    Deaf,
    /// These bytes in place of a CONNACK.
    Instead(Vec<u8>),
    /// A CONNACK, then these bytes.
    Then(Vec<u8>),
}

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Connect(Connect),
    Publish(Publish),
    Subscribe(Vec<String>),
    Unsubscribe(Vec<String>),
    Disconnect,
    /// The connection ended.
    End,
}

impl Seen {
    pub(crate) fn into_publish(self) -> Option<Publish> {
        if let Self::Publish(publish) = self { Some(publish) } else { None }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Connect {
    pub(crate) client_id: String,
    pub(crate) clean: bool,
    pub(crate) keep_alive: u16,
    /// Topic, payload, QoS, retained.
    pub(crate) will: Option<(String, String, u8, bool)>,
    /// The payload of the will, as it came.
    pub(crate) will_bytes: Vec<u8>,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Publish {
    pub(crate) topic: String,
    pub(crate) payload: String,
    /// The payload, as it came.
    pub(crate) bytes: Vec<u8>,
    pub(crate) qos: u8,
    pub(crate) retained: bool,
}

impl Publish {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.payload).unwrap_or_else(|error| panic!("{self:?}: {error}"))
    }
}

/// The broker; it closes all connections when dropped.
pub(crate) struct Broker {
    address: SocketAddr,
    seen: Receiver<Seen>,
    state: Arc<State>,
}

struct State {
    manners: Mutex<VecDeque<Manners>>,
    retained: Mutex<Vec<(String, String)>>,
    /// `None`: the broker is gone.
    connections: Mutex<Option<Vec<TcpStream>>>,
}

impl Broker {
    /// A broker with good manners.
    pub(crate) fn start() -> Self {
        Self::start_with(&[Manners::Good])
    }

    /// The first connections as these say, all others as the last.
    pub(crate) fn start_with(manners: &[Manners]) -> Self {
        Self::at(TcpListener::bind("127.0.0.1:0").unwrap(), manners)
    }

    /// A broker that comes back.
    pub(crate) fn again_at(address: SocketAddr) -> Self {
        let listener = super::at_last::at_last(|| TcpListener::bind(address));
        Self::at(listener, &[Manners::Good])
    }

    fn at(listener: TcpListener, manners: &[Manners]) -> Self {
        let address = listener.local_addr().unwrap();
        let (sender, seen) = channel();
        let state = Arc::new(State {
            manners: Mutex::new(manners.iter().cloned().collect()),
            retained: Mutex::default(),
            connections: Mutex::new(Some(Vec::new())),
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let mut connections = shared.connections.lock().unwrap();
                let Some(all) = connections.as_mut() else { return };
                all.push(stream.try_clone().unwrap());
                drop(connections);
                let (state, sender) = (Arc::clone(&shared), sender.clone());
                thread::spawn(move || {
                    let mut connection = Connection { stream, state, sender };
                    // The gateway may close it at any time.
                    let _ended = connection.serve();
                    let _unheard = connection.sender.send(Seen::End);
                });
            }
        });
        Self { address, seen, state }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Adds a retained message of an earlier time.
    pub(crate) fn retain(&self, topic: &str, payload: &str) {
        self.state.retained.lock().unwrap().push((topic.to_owned(), payload.to_owned()));
    }

    /// Sends bytes to the clients that are connected.
    pub(crate) fn send(&self, bytes: &[u8]) {
        for mut stream in self.state.connections.lock().unwrap().iter().flatten() {
            // A client may be gone.
            let _sent = stream.write_all(bytes);
        }
    }

    /// The next thing that fits; what does not is forgotten.
    pub(crate) fn wait_for<T>(&self, what: &str, mut fits: impl FnMut(Seen) -> Option<T>) -> T {
        let until = Instant::now() + PATIENCE;
        let mut passed = VecDeque::new();
        loop {
            match self.seen.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(seen) => {
                    if passed.len() == 20 {
                        passed.pop_front();
                    }
                    passed.push_back(seen.clone());
                    if let Some(found) = fits(seen) {
                        return found;
                    }
                }
                Err(_) => panic!("no {what}; the last that came: {passed:#?}"),
            }
        }
    }

    pub(crate) fn connect(&self) -> Connect {
        self.wait_for("CONNECT", |seen| if let Seen::Connect(connect) = seen { Some(connect) } else { None })
    }

    /// The next message at this topic.
    pub(crate) fn message(&self, topic: &str) -> Publish {
        self.message_with(topic, |_| true)
    }

    /// The next message at this topic that fits.
    pub(crate) fn message_with(&self, topic: &str, fits: impl Fn(&Publish) -> bool) -> Publish {
        self.wait_for(&format!("message at {topic}"), |seen| {
            seen.into_publish().filter(|publish| publish.topic == topic && fits(publish))
        })
    }

    /// Everything that comes within this time.
    pub(crate) fn everything_for(&self, time: Duration) -> Vec<Seen> {
        let until = Instant::now() + time;
        let next = || self.seen.recv_timeout(until.saturating_duration_since(Instant::now())).ok();
        std::iter::from_fn(next).collect()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let connections = self.state.connections.lock().unwrap().take();
        for stream in connections.into_iter().flatten() {
            let _closed = stream.shutdown(Shutdown::Both);
        }
        // Wakes the thread that accepts, which then frees the port.
        let _woken = TcpStream::connect(self.address);
    }
}

struct Connection {
    stream: TcpStream,
    state: Arc<State>,
    sender: Sender<Seen>,
}

impl Connection {
    fn serve(&mut self) -> io::Result<()> {
        let (_, body) = self.packet()?;
        let connect = parse_connect(&body);
        self.note(Seen::Connect(connect));
        let manners = {
            let mut all = self.state.manners.lock().unwrap();
            if all.len() > 1 { all.pop_front().unwrap() } else { all[0].clone() }
        };
        match &manners {
            Manners::Good | Manners::NoAcknowledgement | Manners::HangUpAt(_) => {
                self.send(&[0x20, 2, 0, 0])?
            }
            Manners::Refuse(code) => return self.send(&[0x20, 2, 0, *code]),
            Manners::Deaf => {
                self.send(&[0x20, 2, 0, 0])?;
                // Until the other end gives up.
                loop {
                    if self.stream.write(&[0xD0, 0])? == 0 {
                        return Ok(());
                    }
                    thread::sleep(Duration::from_millis(100));
                }
            }
            Manners::Instead(bytes) => self.send(bytes)?,
            Manners::Then(bytes) => {
                self.send(&[0x20, 2, 0, 0])?;
                self.send(bytes)?;
            }
        }
        let acknowledges = !matches!(manners, Manners::NoAcknowledgement);
        let bad_topic = if let Manners::HangUpAt(topic) = manners { Some(topic) } else { None };
        loop {
            let (first, body) = self.packet()?;
            match first >> 4 {
                3 if bad_topic.as_deref() == Some(&*string(&body).0) => {
                    return self.stream.shutdown(Shutdown::Both);
                }
                3 => self.publish(first, &body, acknowledges)?,
                8 => {
                    let filters = strings(&body[2..], 1);
                    let mut reply = vec![0x90, u8::try_from(2 + filters.len()).unwrap(), body[0], body[1]];
                    reply.extend(filters.iter().map(|_| 0));
                    self.note(Seen::Subscribe(filters.clone()));
                    self.send(&reply)?;
                    let mut retained = self.state.retained.lock().unwrap().clone();
                    retained.retain(|(topic, _)| filters.iter().any(|filter| fits(filter, topic)));
                    for (topic, payload) in retained {
                        self.send(&publish(&topic, &payload))?;
                    }
                }
                10 => {
                    self.note(Seen::Unsubscribe(strings(&body[2..], 0)));
                    self.send(&[0xB0, 2, body[0], body[1]])?;
                }
                12 => self.send(&[0xD0, 0])?,
                14 => self.note(Seen::Disconnect),
                other => panic!("packet of type {other}"),
            }
        }
    }

    fn publish(&mut self, first: u8, body: &[u8], acknowledges: bool) -> io::Result<()> {
        let (topic, rest) = string(body);
        let qos = first >> 1 & 3;
        let (id, payload) = if qos > 0 { rest.split_at(2) } else { (&[][..], rest) };
        let (bytes, retained) = (payload.to_vec(), first & 1 == 1);
        let payload = String::from_utf8_lossy(payload).into_owned();
        self.note(Seen::Publish(Publish { topic, payload, bytes, qos, retained }));
        if qos > 0 && acknowledges { self.send(&[0x40, 2, id[0], id[1]]) } else { Ok(()) }
    }

    fn packet(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let first = self.byte()?;
        let (mut length, mut shift) = (0, 0);
        loop {
            let byte = self.byte()?;
            length |= usize::from(byte & 0x7F) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok((first, body))
    }

    fn byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.stream.read_exact(&mut byte)?;
        Ok(byte[0])
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    fn note(&self, seen: Seen) {
        // The test may have seen enough.
        let _unheard = self.sender.send(seen);
    }
}

/// Whether a topic fits a filter without `#`.
fn fits(filter: &str, topic: &str) -> bool {
    let (mut filter, mut topic) = (filter.split('/'), topic.split('/'));
    loop {
        match (filter.next(), topic.next()) {
            (None, None) => return true,
            (Some(wanted), Some(level)) if wanted == "+" || wanted == level => {}
            (_, _) => return false,
        }
    }
}

/// A retained PUBLISH with QoS 0.
pub(crate) fn publish(topic: &str, payload: &str) -> Vec<u8> {
    publish_bytes(0x31, topic, payload.as_bytes())
}

/// A PUBLISH that begins with this byte, with QoS 0.
pub(crate) fn publish_bytes(first: u8, topic: &str, payload: &[u8]) -> Vec<u8> {
    let length = 2 + topic.len() + payload.len();
    let mut packet = vec![first];
    let mut rest = length;
    loop {
        let byte = u8::try_from(rest % 128).unwrap();
        rest /= 128;
        packet.push(if rest > 0 { byte | 0x80 } else { byte });
        if rest == 0 {
            break;
        }
    }
    packet.extend(u16::try_from(topic.len()).unwrap().to_be_bytes());
    packet.extend(topic.bytes().chain(payload.iter().copied()));
    packet
}

fn string(bytes: &[u8]) -> (String, &[u8]) {
    let (text, rest) = binary(bytes);
    (String::from_utf8(text).unwrap(), rest)
}

fn binary(bytes: &[u8]) -> (Vec<u8>, &[u8]) {
    let length = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
    let (content, rest) = bytes[2..].split_at(length);
    (content.to_vec(), rest)
}

/// Strings, each followed by so many bytes.
fn strings(mut bytes: &[u8], between: usize) -> Vec<String> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let (text, rest) = string(bytes);
        all.push(text);
        bytes = &rest[between..];
    }
    all
}

fn parse_connect(body: &[u8]) -> Connect {
    let (protocol, rest) = string(body);
    assert_eq!((protocol.as_str(), rest[0]), ("MQTT", 4), "MQTT 3.1.1");
    let flags = rest[1];
    let keep_alive = u16::from_be_bytes([rest[2], rest[3]]);
    let (client_id, mut rest) = string(&rest[4..]);
    let mut next = || {
        let (bytes, after) = binary(rest);
        rest = after;
        bytes
    };
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let will = (flags & 4 != 0).then(|| (next(), next()));
    let user = (flags & 0x80 != 0).then(|| text(next()));
    let password = (flags & 0x40 != 0).then(|| text(next()));
    let (qos, retained) = (flags >> 3 & 3, flags & 0x20 != 0);
    let will_bytes = will.as_ref().map(|(_, payload)| payload.clone()).unwrap_or_default();
    let will = will.map(|(topic, payload)| (text(topic), text(payload), qos, retained));
    Connect { client_id, clean: flags & 2 != 0, keep_alive, will, will_bytes, user, password }
}

/// How long a test waits for something that must happen.
const PATIENCE: Duration = Duration::from_secs(30);
