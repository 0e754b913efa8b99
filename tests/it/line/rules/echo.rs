//! Adapters that echo what is sent.

use metergate::line::{Answer, Echo, LineSettings, PortEvent};

use super::bench::{Ask, BUSY, Bench, NO_RESPONSE, reply, settings};

fn auto(units: &[u8]) -> Bench {
    Bench::new(LineSettings { echo: Echo::Auto, ..settings(units) })
}

/// Sends a read, echoed or not, and answers it.
fn settle(bench: &mut Bench, echoes: bool) {
    bench.read(100, Ask::of(1), 0, 1);
    let sent = bench.sent();
    bench.to(sent.at + 10.0);
    if echoes {
        bench.frame(sent.unit, &sent.pdu);
    }
    bench.frame(1, &[3, 2, 0, 5]);
    assert_eq!(bench.answer(), (100, reply(&[3, 2, 0, 5])));
    assert_eq!(bench.view.echo, Some(echoes));
}

const WRITE: [u8; 5] = [6, 0, 1, 0, 9];

#[test]
fn a_read_goes_before_the_first_write_whose_answer_equals_it() {
    let mut bench = auto(&[1]);
    bench.ask(1, Ask::of(1), &WRITE);
    let check = bench.sent();
    assert_eq!(check.pdu, [3, 0, 0, 0, 1]);
    bench.to(check.at + 10.0);
    bench.frame(1, &[3, 2, 0, 0]);
    assert_eq!(bench.sent().pdu, WRITE);
}

#[test]
fn a_write_that_cannot_equal_its_answer_needs_no_check() {
    let mut bench = auto(&[1]);
    bench.ask(1, Ask::of(1), &[0x10, 0, 1, 0, 1, 2, 0, 9]);
    assert_eq!(bench.sent().pdu[0], 0x10);
}

/// The requests whose right answer is the request itself: 0x05, 0x06, 0x08/00 and 0x16.
const OWN_ANSWERS: [&[u8]; 4] =
    [&[5, 0, 1, 0xFF, 0], &WRITE, &[8, 0, 0, 0xA5, 0x37], &[0x16, 0, 4, 0, 0xF2, 0, 0x25]];

/// The answer to a client that sends `pdu` to a unit that is alive or not, on a line that echoes or not.
fn told(pdu: &[u8], echoes: bool, alive: bool) -> Answer {
    let mut bench = Bench::new(LineSettings { echo: Echo::Auto, retries: 0, ..settings(&[1]) });
    settle(&mut bench, echoes);
    bench.ask(1, Ask::of(1), pdu);
    let sent = bench.sent();
    bench.to(sent.at + 5.0);
    if echoes {
        bench.frame(1, pdu);
        bench.no_answer();
    }
    bench.to(sent.at + 15.0);
    if alive {
        bench.frame(1, pdu);
    }
    bench.answer().1
}

#[test]
fn an_echo_is_not_the_answer_whatever_equals_its_own() {
    for pdu in OWN_ANSWERS {
        for echoes in [false, true] {
            assert_eq!(told(pdu, echoes, true), reply(pdu), "{pdu:02X?}, echo {echoes}, alive");
            assert_eq!(told(pdu, echoes, false), NO_RESPONSE, "{pdu:02X?}, echo {echoes}, dead");
        }
    }
}

#[test]
fn an_echo_behind_noise_is_not_the_answer_either() {
    let mut bench = auto(&[1]);
    settle(&mut bench, true);
    bench.ask(1, Ask::of(1), &WRITE);
    let sent = bench.sent();
    bench.to(sent.at + 5.0);
    bench.bytes(&[0xFF]);
    bench.frame(1, &WRITE);
    assert_eq!(bench.answer(), (1, NO_RESPONSE));
    assert_eq!(bench.view.counters.collisions, 1);
}

#[test]
fn a_damaged_echo_settles_nothing() {
    let mut bench = auto(&[1]);
    bench.read(1, Ask::of(1), 0, 1);
    let sent = bench.sent();
    bench.to(sent.at + 5.0);
    bench.bytes(&[1, 3, 0, 0, 0, 1, 0x84, 0xFF]);
    bench.to(sent.at + 10.0);
    bench.frame(1, &[3, 2, 0, 5]);
    assert_eq!(bench.answer(), (1, reply(&[3, 2, 0, 5])));
    assert_eq!(bench.view.echo, None);
}

