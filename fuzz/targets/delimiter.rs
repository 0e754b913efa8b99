//! The delimiter of RTU requests: whatever arrives in whatever pieces and pauses, each request it returns stands in the
//! stream with a right CRC, behind the one before, and the buffer stays within the longest ADU.
//!
//! Input: pieces, each a byte for its length and the pause after it, then its bytes.

#![no_main]

use std::time::Duration;

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use metergate::modbus::{Delimited, END_PAUSE, REQUEST_PAUSE, RequestDelimiter, rtu};

fuzz_target!(|data: &[u8]| {
    let (mut delimiter, mut input) = (RequestDelimiter::default(), BytesMut::new());
    let (mut rest, mut stream, mut searched) = (data, Vec::new(), 0);
    while let Some((&head, after)) = rest.split_first() {
        let (piece, after) = after.split_at(after.len().min(usize::from(head >> 2)));
        rest = after;
        stream.extend_from_slice(piece);
        input.extend_from_slice(piece);
        let quiet = [Duration::ZERO, END_PAUSE, REQUEST_PAUSE, REQUEST_PAUSE * 2][usize::from(head & 3)];
        // Each step but the last removes bytes.
        for step in 0.. {
            assert!(step <= piece.len() + rtu::ADU_MAX, "it makes no progress");
            match delimiter.next(&mut input, quiet) {
                Delimited::Request { unit, pdu } => {
                    let adu = rtu::encode(unit, &pdu);
                    let at = stream[searched..].windows(adu.len()).position(|window| window == adu);
                    searched += at.expect("it stands in the stream") + adu.len();
                }
                Delimited::Dropped(_) => {}
                Delimited::Incomplete(pause) => {
                    assert_eq!(pause.is_none(), input.is_empty());
                    assert!(pause.is_none_or(|pause| pause > quiet), "it would be called again at once");
                    break;
                }
            }
        }
        assert!(input.len() <= rtu::ADU_MAX);
    }
});
