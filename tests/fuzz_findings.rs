//! What fuzzing found, each as a test that says what holds since.

use bytes::Bytes;
use metergate::bus::receive::{Finality, Receiver};
use metergate::modbus::pdu::{PDU_MAX, RequestPdu};
use metergate::modbus::rtu;

fn request(pdu: &'static [u8]) -> RequestPdu {
    RequestPdu::decode(Bytes::from_static(pdu)).expect("a good request")
}

/// Zeros behind a frame leave its CRC right; a client can be given 253 bytes at most.
#[test]
fn a_frame_of_unknown_length_is_no_longer_than_a_frame_can_be() {
    let asked = request(&[0x41]);
    for length in [rtu::ADU_MAX - 1, rtu::ADU_MAX, rtu::ADU_MAX + 1, 2 * rtu::ADU_MAX] {
        let mut bytes = rtu::encode(1, &[0x41, 7]).to_vec();
        bytes.resize(length, 0);
        let mut receiver = Receiver::default();
        receiver.push(&bytes);
        let frame =
            receiver.next(|_, function| (function == 0x41).then_some((&asked, true)), Finality::Quiet);
        let pdu = frame.map_or(0, |frame| frame.pdu.len());
        assert_eq!(pdu, (length - rtu::OVERHEAD).min(PDU_MAX), "{length} bytes");
    }
}
