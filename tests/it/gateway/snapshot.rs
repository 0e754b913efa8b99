//! The built program, its snapshot, real sockets, and a unit whose counter never stands still.
//!
//! Every pair of registers of the unit is the same 32-bit counter, taken at one instant for each transaction: its low
//! word rolls over 152 times a second. So a reply itself shows when it was read, and whether it is from one instant. It
//! is the tests' own clock too, which makes a stale value one that is too small.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::support::clients::Peer;
use crate::support::counter_unit::{CounterUnit, WRITABLE, ticks};
use crate::support::program::{Folder, Program};

/// The unit, and a gateway with a listener that takes data of [`MAX_AGE`] and one that takes none.
struct Site {
    unit: CounterUnit,
    _folder: Folder,
    _gateway: Program,
    aged: SocketAddr,
    fresh: SocketAddr,
}

impl Site {
    fn start() -> Self {
        let unit = CounterUnit::start();
        let folder = Folder::new();
        let (device, max_age) = (unit.device().display(), MAX_AGE.as_millis());
        let text = format!(
            "listeners:\n  - {{address: '127.0.0.1:0', max_age: {max_age}ms}}\n  \
             - {{address: '127.0.0.1:0', writes: allow, request_deadline: 20s}}\n\
             buses:\n  - {{name: riser, device: {device}, baud_rate: 115200, units: [{{id: {UNIT}}}]}}\n\
             status: off\n"
        );
        let file = folder.write("metergate.yaml", &text);
        let mut gateway = Program::start(["run".as_ref(), "--config".as_ref(), file.as_os_str()]);
        let (aged, fresh) = (gateway.listening(), gateway.listening());
        gateway.line_with("port open");
        Self { unit, _folder: folder, _gateway: gateway, aged, fresh }
    }

    /// Lets `clients` clients read at `address` until the line has carried `requests`, and returns the values they
    /// received.
    async fn read_by_many(
        &self,
        clients: usize,
        requests: usize,
        address: SocketAddr,
        max_age: Duration,
        ranges: &'static [(u16, u16)],
    ) -> HashSet<u32> {
        let mut tasks = JoinSet::new();
        for number in 0..clients {
            let unit = self.unit.watch().clone();
            tasks.spawn(async move {
                let mut client = connect(address).await;
                let mut seen = HashSet::new();
                let mut newest = vec![0; ranges.len()];
                for index in (0..ranges.len()).cycle().skip(number % ranges.len()) {
                    if unit.requests() >= requests {
                        break;
                    }
                    let (start, quantity) = ranges[index];
                    let asked = unit.now();
                    let value = one_value(&read(&mut client, start, quantity).await, start);
                    let oldest = asked.saturating_sub(ticks(max_age));
                    assert!(value >= oldest, "{value} is from before {oldest}, asked at {asked}");
                    assert!(value >= newest[index], "{value} after {}: time ran backwards", newest[index]);
                    newest[index] = value;
                    seen.insert(value);
                }
                seen
            });
        }
        let mut seen = HashSet::new();
        while let Some(values) = tasks.join_next().await {
            seen.extend(values.unwrap());
        }
        seen
    }
}

async fn connect(address: SocketAddr) -> Peer<TcpStream> {
    Peer::new(TcpStream::connect(address).await.unwrap())
}

/// The registers of a good reply.
async fn read(client: &mut Peer<TcpStream>, start: u16, quantity: u16) -> Vec<u16> {
    let ([a, b], [c, d]) = (start.to_be_bytes(), quantity.to_be_bytes());
    let reply = client.ask(UNIT, &[0x03, a, b, c, d]).await.unwrap();
    assert_eq!((reply[0], usize::from(reply[1])), (0x03, usize::from(quantity) * 2), "{reply:02x?}");
    reply[2..].chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect()
}

/// The counter that all whole pairs of a reply hold.
fn one_value(registers: &[u16], start: u16) -> u32 {
    let pairs = &registers[usize::from(start % 2)..];
    let values: HashSet<u32> =
        pairs.chunks_exact(2).map(|pair| u32::from(pair[0]) << 16 | u32::from(pair[1])).collect();
    assert_eq!(values.len(), 1, "a reply of two readings: {values:?}");
    values.into_iter().next().unwrap()
}

#[tokio::test]
async fn fifty_clients_see_no_torn_value_and_none_older_than_they_take() {
    let site = Site::start();
    let aged = site.read_by_many(CLIENTS, 300, site.aged, MAX_AGE, RANGES);
    let fresh = site.read_by_many(CLIENTS, 300, site.fresh, Duration::ZERO, RANGES);
    let (aged, fresh) = tokio::join!(aged, fresh);
    let given = site.unit.watch().given();
    for value in aged.iter().chain(&fresh) {
        assert!(given.contains(value), "{value} was never given by the unit");
    }
    let rolls: HashSet<u32> = fresh.iter().map(|value| value >> 16).collect();
    assert!(rolls.len() > 1, "the low word did not roll: the test shows nothing");
}

#[tokio::test]
async fn fifty_clients_cost_the_line_what_one_costs_it() {
    let load = async |clients| {
        let site = Site::start();
        let unit = site.unit.watch();
        let begun = unit.elapsed();
        // Once, and again four times when it got too old.
        site.read_by_many(clients, 5, site.aged, MAX_AGE, &RANGES[1..2]).await;
        let seconds = (unit.elapsed() - begun).as_secs();
        // Nothing is read again within a second.
        let most = usize::try_from(seconds).unwrap() + 2;
        let requests = unit.requests();
        assert!(requests <= most, "{requests} requests in {seconds} s for {clients} clients; at most {most}");
    };
    tokio::join!(load(1), load(CLIENTS));
}

#[tokio::test]
async fn a_read_after_an_answered_write_never_shows_what_was_before() {
    let site = Site::start();
    let mut writer = connect(site.fresh).await;
    let mut readers = [connect(site.aged).await, connect(site.aged).await, connect(site.fresh).await];
    for value in 1..=50_u16 {
        // In the snapshot before each write, alone and within a longer block.
        for (start, quantity) in [(WRITABLE, 1), (WRITABLE - 4, 8)] {
            let at = usize::from(WRITABLE - start);
            assert_eq!(read(&mut readers[0], start, quantity).await[at], value - 1);
        }
        let ([a, b], [c, d]) = (WRITABLE.to_be_bytes(), value.to_be_bytes());
        let request = [0x06, a, b, c, d];
        // Reads on their way while the write is: they may show either, and must leave nothing behind.
        let [first, second, third] = &mut readers;
        let (answer, one, other) =
            tokio::join!(writer.ask(UNIT, &request), read(first, WRITABLE, 1), read(third, WRITABLE - 4, 8));
        assert_eq!(answer.unwrap()[..], request);
        assert!([value - 1, value].contains(&one[0]) && [value - 1, value].contains(&other[4]));
        assert_eq!(read(second, WRITABLE, 1).await, [value]);
        assert_eq!(read(first, WRITABLE - 4, 8).await[4], value);
        assert_eq!(read(third, WRITABLE, 1).await, [value]);
    }
}

/// The unit identifier clients use.
const UNIT: u8 = 7;

/// How old data may be at the listener with a snapshot.
const MAX_AGE: Duration = Duration::from_millis(1300);

const CLIENTS: usize = 50;

/// What clients read, start and quantity: a pair, pairs around it, and ranges that begin or end within a pair.
const RANGES: &[(u16, u16)] = &[(10, 2), (0, 40), (10, 20), (9, 4), (8, 5)];
