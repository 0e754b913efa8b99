//! A Modbus TCP server on loopback in place of the line: what the way through the gateway adds to the way to it.

use std::io::{Read as _, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use crate::client::{Clients, Reads, Reply};
use crate::figures::{Row, median, micros};
use crate::gateway::Gateway;
use crate::wire;

pub(crate) fn measure() -> Vec<Row> {
    let server = serve();
    let gateway = Gateway::before_server(server);
    let (mut through, mut direct) = (vec![], vec![]);
    let mut worked = Duration::ZERO;
    for _ in 0..ROUNDS {
        let before = gateway.processor_time();
        through.push(ask(gateway.address()));
        worked += gateway.processor_time() - before;
        direct.push(ask(server));
    }
    // Each round against the direct way of that round.
    let added: Vec<f64> =
        through.iter().zip(&direct).map(|(through, direct)| median(through) - median(direct)).collect();
    let added = median(&added);
    vec![
        Row::judged(
            "latency added to a Modbus TCP server's own on loopback",
            format!("{added:.0} µs at the median (of {:.0})", median(&through.concat())),
            "below 150 µs".into(),
            added < 150.0,
        ),
        Row::told(
            "processor time of the gateway for one transaction with it",
            format!(
                "{:.0} µs",
                worked.as_secs_f64() * 1e6 / through.iter().map(Vec::len).sum::<usize>() as f64
            ),
        ),
    ]
}

fn ask(address: SocketAddr) -> Vec<f64> {
    let clients = Clients::start(address, [Reads::of(QUANTITY)]);
    thread::sleep(ROUND);
    let replies: Vec<Reply> = clients.stop().concat();
    assert!(replies.iter().all(|reply| reply.exception.is_none()), "an exception of a good server");
    micros(replies.into_iter().map(|reply| reply.latency))
}

/// A server that answers reads of holding registers, each client in a thread of its own; it ends with the program.
fn serve() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port can be had");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.expect("a client connects");
            thread::spawn(move || answer(stream));
        }
    });
    address
}

fn answer(mut stream: TcpStream) {
    stream.set_nodelay(true).expect("a socket takes TCP_NODELAY");
    let mut request = [0; READ_LENGTH];
    while stream.read_exact(&mut request).is_ok() {
        let [.., unit, function, a, b, c, d] = request;
        let (start, quantity) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let pdu = wire::registers(function, unit, start, quantity);
        let length = u8::try_from(pdu.len() + 1).expect("a PDU has at most 253 bytes");
        let mut reply = vec![request[0], request[1], 0, 0, 0, length, unit];
        reply.extend(pdu);
        if stream.write_all(&reply).is_err() {
            break;
        }
    }
}

const QUANTITY: u16 = 60;
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_secs(1);

/// Bytes of the ADU of a read.
const READ_LENGTH: usize = 12;
