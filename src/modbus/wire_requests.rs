//! The requests on a serial line, as a server receives them that may share the line with others.
//!
//! Owns where a frame begins and ends, and whose it is: a request to this server, or a frame of others, which is passed
//! over as a whole so that nothing inside it is taken for a request. A frame ends by its length and its CRC, or by its
//! CRC and a pause. After anything else only a pause shows where the next frame begins. It reads no clock: whether the
//! line has been quiet is an argument. Source: MODBUS over Serial Line V1.02, chapters 2.4 and 2.5.1.

use bytes::{Buf, Bytes, BytesMut};

use super::pdu::{EXCEPTION_BIT, RequestPdu};
use super::reply::{self, Length};
use super::rtu::{ADU_MAX, OVERHEAD, crc_is_right, request_length};

/// Cuts frames from the front of a buffer. The caller appends what arrives and passes the same buffer each time.
#[derive(Debug, Default)]
pub struct WireRequests {
    /// The last request to another server, whose answer may follow, also behind a request to this one.
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
    /// A frame between the client and another server.
    Foreign(ForeignFrame),
    /// So many bytes that were no frame were dropped.
    Dropped(usize),
    /// More bytes are needed, or a pause.
    Incomplete,
}

/// Who sent a frame between the client and another server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForeignFrame {
    /// The client: it waits for the other server now.
    Request,
    /// The other server.
    Answer,
    /// Either: it has the form of both, and answers no request that was seen.
    Ambiguous,
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

/// What stands where a frame may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Front {
    Whole { sender: FrameSender, length: usize },
    Pending,
    Wrong,
}