#[test]
fn an_echo_before_a_dead_unit_stays_silent_settles_it() {
    let mut bench = auto(&[1]);
    bench.ask(1, Ask { deadline: 900.0, ..Ask::of(1) }, &WRITE);
    let check = bench.sent();
    bench.to(check.at + 5.0);
    bench.frame(1, &check.pdu);
    assert_eq!(bench.answer(), (1, BUSY));
    assert_eq!(bench.view.echo, Some(true));
}

/// A line whose `echo` is set wrongly, and what it shows after each of two reads.
fn set_wrongly(echo: Echo, echoes: bool) -> Bench {
    let mut bench = Bench::new(LineSettings { echo, retries: 0, ..settings(&[1, 2]) });
    for verdict in [!echoes, echoes] {
        bench.read(100, Ask::of(1), 0, 1);
        let sent = bench.sent();
        bench.to(sent.at + 10.0);
        if echoes {
            bench.frame(sent.unit, &sent.pdu);
        }
        bench.frame(1, &[3, 2, 0, 5]);
        assert_eq!(bench.answer(), (100, reply(&[3, 2, 0, 5])));
        assert_eq!((bench.view.echo, bench.view.counters.foreign_requests), (Some(verdict), 0));
    }
    bench
}

#[test]
fn an_echo_in_spite_of_echo_off_is_no_answer_to_a_write_once_two_reads_have_shown_it() {
    let mut bench = set_wrongly(Echo::Off, true);
    bench.ask(1, Ask::of(2), &WRITE);
    let sent = bench.sent();
    bench.to(sent.at + 5.0);
    bench.frame(2, &WRITE);
    assert_eq!(bench.answer(), (1, NO_RESPONSE));
}

#[test]
fn the_answer_to_a_write_is_no_echo_once_two_reads_have_shown_none_in_spite_of_echo_on() {
    let mut bench = set_wrongly(Echo::On, false);
    bench.ask(1, Ask::of(1), &WRITE);
    let sent = bench.sent();
    bench.to(sent.at + 5.0);
    bench.frame(1, &WRITE);
    assert_eq!(bench.answer(), (1, reply(&WRITE)));
}

#[test]
fn silence_takes_back_no_echo_on() {
    let mut bench = Bench::new(LineSettings { echo: Echo::On, retries: 0, ..settings(&[1]) });
    expect_silence_with_echo(&mut bench, 4);
}

/// Reads that nothing answers, not even the adapter, take nothing back of the verdict that it echoes.
fn expect_silence_with_echo(bench: &mut Bench, reads: u32) {
    for id in 0..reads {
        bench.read(id, Ask::of(1), 0, 1);
        bench.sent();
        assert_eq!(bench.answer(), (id, NO_RESPONSE));
        assert_eq!(bench.view.echo, Some(true));
        let guarded = bench.now() + 501.0;
        bench.to(guarded);
    }
}

#[test]
fn silence_takes_back_no_echo_that_was_found() {
    let mut bench = Bench::new(LineSettings { echo: Echo::Auto, retries: 0, ..settings(&[1]) });
    settle(&mut bench, true);
    // The adapter is dead, its echo with it.
    expect_silence_with_echo(&mut bench, 2);
    // It is back, and its echo is no answer of the unit.
    bench.ask(10, Ask::of(1), &WRITE);
    let sent = bench.sent();
    bench.to(sent.at + 5.0);
    bench.frame(1, &WRITE);
    assert_eq!(bench.answer(), (10, NO_RESPONSE));
}

#[test]
fn a_port_that_is_opened_again_begins_with_the_echo_that_is_set() {
    let mut bench = set_wrongly(Echo::Off, true);
    bench.port(PortEvent::Lost);
    bench.port(PortEvent::Opened);
    assert_eq!(bench.view.echo, Some(false));
}

#[test]
fn one_contrary_verdict_changes_nothing_and_two_do() {
    let mut bench = auto(&[1]);
    settle(&mut bench, true);
    for expected in [true, false] {
        bench.read(1, Ask::of(1), 0, 1);
        let sent = bench.sent();
        bench.to(sent.at + 10.0);
        bench.frame(1, &[3, 2, 0, 5]);
        bench.answer();
        assert_eq!(bench.view.echo, Some(expected));
    }
}
