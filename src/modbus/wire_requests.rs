//! The requests on a serial line, as a server receives them that may share the line with others.
//!
//! Owns where a frame begins and ends, and whose it is: a request to this server, or a frame of others, which is passed
//! over as a whole so that nothing inside it is taken for a request. A frame ends by its length and its CRC, or by its
//! CRC and a pause. After anything else only a pause shows where the next frame begins. It reads no clock: whether the
//! line has been quiet is an argument. Source: MODBUS over Serial Line V1.02, chapters 2.4 and 2.5.1.

use bytes::{Buf, Bytes, BytesMut};

use super::pdu::RequestPdu;
use super::reply::{self, Length};
use super::rtu::{ADU_MAX, OVERHEAD, crc_is_right, request_length};

/// Cuts frames from the front of a buffer. The caller appends what arrives and passes the same buffer each time.
#[derive(Debug, Default)]
pub struct WireRequests {
    /// The last request to another server, whose answer may follow.
    asked: Option<(u8, Option<RequestPdu>)>,
    alignment: Alignment,
}

/// The result of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WireFrame {
    /// A request to this server, or a broadcast, with a right CRC. The PDU, 1 to 253 bytes, is not checked.
    Request {
        /// The unit identifier; 0 is a broadcast.
        unit: u8,
        /// The PDU.
        pdu: Bytes,
    },
    /// A request to another server, or its answer.
    OfOthers,
    /// So many bytes that were no frame were dropped.
    Dropped(usize),
    /// More bytes are needed, or a pause.
    Incomplete,
}

/// Whether the line has been quiet for long enough to end a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// More bytes of the same frame may come.
    No,
    /// What comes next is a frame of its own.
    Over,
}

/// What is known about the first byte of the buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Alignment {
    /// A frame begins there.
    #[default]
    Aligned,
    /// The frame that begins there is damaged or longer than its function says.
    Lost,
    /// It is somewhere inside of what was sent.
    Cut,
}

/// Whether a frame of this length stands at the front of the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Candidate {
    Whole(usize),
    Pending,
    Wrong,
}

impl WireRequests {
    /// The next frame, or what became of the bytes so far. `is_served`: whether this server answers for a unit. Must be
    /// called until the result is [`WireFrame::Incomplete`].
    pub fn next(&mut self, input: &mut BytesMut, pause: Pause, is_served: impl Fn(u8) -> bool) -> WireFrame {
        if input.is_empty() {
            if pause == Pause::Over {
                self.alignment = Alignment::Aligned;
            }
            return WireFrame::Incomplete;
        }
        if self.alignment == Alignment::Aligned
            && let Some(frame) = self.aligned(input, pause, &is_served)
        {
            return frame;
        }
        if pause == Pause::Over {
            return self.end(input, &is_served);
        }
        if input.len() > ADU_MAX {
            // Bytes beyond the longest frame are noise, and only a pause ends it.
            self.alignment = Alignment::Cut;
            let dropped = input.len();
            input.clear();
            return WireFrame::Dropped(dropped);
        }
        WireFrame::Incomplete
    }

    /// Forgets what was under way on the line.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// The frame at the front, if it is whole.
    fn aligned(
        &mut self,
        input: &mut BytesMut,
        pause: Pause,
        is_served: &impl Fn(u8) -> bool,
    ) -> Option<WireFrame> {
        let unit = input[0];
        let request = candidate(input, request_length(input));
        let is_ours = unit == BROADCAST || is_served(unit);
        let answer = if is_ours { Candidate::Wrong } else { self.answer(input) };
        match (answer, request) {
            (Candidate::Whole(length), _) => {
                input.advance(length);
                self.asked = None;
                Some(WireFrame::OfOthers)
            }
            // A long answer may begin with bytes that look like a whole request.
            (Candidate::Pending, Candidate::Whole(_)) if pause == Pause::No => None,
            (Candidate::Pending | Candidate::Wrong, Candidate::Whole(length)) => {
                Some(self.take_request(input, 0, length, is_ours))
            }
            (Candidate::Pending | Candidate::Wrong, Candidate::Pending | Candidate::Wrong) => {
                let (start, behind) = behind_glitch(input);
                let may_come = [answer, request, behind].contains(&Candidate::Pending);
                match behind {
                    Candidate::Whole(length) => {
                        let is_ours = is_served(input[start]);
                        Some(self.take_request(input, start, length, is_ours))
                    }
                    Candidate::Pending | Candidate::Wrong => {
                        if !may_come {
                            self.alignment = Alignment::Lost;
                        }
                        None
                    }
                }
            }
        }
    }

