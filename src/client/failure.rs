//! Why a request to a meter failed, in words for the user.
//!
//! Owns the explanation of each exception code and what to check. It never decides the consequences. Source: MODBUS
//! Application Protocol Specification V1.1b3, chapter 7; docs/exceptions.md.

use std::fmt;

use crate::modbus::pdu::ExceptionCode;

/// Why there is no answer, or no usable one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The unit, or a gateway on the way to it, answered with an exception.
    Exception(ExceptionCode),
    /// No answer came in time.
    Silent,
    /// An answer came, but damaged.
    Garbled,
    /// The connection or the port failed, and why.
    Unreachable(String),
    /// The answer does not fit its request, and why.
    Malformed(String),
}

impl Failure {
    /// Whether the unit answers but refuses this range: a smaller one may work.
    #[must_use]
    pub fn refuses_range(&self) -> bool {
        let refusals = [ExceptionCode::ILLEGAL_DATA_ADDRESS, ExceptionCode::ILLEGAL_DATA_VALUE];
        matches!(self, Self::Exception(code) if refusals.contains(code))
    }

    /// Whether a request with this failure was certainly not carried out.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        // 0x04 may come halfway, 0x05 is a promise, 0x0A also reports a port that was lost while an answer was awaited,
        // and 0x0B says only that no answer came back.
        let refusals = [
            ExceptionCode::ILLEGAL_FUNCTION,
            ExceptionCode::ILLEGAL_DATA_ADDRESS,
            ExceptionCode::ILLEGAL_DATA_VALUE,
            ExceptionCode::SERVER_DEVICE_BUSY,
        ];
        matches!(self, Self::Exception(code) if refusals.contains(code))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exception(code) => write!(f, "exception {code}{}", meaning(*code)),
            Self::Silent => f.write_str(
                "no answer in time; look at power, wiring, the unit identifier, baud rate and parity, \
                 or allow more with --timeout",
            ),
            Self::Garbled => f.write_str(
                "what came back is damaged; look at baud rate and parity, termination and bias, or for two meters \
                 with one identifier",
            ),
            Self::Unreachable(why) => f.write_str(why),
            Self::Malformed(why) => write!(f, "an answer that cannot be used: {why}"),
        }
    }
}

/// What the code means, beyond its name, to the user of a meter through a gateway or beside it.
fn meaning(code: ExceptionCode) -> &'static str {
    match code {
        ExceptionCode::ILLEGAL_FUNCTION => {
            ": the meter does not have the function, or the gateway does not allow it here (`writes: deny`, or its `rules`)"
        }
        ExceptionCode::ILLEGAL_DATA_ADDRESS => ": the meter does not have one of these registers",
        ExceptionCode::ILLEGAL_DATA_VALUE => {
            ": the meter does not take the value, or not so many registers at once"
        }
        ExceptionCode::SERVER_DEVICE_BUSY => ": the gateway has too much to do; ask again later",
        ExceptionCode::GATEWAY_PATH_UNAVAILABLE => {
            ": the gateway knows no such unit, or its serial port is closed; `metergate doctor` there says which"
        }
        ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND => {
            ": the meter did not answer the gateway, or not intact; look at its power, wiring and identifier, \
             or ask `metergate doctor` there"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_exception_of_a_gateway_says_what_to_look_at() {
        let said = |code| Failure::Exception(ExceptionCode(code)).to_string();
        for (code, words) in [
            (0x01, "`writes: deny`"),
            (0x02, "does not have one of these registers"),
            (0x06, "too much to do"),
            (0x0A, "knows no such unit"),
            (0x0B, "did not answer the gateway"),
        ] {
            assert!(said(code).contains(words), "{}", said(code));
        }
        assert_eq!(said(0x33), "exception 0x33 not in the standard");
    }

    #[test]
    fn only_what_cannot_have_been_carried_out_counts_as_refused() {
        let refused = |code| Failure::Exception(ExceptionCode(code)).is_refusal();
        assert!([0x01, 0x02, 0x03, 0x06].into_iter().all(refused));
        assert!(![0x04, 0x05, 0x0A, 0x0B].into_iter().any(refused));
        assert!(!Failure::Silent.is_refusal() && !Failure::Unreachable(String::new()).is_refusal());
    }
}
