//! The requests in a stream of serial ADUs, as a server receives them over TCP.
//!
//! Owns where a request ends: by its length and its CRC, or by its CRC and a pause. The silence of 3.5 characters that
//! separates frames on a line does not survive TCP, so a pause here is one that no segment of a request makes. What has a
//! wrong CRC is dropped without an answer, as on a line. It reads no clock: how long the stream has been quiet is an
//! argument. Source: MODBUS over Serial Line Specification and Implementation Guide V1.02, chapter 2.5.1.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};

use super::mbap;
use super::rtu::{ADU_MAX, crc_is_right, request_length};

/// Cuts requests from the front of a buffer. The caller appends what arrives and passes the same buffer each time.
#[derive(Debug, Default)]
pub struct RequestDelimiter {
    alignment: Alignment,
}

/// The result of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delimited {
    /// A request whose CRC is right. The PDU, 1 to 253 bytes, is not checked.
    Request {
        /// The unit identifier, 0 to 255; 0 is a broadcast.
        unit: u8,
        /// The PDU.
        pdu: Bytes,
    },
    /// Bytes that are no request were dropped.
    Dropped(Dropped),
    /// More bytes are needed, or the stream has to be quiet for this long; `None`: the buffer is empty.
    Incomplete(Option<Duration>),
}

/// What was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// A whole request of Modbus TCP.
    ModbusTcp,
    /// Anything else: a damaged request, or the part of one.
    Damaged,
}

/// What is known about the first byte of the buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Alignment {
    /// A request begins there.
    #[default]
    Aligned,
    /// The request that begins there is damaged or longer than its function says.
    Lost,
    /// It is somewhere inside of what was sent.
    Cut,
}

impl RequestDelimiter {
    /// The next request, or what became of the bytes so far. `quiet`: how long ago the last byte arrived. Must be called
    /// until the result is [`Delimited::Incomplete`].
    pub fn next(&mut self, input: &mut BytesMut, quiet: Duration) -> Delimited {
        if input.is_empty() {
            self.alignment = Alignment::Aligned;
            return Delimited::Incomplete(None);
        }
        if let Some((start, length)) = self.find(input, quiet) {
            self.alignment = Alignment::Aligned;
            let adu = &input[start..start + length];
            // A copy: a slice would keep the whole receive buffer alive for as long as the request is queued.
            let (unit, pdu) = (adu[0], Bytes::copy_from_slice(&adu[1..length - 2]));
            input.advance(start + length);
            return Delimited::Request { unit, pdu };
        }
        let pause_is_over = quiet >= REQUEST_PAUSE;
        if pause_is_over || input.len() > ADU_MAX {
            let dropped = self.classify(input);
            if pause_is_over {
                self.alignment = Alignment::Aligned;
                input.clear();
            } else {
                // A request may begin in the last bytes, but none is that long.
                self.alignment = Alignment::Cut;
                input.advance(input.len() + 1 - ADU_MAX);
            }
            return Delimited::Dropped(dropped);
        }
        Delimited::Incomplete(Some(if quiet < END_PAUSE { END_PAUSE } else { REQUEST_PAUSE }))
    }

    /// Where a whole request with the right CRC begins, and its length.
    fn find(&mut self, input: &[u8], quiet: Duration) -> Option<(usize, usize)> {
        let is_whole = |start: usize, length: usize| {
            input.get(start..start + length).is_some_and(|adu| length <= ADU_MAX && crc_is_right(adu))
        };
        if self.alignment == Alignment::Aligned
            && let Some(length) = request_length(input)
        {
            if is_whole(0, length) {
                return Some((0, length));
            }
            if length <= input.len() || length > ADU_MAX {
                self.alignment = Alignment::Lost;
            }
        }
        match self.alignment {
            // The function does not tell its length, or the request is too short or too long for its function.
            Alignment::Aligned | Alignment::Lost if quiet >= END_PAUSE && is_whole(0, input.len()) => {
                Some((0, input.len()))
            }
            Alignment::Aligned => None,
            // A broadcast is not looked for: the length field of a Modbus TCP request begins like one of function 06.
            Alignment::Lost | Alignment::Cut => (0..input.len())
                .filter(|&start| input[start] != 0)
                .filter_map(|start| Some((start, request_length(&input[start..])?)))
                .find(|&(start, length)| is_whole(start, length)),
        }
    }

    fn classify(&self, input: &BytesMut) -> Dropped {
        match self.alignment {
            Alignment::Aligned | Alignment::Lost
                if matches!(mbap::decode(&mut input.clone()), Ok(Some(_))) =>
            {
                Dropped::ModbusTcp
            }
            Alignment::Aligned | Alignment::Lost | Alignment::Cut => Dropped::Damaged,
        }
    }
}