    /// An answer of another server at the front.
    fn answer(&self, input: &[u8]) -> Candidate {
        let Some(function) = input.get(1) else { return Candidate::Pending };
        let asked = self.asked.as_ref().filter(|(unit, _)| *unit == input[0]);
        let asked = asked.and_then(|(_, pdu)| pdu.as_ref());
        let asked = asked.filter(|pdu| pdu.function().0 == function & !EXCEPTION);
        let length = match asked {
            Some(pdu) => reply::length(pdu, &input[1..]),
            None => reply::length_by_counts(&input[1..]),
        };
        match length {
            Length::Exact(0) => Candidate::Wrong,
            Length::Exact(length) => candidate(input, Some(length + OVERHEAD)),
            Length::Pending | Length::Unknown => Candidate::Pending,
        }
    }

    fn take_request(
        &mut self,
        input: &mut BytesMut,
        start: usize,
        length: usize,
        is_ours: bool,
    ) -> WireFrame {
        let adu = &input[start..start + length];
        // A copy: a slice would keep the whole receive buffer alive for as long as the request is queued.
        let (unit, pdu) = (adu[0], Bytes::copy_from_slice(&adu[1..length - 2]));
        input.advance(start + length);
        self.alignment = Alignment::Aligned;
        if is_ours {
            self.asked = None;
            return WireFrame::Request { unit, pdu };
        }
        self.asked = Some((unit, RequestPdu::decode(pdu).ok()));
        WireFrame::OfOthers
    }

    /// The line is quiet: the buffer is one frame, or none.
    fn end(&mut self, input: &mut BytesMut, is_served: &impl Fn(u8) -> bool) -> WireFrame {
        let length = input.len();
        let is_whole = length <= ADU_MAX && crc_is_right(input) && self.alignment != Alignment::Cut;
        if is_whole {
            let unit = input[0];
            if unit == BROADCAST || is_served(unit) {
                return self.take_request(input, 0, length, true);
            }
        }
        self.alignment = Alignment::Aligned;
        input.clear();
        if is_whole { WireFrame::OfOthers } else { WireFrame::Dropped(length) }
    }
}

/// A request behind one or two bytes as a transceiver makes them that changes direction, and where it begins. Only
/// where a frame may begin: inside a frame of others nothing is looked for.
fn behind_glitch(input: &[u8]) -> (usize, Candidate) {
    let glitches = input.iter().take(GLITCH_MAX).take_while(|&&byte| matches!(byte, 0x00 | 0xFF)).count();
    let found = (1..=glitches).filter(|&start| input.get(start).is_none_or(|&unit| unit != BROADCAST));
    let found = found.map(|start| (start, candidate(&input[start..], request_length(&input[start..]))));
    let rank = |(_, candidate): &(usize, Candidate)| match candidate {
        Candidate::Whole(_) => 0,
        Candidate::Pending => 1,
        Candidate::Wrong => 2,
    };
    found.min_by_key(rank).unwrap_or((0, Candidate::Wrong))
}

fn candidate(input: &[u8], length: Option<usize>) -> Candidate {
    match length {
        None => Candidate::Pending,
        Some(length) if length > ADU_MAX => Candidate::Wrong,
        Some(length) => match input.get(..length) {
            Some(adu) if crc_is_right(adu) => Candidate::Whole(length),
            Some(_) => Candidate::Wrong,
            None => Candidate::Pending,
        },
    }
}

const BROADCAST: u8 = 0;
const EXCEPTION: u8 = 0x80;