/// Who sent a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FrameSender {
    /// The client, to this server or to all.
    ClientHere,
    Foreign(ForeignFrame),
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

    /// The frame at the front or behind a glitch, if it is whole.
    fn aligned(
        &mut self,
        input: &mut BytesMut,
        pause: Pause,
        is_served: &impl Fn(u8) -> bool,
    ) -> Option<WireFrame> {
        let mut may_come = false;
        for start in 0..=glitches(input) {
            let bytes = &input[start..];
            let is_ours = match bytes.first() {
                // A broadcast is not looked for behind a glitch: the glitch would make one of any frame.
                Some(&BROADCAST) if start > 0 => continue,
                Some(&unit) => unit == BROADCAST || is_served(unit),
                None => false,
            };
            match self.front(bytes, is_ours, pause) {
                Front::Whole { sender, length } => return Some(self.take(input, start, length, sender)),
                Front::Pending => may_come = true,
                Front::Wrong => {}
            }
        }
        if !may_come {
            self.alignment = Alignment::Lost;
        }
        None
    }

    /// What stands at the front of `bytes`.
    fn front(&self, bytes: &[u8], is_ours: bool, pause: Pause) -> Front {
        let request = candidate(bytes, request_length(bytes));
        if is_ours {
            return match request {
                Candidate::Whole(length) => Front::Whole { sender: FrameSender::ClientHere, length },
                Candidate::Pending => Front::Pending,
                Candidate::Wrong => Front::Wrong,
            };
        }
        let foreign = |frame, length| Front::Whole { sender: FrameSender::Foreign(frame), length };
        match (self.answer(bytes), request) {
            (Candidate::Whole(length), Candidate::Whole(other)) if length == other => {
                let is_answer = self.is_answered_by(bytes[0], &bytes[1..length - CRC]);
                foreign(if is_answer { ForeignFrame::Answer } else { ForeignFrame::Ambiguous }, length)
            }
            (Candidate::Whole(length), _) => foreign(ForeignFrame::Answer, length),
            // A long answer may begin with bytes that look like a whole request.
            (Candidate::Pending, Candidate::Whole(_)) if pause == Pause::No => Front::Pending,
            (Candidate::Pending | Candidate::Wrong, Candidate::Whole(length)) => {
                foreign(ForeignFrame::Request, length)
            }
            (Candidate::Pending, Candidate::Pending | Candidate::Wrong)
            | (Candidate::Wrong, Candidate::Pending) => Front::Pending,
            (Candidate::Wrong, Candidate::Wrong) => Front::Wrong,
        }
    }

    /// An answer of another server at the front.
    fn answer(&self, bytes: &[u8]) -> Candidate {
        let Some(function) = bytes.get(1) else { return Candidate::Pending };
        let asked = self.asked.as_ref().filter(|(unit, _)| *unit == bytes[0]);
        let asked = asked.and_then(|(_, pdu)| pdu.as_ref());
        let asked = asked.filter(|pdu| pdu.function().0 == function & !EXCEPTION_BIT);
        let length = match asked.map_or(Length::Unknown, |pdu| reply::length(pdu, &bytes[1..])) {
            // Another answer than the one to the last request, such as a late one.
            Length::Unknown => reply::length_by_counts(&bytes[1..]),
            length @ (Length::Exact(_) | Length::Pending) => length,
        };
        match length {
            Length::Exact(0) => Candidate::Wrong,
            Length::Exact(length) => candidate(bytes, Some(length + OVERHEAD)),
            Length::Pending => Candidate::Pending,
            // No answer of a function with known lengths is longer than a frame.
            Length::Unknown if request_length(bytes).is_some() => Candidate::Wrong,
            Length::Unknown => Candidate::Pending,
        }
    }

    /// Whether the last request to another server is answered by this frame.
    fn is_answered_by(&self, unit: u8, pdu: &[u8]) -> bool {
        match &self.asked {
            Some((asked, Some(request))) => *asked == unit && reply::answers(request, pdu),
            Some((_, None)) | None => false,
        }
    }

    fn take(&mut self, input: &mut BytesMut, start: usize, length: usize, sender: FrameSender) -> WireFrame {
        let adu = &input[start..start + length];
        // A copy: a slice would keep the whole receive buffer alive for as long as the request is queued.
        let (unit, pdu) = (adu[0], Bytes::copy_from_slice(&adu[1..length - CRC]));
        input.advance(start + length);
        self.alignment = Alignment::Aligned;
        match sender {
            FrameSender::ClientHere => WireFrame::Request { unit, pdu },
            FrameSender::Foreign(frame) => {
                self.asked = match frame {
                    ForeignFrame::Request | ForeignFrame::Ambiguous => {
                        Some((unit, RequestPdu::decode(pdu).ok()))
                    }
                    ForeignFrame::Answer => None,
                };
                WireFrame::Foreign(frame)
            }
        }
    }

    /// The line is quiet: the buffer is one frame, or none.
    fn end(&mut self, input: &mut BytesMut, is_served: &impl Fn(u8) -> bool) -> WireFrame {
        let length = input.len();
        if length <= ADU_MAX && crc_is_right(input) && self.alignment != Alignment::Cut {
            let unit = input[0];
            let sender = if unit == BROADCAST || is_served(unit) {
                FrameSender::ClientHere
            } else if self.is_answered_by(unit, &input[1..length - CRC]) {
                FrameSender::Foreign(ForeignFrame::Answer)
            } else {
                FrameSender::Foreign(ForeignFrame::Ambiguous)
            };
            return self.take(input, 0, length, sender);
        }
        // It may have been the answer that was waited for.
        self.asked = None;
        self.alignment = Alignment::Aligned;
        input.clear();
        WireFrame::Dropped(length)
    }
}

/// A whole request or answer at the front of `bytes`, or behind a glitch.
#[must_use]
pub fn frame_at_front(bytes: &[u8]) -> Option<&[u8]> {
    (0..=glitches(bytes)).find_map(|start| {
        let bytes = &bytes[start..];
        let answer = bytes.get(1..).filter(|pdu| !pdu.is_empty()).map(reply::length_by_counts);
        let answer = match answer {
            Some(Length::Exact(length)) => candidate(bytes, Some(length + OVERHEAD)),
            Some(Length::Pending | Length::Unknown) | None => Candidate::Wrong,
        };
        [candidate(bytes, request_length(bytes)), answer].into_iter().find_map(|candidate| match candidate {
            Candidate::Whole(length) => bytes.get(..length),
            Candidate::Pending | Candidate::Wrong => None,
        })
    })
}

