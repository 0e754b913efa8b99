//! A small Modbus TCP server: what it answers is up to the test.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

/// Serves one connection after the other, each request as `answer` has it: a PDU in, a PDU out. Returns its address.
pub(crate) fn tcp_server(mut answer: impl FnMut(&[u8]) -> Vec<u8> + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut head = [0; 7];
            while stream.read_exact(&mut head).is_ok() {
                let mut pdu = vec![0; usize::from(u16::from_be_bytes([head[4], head[5]])) - 1];
                stream.read_exact(&mut pdu).unwrap();
                let reply = answer(&pdu);
                let length = u16::try_from(reply.len() + 1).unwrap().to_be_bytes();
                // The client may leave after an answer that does not fit.
                if stream.write_all(&[&head[..4], &length, &head[6..], &reply].concat()).is_err() {
                    break;
                }
            }
        }
    });
    address
}

/// The answer of a meter to a read, with `word` for the register of each wire address.
pub(crate) fn registers(pdu: &[u8], word: impl Fn(u16) -> u16) -> Vec<u8> {
    let (start, quantity) = (u16::from_be_bytes([pdu[1], pdu[2]]), u16::from_be_bytes([pdu[3], pdu[4]]));
    let words = (start..start + quantity).flat_map(|address| word(address).to_be_bytes());
    [pdu[0], u8::try_from(quantity * 2).unwrap()].into_iter().chain(words).collect()
}