/// Stray bytes that are passed over in front of a request.
const GLITCH_MAX: usize = 2;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::rtu::encode;
    use super::*;

    const OURS: u8 = 7;
    const OTHER: u8 = 9;

    fn is_ours(unit: u8) -> bool {
        unit == OURS
    }

    /// Everything that is found without a pause in the pieces as they arrive, and then with one.
    fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<WireFrame> {
        let (mut receiver, mut input) = (WireRequests::default(), BytesMut::new());
        let mut found = Vec::new();
        let mut drain = |input: &mut BytesMut, pause| loop {
            match receiver.next(input, pause, is_ours) {
                WireFrame::Incomplete => break,
                frame @ (WireFrame::Request { .. } | WireFrame::OfOthers | WireFrame::Dropped(_)) => {
                    found.push(frame);
                }
            }
        };
        for piece in pieces {
            input.extend_from_slice(piece);
            drain(&mut input, Pause::No);
        }
        drain(&mut input, Pause::Over);
        assert!(input.is_empty(), "a pause ends everything");
        found
    }

    fn request(unit: u8, pdu: &[u8]) -> WireFrame {
        WireFrame::Request { unit, pdu: Bytes::copy_from_slice(pdu) }
    }

    const READ: &[u8] = &[3, 0, 0, 0, 2];

    /// An answer of the other server with this in its registers.
    fn answer_with(registers: &[u8]) -> Bytes {
        encode(OTHER, &[&[3, u8::try_from(registers.len()).expect("short")], registers].concat())
    }

    #[test]
    fn a_request_inside_an_answer_of_another_server_is_none() {
        let registers = [&encode(OURS, READ)[..], &encode(OURS, &[6, 0, 1, 0, 3])].concat();
        let asked = encode(OTHER, &[3, 0, 0, 0, 8]);
        let behind = encode(OURS, READ);
        let line = [&asked[..], &answer_with(&registers), &behind].concat();
        let expected = vec![WireFrame::OfOthers, WireFrame::OfOthers, request(OURS, READ)];
        for size in 1..line.len() {
            assert_eq!(read(line.chunks(size)), expected, "in pieces of {size}");
        }
        // The same without its request, as after a start in the middle of the conversation.
        assert_eq!(read([&answer_with(&registers)[..]]), [WireFrame::OfOthers]);
    }

    #[test]
    fn a_damaged_frame_hides_everything_up_to_the_next_pause() {
        let mut damaged = answer_with(&encode(OURS, READ)).to_vec();
        damaged.push(0);
        damaged[3] ^= 1;
        let (mut receiver, mut input) = (WireRequests::default(), BytesMut::from(&damaged[..]));
        assert_eq!(receiver.next(&mut input, Pause::No, is_ours), WireFrame::Incomplete);
        input.extend_from_slice(&encode(OURS, READ));
        assert_eq!(receiver.next(&mut input, Pause::No, is_ours), WireFrame::Incomplete);
        assert!(matches!(receiver.next(&mut input, Pause::Over, is_ours), WireFrame::Dropped(_)));
        input.extend_from_slice(&encode(OURS, READ));
        assert_eq!(receiver.next(&mut input, Pause::No, is_ours), request(OURS, READ));
    }

    #[test]
    fn a_request_of_any_function_ends_at_the_latest_with_a_pause() {
        for pdu in [&[0x41, 1, 2, 3][..], &[8, 0, 0, 0xA5, 0x37], &[3, 0, 0, 0, 2, 9], &[0x2B, 0x0D, 0, 1]] {
            assert_eq!(read([&encode(OURS, pdu)[..]]), [request(OURS, pdu)], "{pdu:02X?}");
        }
    }

    #[test]
    fn a_server_that_does_not_answer_or_answers_with_an_exception_hides_no_request() {
        let asked = encode(OTHER, &[3, 0, 0, 0, 60]);
        let repeated = [&asked[..], &asked].concat();
        let refused = encode(OTHER, &[0x83, 2]);
        for between in [&[][..], &refused[..], &repeated[..]] {
            let line = [&asked[..], between, &encode(OURS, READ)].concat();
            let found = read([&asked[..], between, &encode(OURS, READ)[..]]);
            assert_eq!(found.last(), Some(&request(OURS, READ)), "{line:02X?} {found:?}");
        }
    }

    #[test]
    fn a_glitch_in_front_of_a_request_is_passed_over() {
        for glitch in [&[0x00][..], &[0xFF], &[0xFF, 0x00]] {
            let line = [glitch, &encode(OURS, READ)].concat();
            assert_eq!(read([&line[..]]), [request(OURS, READ)], "{glitch:02X?}");
        }
    }

    #[test]
    fn a_broadcast_is_a_request_and_noise_is_bounded() {
        assert_eq!(read([&encode(0, &[6, 0, 1, 0, 3])[..]]), [request(0, &[6, 0, 1, 0, 3])]);
        let (mut receiver, mut input) = (WireRequests::default(), BytesMut::new());
        for _ in 0..100 {
            input.extend_from_slice(&[0x55; 200]);
            while receiver.next(&mut input, Pause::No, is_ours) != WireFrame::Incomplete {}
            assert!(input.len() <= ADU_MAX);
        }
        input.extend_from_slice(&encode(OURS, READ));
        while receiver.next(&mut input, Pause::No, is_ours) != WireFrame::Incomplete {}
        assert!(matches!(receiver.next(&mut input, Pause::Over, is_ours), WireFrame::Dropped(_)));
    }

    proptest! {
        #[test]
        fn only_what_stands_on_the_line_with_a_right_crc_is_a_request(
            bytes in proptest::collection::vec(any::<u8>(), 0..2000),
            size in 1_usize..300,
        ) {
            for frame in read(bytes.chunks(size)) {
                if let WireFrame::Request { unit, pdu } = frame {
                    let adu = encode(unit, &pdu);
                    prop_assert!(unit == 0 || unit == OURS);
                    prop_assert!(bytes.windows(adu.len()).any(|window| window == adu));
                }
            }
        }
    }
}
