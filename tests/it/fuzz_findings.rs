//! Findings of the fuzz targets, each as a test of the rule that holds since.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use metergate::line::{
    Expected, Finality, Line, ListenerId, Output, PortEvent, Receiver, Request, Source, Target, UnitId, View,
};
use metergate::modbus::pdu::{PDU_MAX, RequestPdu};
use metergate::modbus::rtu;

use crate::support::settings;

fn unit(id: u8) -> UnitId {
    UnitId::new(id).expect("1 to 247")
}

fn request(pdu: &'static [u8]) -> RequestPdu {
    RequestPdu::decode(Bytes::from_static(pdu)).expect("a good request")
}

fn ask(line: &mut Line<u32>, to: u32, target: Target, pdu: RequestPdu, now: Instant) {
    let source = Source { address: IpAddr::V4(Ipv4Addr::LOCALHOST).into(), connection: u64::from(to) };
    let deadline = now + Duration::from_secs(3);
    line.handle_request(
        Request {
            to,
            source,
            target,
            pdu,
            deadline,
            max_age: Duration::ZERO,
            listener: ListenerId::default(),
        },
        now,
    );
}

fn last_view(line: &mut Line<u32>) -> Option<Arc<View>> {
    let mut view = None;
    while let Some(output) = line.poll_output() {
        match output {
            Output::Publish(published) => view = Some(published),
            Output::Transmit(_)
            | Output::Disconnect(_)
            | Output::Event(_)
            | Output::Record(_)
            | Output::Reply { .. } => {}
        }
    }
    view
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
        let frame = receiver.next(
            |_, function| (function == 0x41).then_some((&asked, Expected::OnTheWire)),
            |_| true,
            Finality::Quiet,
        );
        assert!(frame.is_some_and(|frame| frame.pdu.len() <= PDU_MAX), "{length} bytes");
    }
}

#[test]
fn a_line_that_babbles_for_ever_keeps_none_of_its_bytes() {
    let (mut line, mut now) = (Line::new(settings::line(&[1])), Instant::now());
    line.handle_port(PortEvent::Opened, now);
    let mut sent = 0;
    for _ in 0..2_000 {
        now += Duration::from_millis(10);
        line.handle_bytes(&[0x55; 20], now);
        sent += 20;
        line.handle_timeout(now);
    }
    line.handle_port(PortEvent::Lost, now);
    let view = last_view(&mut line).expect("a lost port is published");
    let kept = sent - view.counters.noise_bytes;
    assert!(kept <= 2 * rtu::ADU_MAX as u64, "{kept} of {sent} bytes are still kept");
}

#[test]
fn a_read_behind_a_broadcast_asks_for_no_call_before_the_broadcast_may_go() {
    let mut settings = settings::line(&[1]);
    // The broadcast needs more silence than the read behind it.
    settings.request_gap = Duration::from_millis(15);
    let (mut line, now) = (Line::new(settings), Instant::now());
    line.handle_port(PortEvent::Opened, now);
    ask(&mut line, 0, Target::Broadcast, request(&[6, 0, 1, 0, 3]), now);
    ask(&mut line, 1, Target::Unit(unit(1)), request(&[3, 0, 1, 0, 1]), now);
    let called = line.poll_timeout().expect("two requests wait");
    line.handle_timeout(called);
    let mut outputs = std::iter::from_fn(|| line.poll_output());
    assert!(
        outputs.any(|output| matches!(output, Output::Transmit(_))),
        "called, but nothing was to be done"
    );
}

/// Sends `first`, loses the port and has it back at once, and sends a read to unit 1: when, counted from
/// the first.
fn time_to_the_next_after_a_loss(target: Target, first: RequestPdu) -> Duration {
    let (mut line, mut now) = (Line::new(settings::line(&[1])), Instant::now());
    line.handle_port(PortEvent::Opened, now);
    ask(&mut line, 0, target, first, now);
    let sent = transmitted(&mut line, &mut now);
    line.handle_port(PortEvent::Lost, now);
    line.handle_port(PortEvent::Opened, now);
    ask(&mut line, 1, Target::Unit(unit(1)), request(&[3, 0, 1, 0, 1]), now);
    transmitted(&mut line, &mut now) - sent
}

/// Lets time pass until something is sent.
fn transmitted(line: &mut Line<u32>, now: &mut Instant) -> Instant {
    loop {
        while let Some(output) = line.poll_output() {
            if matches!(output, Output::Transmit(_)) {
                return *now;
            }
        }
        *now = line.poll_timeout().expect("something waits to be sent");
        line.handle_timeout(*now);
    }
}

#[test]
fn a_unit_still_owes_its_answer_when_the_port_was_lost_and_is_back() {
    let held = time_to_the_next_after_a_loss(Target::Unit(unit(1)), request(&[3, 0, 9, 0, 1]));
    // Response timeout and guard: an answer to the first must not be taken for one to the second.
    assert!(held >= Duration::from_secs(1), "asked again after {held:?}");
}

#[test]
fn units_still_act_on_a_broadcast_when_the_port_was_lost_and_is_back() {
    let held = time_to_the_next_after_a_loss(Target::Broadcast, request(&[6, 0, 1, 0, 3]));
    assert!(held >= settings::line(&[1]).turnaround_delay, "sent after {held:?}");
}

#[test]
fn half_a_late_answer_holds_the_line_no_longer_than_the_guard() {
    let (mut line, mut now) = (Line::new(settings::line(&[1])), Instant::now());
    line.handle_port(PortEvent::Opened, now);
    ask(&mut line, 0, Target::Unit(unit(1)), request(&[3, 0, 0, 0, 125]), now);
    let wire_end = transmitted(&mut line, &mut now) + rtu::wire_time(8, 10, 19_200);
    let guard_end = wire_end + settings::line(&[1]).response_timeout + settings::line(&[1]).late_guard;
    while line.poll_timeout().is_some_and(|at| at < guard_end) {
        now = line.poll_timeout().expect("just seen");
        line.handle_timeout(now);
    }
    line.handle_bytes(&[1, 3, 250], guard_end - Duration::from_millis(25));
    assert!(transmitted(&mut line, &mut now) <= guard_end, "sent again {:?} late", now - guard_end);
}

/// Noise that begins no frame was recorded by whatever call came next, seconds later.
#[test]
fn noise_is_recorded_when_the_line_is_quiet() {
    let (mut line, now) = (Line::<u32>::new(settings::line(&[1])), Instant::now());
    line.handle_port(PortEvent::Opened, now);
    while line.poll_output().is_some() {}
    let heard = now + Duration::from_secs(1);
    line.handle_bytes(&[0xFF; 30], heard);
    while line.poll_output().is_some() {}
    let due = line.poll_timeout().expect("the noise is to be recorded");
    assert_eq!(due, heard + Duration::from_millis(20));
    line.handle_timeout(due - Duration::from_millis(1));
    assert!(line.poll_output().is_none(), "a call before its time did something");
    line.handle_timeout(due);
    let recorded =
        std::iter::from_fn(|| line.poll_output()).any(|output| matches!(output, Output::Record(_)));
    assert!(recorded);
    assert!(line.poll_timeout().is_none(), "nothing is left to do");
}