/// How many bytes at the front may be a glitch, as a transceiver makes it that changes direction. Inside a frame none
/// is looked for.
fn glitches(bytes: &[u8]) -> usize {
    bytes.iter().take(GLITCH_MAX).take_while(|&&byte| matches!(byte, 0x00 | 0xFF)).count()
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

/// Bytes of the CRC.
const CRC: usize = 2;

/// Stray bytes that are passed over in front of a frame.
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
                frame @ (WireFrame::Request { .. } | WireFrame::Foreign(_) | WireFrame::Dropped(_)) => {
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
    const WRITE: &[u8] = &[6, 0, 1, 0, 3];
    const ASKED: WireFrame = WireFrame::Foreign(ForeignFrame::Request);
    const ANSWERED: WireFrame = WireFrame::Foreign(ForeignFrame::Answer);
    const EITHER: WireFrame = WireFrame::Foreign(ForeignFrame::Ambiguous);

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
        let expected = vec![ASKED, ANSWERED, request(OURS, READ)];
        for size in 1..line.len() {
            assert_eq!(read(line.chunks(size)), expected, "in pieces of {size}");
        }
        // The same without its request, as after a start in the middle of the conversation.
        assert_eq!(read([&answer_with(&registers)[..]]), [ANSWERED]);
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
    fn a_glitch_in_front_of_another_servers_answer_hides_no_request() {
        for glitch in [&[0x00][..], &[0xFF], &[0xFF, 0x00]] {
            let asked = encode(OTHER, &[3, 0, 0, 0, 2]);
            let line = [&asked[..], glitch, &answer_with(&[0, 1, 0, 2]), &encode(OURS, READ)].concat();
            assert_eq!(read([&line[..]]), [ASKED, ANSWERED, request(OURS, READ)], "{glitch:02X?}");
        }
    }

    #[test]
    fn an_answer_of_another_length_than_the_last_request_says_hides_no_request() {
        let line =
            [&encode(OTHER, &[3, 0, 0, 0, 8])[..], &answer_with(&[0, 1]), &encode(OURS, READ)].concat();
        assert_eq!(read([&line[..]]), [ASKED, ANSWERED, request(OURS, READ)]);
    }

    #[test]
    fn a_late_answer_is_told_from_a_request_that_looks_the_same() {
        let write = encode(OTHER, WRITE);
        let line = [&write[..], &encode(OURS, READ), &write, &write, &write].concat();
        assert_eq!(read([&line[..]]), [EITHER, request(OURS, READ), ANSWERED, EITHER, ANSWERED]);
        let late = [&encode(OTHER, READ)[..], &encode(OURS, READ), &answer_with(&[0, 1, 0, 2])].concat();
        assert_eq!(read([&late[..]]), [ASKED, request(OURS, READ), ANSWERED]);
    }

    #[test]
    fn a_frame_at_the_front_is_a_request_or_an_answer_with_a_right_crc() {
        let (asked, answered) = (encode(OTHER, READ), answer_with(&[0, 1, 0, 2]));
        for frame in [&asked, &answered] {
            for glitch in [&[][..], &[0x00], &[0x00, 0xFF]] {
                let line = [glitch, frame, &[0x55]].concat();
                assert_eq!(frame_at_front(&line), Some(&frame[..]), "{line:02X?}");
                assert_eq!(frame_at_front(&line[..line.len() - 2]), None, "{line:02X?}");
            }
        }
        assert_eq!(frame_at_front(&[&[0x07][..], &asked].concat()), None);
        assert_eq!(frame_at_front(&[]), None);
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