/// The pause that ends a request by its CRC where its function does not tell its length.
pub const END_PAUSE: Duration = Duration::from_millis(20);

/// The pause after which the rest of an incomplete request does not come any more: longer than TCP takes to repeat a
/// lost segment, and shorter than a client waits before its next request.
pub const REQUEST_PAUSE: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::rtu::encode;
    use super::*;

    type Request = (u8, Vec<u8>);

    const NO_PAUSE: Duration = Duration::ZERO;

    /// Everything that is found until more bytes or a longer pause are needed.
    fn drain(
        delimiter: &mut RequestDelimiter,
        input: &mut BytesMut,
        quiet: Duration,
    ) -> (Vec<Request>, Vec<Dropped>) {
        let (mut requests, mut dropped) = (Vec::new(), Vec::new());
        loop {
            match delimiter.next(input, quiet) {
                Delimited::Request { unit, pdu } => requests.push((unit, pdu.to_vec())),
                Delimited::Dropped(what) => dropped.push(what),
                Delimited::Incomplete(pause) => {
                    assert_eq!(pause.is_none(), input.is_empty());
                    assert!(pause.is_none_or(|pause| pause > quiet), "it would be called again at once");
                    assert!(input.len() <= ADU_MAX);
                    return (requests, dropped);
                }
            }
        }
    }

    /// Those of the pieces as they arrive, and of the pause after them.
    fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Request>, Vec<Dropped>) {
        let (mut delimiter, mut input) = (RequestDelimiter::default(), BytesMut::new());
        let (mut requests, mut dropped) = (Vec::new(), Vec::new());
        let pauses = [END_PAUSE, REQUEST_PAUSE];
        let mut step = |input: &mut BytesMut, quiet| {
            let (more, gone) = drain(&mut delimiter, input, quiet);
            requests.extend(more);
            dropped.extend(gone);
        };
        for piece in pieces {
            input.extend_from_slice(piece);
            step(&mut input, NO_PAUSE);
        }
        for quiet in pauses {
            step(&mut input, quiet);
        }
        assert!(input.is_empty());
        (requests, dropped)
    }

    /// A request of each function whose length is known (application protocol, chapter 6).
    fn requests() -> Vec<Request> {
        let pdus: &[&[u8]] = &[
            &[0x01, 0, 0x13, 0, 0x13],
            &[0x03, 0, 0x6B, 0, 3],
            &[0x05, 0, 0xAC, 0xFF, 0],
            &[0x06, 0, 1, 0, 3],
            &[0x07],
            &[0x0B],
            &[0x0C],
            &[0x0F, 0, 0x13, 0, 0x0A, 2, 0xCD, 1],
            &[0x10, 0, 1, 0, 2, 4, 0, 0x0A, 1, 2],
            &[0x11],
            &[0x14, 7, 6, 0, 4, 0, 1, 0, 2],
            &[0x15, 9, 6, 0, 4, 0, 7, 0, 1, 6, 0xAF],
            &[0x16, 0, 4, 0, 0xF2, 0, 0x25],
            &[0x17, 0, 3, 0, 6, 0, 0x0E, 0, 1, 2, 0, 0xFF],
            &[0x18, 4, 0xDE],
            &[0x2B, 0x0E, 1, 0],
        ];
        pdus.iter().zip(1..).map(|(pdu, unit)| (unit, pdu.to_vec())).collect()
    }

    fn stream(requests: &[Request]) -> Vec<u8> {
        requests.iter().flat_map(|(unit, pdu)| encode(*unit, pdu)).collect()
    }

    #[test]
    fn glued_requests_of_known_functions_need_no_pause() {
        let expected = requests();
        let (mut delimiter, mut input) = (
            RequestDelimiter::default(),
            BytesMut::from(&stream(&expected)[..256.min(stream(&expected).len())]),
        );
        let (found, dropped) = drain(&mut delimiter, &mut input, NO_PAUSE);
        assert_eq!((found, dropped), (expected, vec![]));
    }

    #[test]
    fn an_unknown_function_ends_with_a_right_crc_and_a_pause() {
        for pdu in [&[0x41, 1, 2, 3][..], &[8, 0, 0, 0xA5, 0x37], &[0x2B, 0x0D, 0, 1], &[0x83], &[0x41; 253]]
        {
            let (mut delimiter, mut input) =
                (RequestDelimiter::default(), BytesMut::from(&encode(1, pdu)[..]));
            assert_eq!(delimiter.next(&mut input, NO_PAUSE), Delimited::Incomplete(Some(END_PAUSE)));
            let expected = Delimited::Request { unit: 1, pdu: Bytes::copy_from_slice(pdu) };
            assert_eq!(delimiter.next(&mut input, END_PAUSE), expected, "{pdu:02X?}");
        }
    }

    #[test]
    fn a_broadcast_and_the_longest_request_are_found() {
        let longest = [&[0x10, 0, 0, 0, 123, 246][..], &[7; 246]].concat();
        let both = vec![(0, vec![6, 0, 1, 0, 3]), (9, longest)];
        assert_eq!(read([&stream(&both)[..]]), (both, vec![]));
    }

    #[test]
    fn a_length_that_no_request_has_is_not_waited_for() {
        let mut bytes = vec![1, 0x10, 0, 0, 0, 127, 254];
        bytes.extend(encode(2, &[3, 0, 0, 0, 1]));
        let (mut delimiter, mut input) = (RequestDelimiter::default(), BytesMut::from(&bytes[..]));
        let (found, _) = drain(&mut delimiter, &mut input, NO_PAUSE);
        assert_eq!(found, [(2, vec![3, 0, 0, 0, 1])]);
    }

    #[test]
    fn a_modbus_tcp_request_is_called_so_but_for_the_one_identifier_that_makes_it_a_right_crc() {
        let mut misread = Vec::new();
        for transaction in 0..=u16::MAX {
            let [high, low] = transaction.to_be_bytes();
            let (found, dropped) = read([&[high, low, 0, 0, 0, 6, 1, 3, 0, 0, 0, 10][..]]);
            if (&found, &dropped) != (&vec![], &vec![Dropped::ModbusTcp]) {
                misread.extend(found);
            }
        }
        // 0xC2AC: a function that no unit has, and a write for all that is known of it.
        assert_eq!(misread, [(0xC2, vec![0xAC, 0, 0, 0, 6, 1, 3, 0, 0])]);
    }

    #[test]
    fn a_flood_of_garbage_is_bounded_and_the_next_request_is_found() {
        let (mut delimiter, mut input) = (RequestDelimiter::default(), BytesMut::new());
        for _ in 0..100 {
            input.extend_from_slice(&[0x55; 300]);
            assert_eq!(drain(&mut delimiter, &mut input, NO_PAUSE).0, []);
        }
        input.extend_from_slice(&encode(1, &[3, 0, 0, 0, 1]));
        assert_eq!(drain(&mut delimiter, &mut input, NO_PAUSE).0, [(1, vec![3, 0, 0, 0, 1])]);
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_requests(
            order in proptest::collection::vec(0_usize..16, 1..12),
            sizes in proptest::collection::vec(1_usize..40, 1..40),
        ) {
            let known = requests();
            let expected: Vec<Request> = order.iter().map(|&index| known[index].clone()).collect();
            let bytes = stream(&expected);
            let mut rest = &bytes[..];
            let pieces = sizes.iter().cycle().map_while(|&size| {
                let (piece, after) = rest.split_at(size.min(rest.len()));
                rest = after;
                (!piece.is_empty()).then_some(piece)
            });
            prop_assert_eq!(read(pieces.collect::<Vec<_>>()), (expected, vec![]));
        }

        #[test]
        fn a_damaged_request_is_dropped_and_those_behind_it_are_found(
            index in 0_usize..16,
            bit in 0_usize..64,
            is_glued in any::<bool>(),
        ) {
            let (unit, pdu) = requests()[index].clone();
            let mut damaged = encode(unit, &pdu).to_vec();
            // Not in function and counts: with another length, the request behind it may be taken for a part of it.
            let at = damaged.len() - 1 - bit / 8 % 2;
            damaged[at] ^= 1 << (bit % 8);
            let behind = (200, vec![3, 0, 7, 0, 2]);
            let (mut delimiter, mut input) = (RequestDelimiter::default(), BytesMut::from(&damaged[..]));
            if !is_glued {
                let (found, dropped) = drain(&mut delimiter, &mut input, REQUEST_PAUSE);
                prop_assert_eq!((found, dropped), (vec![], vec![Dropped::Damaged]));
            }
            input.extend_from_slice(&stream(std::slice::from_ref(&behind)));
            prop_assert_eq!(drain(&mut delimiter, &mut input, NO_PAUSE).0, vec![behind]);
        }

        #[test]
        fn what_is_found_stands_in_the_stream_with_its_crc(
            bytes in proptest::collection::vec(any::<u8>(), 0..2000),
            size in 1_usize..300,
        ) {
            let (found, _) = read(bytes.chunks(size));
            let mut from = 0;
            for (unit, pdu) in found {
                let adu = encode(unit, &pdu);
                let at = bytes[from..].windows(adu.len()).position(|window| window == adu);
                prop_assert!(at.is_some());
                from += at.unwrap_or_default() + adu.len();
            }
        }
    }
}
