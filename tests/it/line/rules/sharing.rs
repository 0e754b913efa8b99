//! Which request is next, and which clients share an answer.

use std::collections::BTreeMap;

use metergate::line::LineSettings;

use super::bench::{Ask, BUSY, Bench, Sent, reply, settings};

/// Serves `count` reads, each answer as slow as it is long, and returns how many each client got; `client` returns the
/// client of a request.
fn shares(bench: &mut Bench, count: usize, client: impl Fn(&Sent) -> u8) -> BTreeMap<u8, f64> {
    let mut shares = BTreeMap::new();
    for _ in 0..count {
        let sent = bench.sent();
        bench.to(sent.at + 10.0 + f64::from(sent.pdu[4]));
        bench.frame(sent.unit, &super::bench::registers(&sent.pdu, 1));
        *shares.entry(client(&sent)).or_default() += 1.0;
    }
    shares
}

/// Jain's index of fairness: 1 when all shares are equal.
fn jain(shares: &BTreeMap<u8, f64>) -> f64 {
    let sum: f64 = shares.values().sum();
    let squares: f64 = shares.values().map(|share| share * share).sum();
    sum * sum / (shares.len() as f64 * squares)
}

#[test]
fn line_time_is_shared_fairly_between_addresses() {
    let mut bench = Bench::of(&[1]);
    let mut id = 0;
    // Address 1 sends over ten connections, the others over one each; the start address identifies the client.
    for round in 0..20 {
        for address in 1..=3_u8 {
            for connection in 0..if address == 1 { 10 } else { 1 } {
                id += 1;
                let ask = Ask { deadline: 1e6, ..Ask::of(1) };
                let ask = ask.on(address, u64::from(address) * 100 + connection);
                bench.ask(id, ask, &[3, address, round, 0, 1]);
            }
        }
    }
    let shares = shares(&mut bench, 45, |sent| sent.pdu[1]);
    assert_eq!(shares.len(), 3);
    assert!(jain(&shares) > 0.99, "{shares:?}");
}

#[test]
fn line_time_of_an_address_is_shared_fairly_between_its_connections() {
    let mut bench = Bench::of(&[1]);
    for (id, (round, connection)) in
        (0..15).flat_map(|round| (1..=3).map(move |connection| (round, connection))).enumerate()
    {
        let ask = Ask { deadline: 1e6, ..Ask::of(1) };
        // The first connection asks for long answers: they cost what they take.
        let quantity = if connection == 1 { 100 } else { 1 };
        let id = u32::try_from(id).unwrap();
        bench.ask(id, ask.on(1, u64::from(connection)), &[3, connection, round, 0, quantity]);
    }
    let shares = shares(&mut bench, 20, |sent| sent.pdu[1]);
    assert!(shares[&1] <= 3.0, "{shares:?}");
    assert!((shares[&2] - shares[&3]).abs() <= 1.0, "{shares:?}");
}

#[test]
fn a_write_weighs_half_of_a_read() {
    let mut bench = Bench::of(&[1, 2]);
    for round in 0..20 {
        let ask = |unit| Ask { deadline: 1e6, ..Ask::of(unit) };
        bench.ask(round, ask(1).on(1, 1), &[6, 0, u8::try_from(round).unwrap(), 0, 1]);
        bench.ask(100 + round, ask(2).on(2, 2), &[3, 0, u8::try_from(round).unwrap(), 0, 1]);
    }
    let (mut writes, mut reads) = (0, 0);
    for _ in 0..15 {
        let sent = bench.sent();
        bench.to(sent.at + 10.0);
        if sent.pdu[0] == 6 {
            writes += 1;
            bench.frame(1, &sent.pdu);
        } else {
            reads += 1;
            bench.frame(2, &[3, 2, 0, 1]);
        }
    }
    assert!((9..=11).contains(&writes) && reads >= 4, "{writes} writes, {reads} reads");
}

#[test]
fn a_full_queue_still_takes_one_request_of_each_connection() {
    let mut bench = Bench::new(LineSettings { queue_limit: 2, ..settings(&[1]) });
    bench.read(1, Ask::of(1).on(1, 1), 0, 1);
    bench.sent();
    bench.read(2, Ask::of(1).on(1, 1), 10, 1);
    bench.read(3, Ask::of(1).on(1, 1), 20, 1);
    bench.read(4, Ask::of(1).on(1, 1), 30, 1);
    assert_eq!(bench.answer(), (4, BUSY));
    bench.read(5, Ask::of(1).on(2, 2), 40, 1);
    bench.no_answer();
    bench.read(6, Ask::of(1).on(2, 2), 50, 1);
    assert_eq!(bench.answer(), (6, BUSY));
}

#[test]
fn a_read_joins_a_queued_one_that_covers_it() {
    let mut bench = Bench::of(&[1, 2]);
    bench.read(1, Ask::of(2), 0, 1);
    bench.read(2, Ask::of(1).on(2, 2), 0, 10);
    bench.read(3, Ask::of(1).on(3, 3), 4, 2);
    assert_eq!(bench.view.counters.joined, 1);
    bench.serve(0);
    bench.answer();
    let sent = bench.sent();
    assert_eq!(sent.pdu, [3, 0, 0, 0, 10]);
    bench.to(sent.at + 20.0);
    let values: Vec<u8> = (0..20).collect();
    bench.frame(1, &[&[3, 20][..], &values].concat());
    assert_eq!(bench.answer(), (2, reply(&[&[3, 20][..], &values].concat())));
    assert_eq!(bench.answer(), (3, reply(&[3, 4, 8, 9, 10, 11])));
    bench.silent_to(1_000.0);
}

#[test]
fn a_read_joins_the_one_on_the_wire_only_if_that_is_young_enough() {
    let mut bench = Bench::of(&[1]);
    bench.read(1, Ask::of(1), 0, 10);
    let first = bench.sent();
    bench.to(first.at + 10.0);
    bench.read(2, Ask { max_age: 10.0, ..Ask::of(1) }.on(2, 2), 0, 1);
    bench.read(3, Ask { max_age: 9.0, ..Ask::of(1) }.on(3, 3), 0, 2);
    bench.frame(1, &[&[3, 20][..], &[7; 20]].concat());
    assert_eq!(bench.answer().0, 1);
    assert_eq!(bench.answer(), (2, reply(&[3, 2, 7, 7])));
    bench.no_answer();
    assert_eq!(bench.sent().pdu, [3, 0, 0, 0, 2]);
}

#[test]
fn a_read_does_not_join_across_a_write() {
    let mut bench = Bench::of(&[1]);
    let ask = Ask { max_age: 5_000.0, ..Ask::of(1) };
    bench.read(1, ask, 0, 10);
    bench.sent();
    bench.ask(2, ask.on(2, 2), &[6, 0, 0, 0, 9]);
    bench.read(3, ask.on(3, 3), 0, 1);
    bench.frame(1, &[&[3, 20][..], &[7; 20]].concat());
    assert_eq!(bench.answer().0, 1);
    bench.no_answer();
    // What came after the write stays behind it.
    assert_eq!(bench.sent().pdu[0], 6);
}

#[test]
fn a_read_does_not_join_across_a_broadcast() {
    let mut bench = Bench::of(&[1]);
    let ask = Ask { max_age: 5_000.0, ..Ask::of(1) };
    bench.read(1, ask, 0, 10);
    bench.sent();
    bench.ask(2, Ask { unit: 0, ..ask }.on(2, 2), &[6, 0, 0, 0, 9]);
    bench.read(3, ask.on(3, 3), 0, 1);
    bench.frame(1, &[&[3, 20][..], &[7; 20]].concat());
    assert_eq!(bench.answer().0, 1);
    bench.no_answer();
}

#[test]
fn who_joined_a_refused_read_asks_alone_and_joins_no_other() {
    let mut bench = Bench::new(LineSettings { queue_limit: 2, ..settings(&[1]) });
    bench.read(1, Ask::of(1).on(1, 1), 0, 50);
    let first = bench.sent();
    bench.read(2, Ask { max_age: 100.0, ..Ask::of(1) }.on(2, 2), 0, 1);
    bench.read(3, Ask::of(1).on(1, 1), 0, 60);
    bench.read(4, Ask::of(1).on(2, 2), 100, 1);
    bench.to(first.at + 10.0);
    bench.frame(1, &[0x83, 2]);
    assert_eq!(bench.answer(), (1, reply(&[0x83, 2])));
    // A queue that is full by now has a place for a request that had one before.
    bench.no_answer();
    let asked: Vec<Vec<u8>> = (0..3).map(|_| bench.serve(1).pdu).collect();
    assert!(asked.contains(&vec![3, 0, 0, 0, 1]), "{asked:?}");
}

#[test]
fn who_left_costs_the_line_nothing() {
    let mut bench = Bench::of(&[1]);
    bench.read(1, Ask::of(1).on(1, 1), 0, 1);
    bench.sent();
    bench.read(2, Ask::of(1).on(2, 2), 10, 1);
    bench.line.drop_requests(|&id| id == 2);
    bench.frame(1, &[3, 2, 0, 0]);
    // Notified at once that nothing was sent, in case it only closed its side.
    assert_eq!(bench.answer(), (2, BUSY));
    assert_eq!(bench.answer().0, 1);
    bench.silent_to(20_000.0);
    bench.no_answer();
}

#[test]
fn a_closed_queue_answers_every_client_and_lets_the_wire_end() {
    let mut bench = Bench::of(&[1]);
    bench.read(1, Ask::of(1), 0, 1);
    bench.sent();
    bench.read(2, Ask { deadline: 20.0, ..Ask::of(1) }, 10, 1);
    assert_eq!(bench.answer(), (2, BUSY));
    bench.read(3, Ask::of(1), 10, 1);
    bench.line.close();
    assert!(!bench.line.is_idle());
    bench.frame(1, &[3, 2, 0, 0]);
    let not_sent =
        metergate::line::Answer::NotSent(metergate::modbus::pdu::ExceptionCode::GATEWAY_PATH_UNAVAILABLE);
    assert_eq!(bench.answer(), (3, not_sent));
    assert_eq!(bench.answer().0, 1);
    assert!(bench.line.is_idle());
}

#[test]
fn a_broadcast_does_not_overtake_an_earlier_write_of_its_connection() {
    let mut bench = Bench::new(LineSettings { retries: 0, ..settings(&[1, 2]) });
    // Unit 1 owes an answer, so that the write to it has to wait.
    bench.read(1, Ask::of(1).on(2, 2), 0, 1);
    bench.sent();
    bench.answer();
    bench.ask(2, Ask::of(1), &[6, 0, 1, 0, 1]);
    bench.ask(3, Ask::of(0), &[6, 0, 1, 0, 2]);
    let sent = bench.sent();
    assert_eq!((sent.unit, sent.pdu), (1, vec![6, 0, 1, 0, 1]), "the write that was asked for first");
    bench.frame(1, &[6, 0, 1, 0, 1]);
    assert_eq!(bench.sent().unit, 0);
}

#[test]
fn who_joins_on_the_wire_counts_against_the_queue_limit() {
    let mut bench = Bench::new(LineSettings { queue_limit: 2, ..settings(&[1]) });
    bench.read(1, Ask::of(1), 0, 1);
    bench.sent();
    let eager = || Ask { max_age: 5_000.0, ..Ask::of(1) };
    for id in 2..=9 {
        bench.read(id, eager(), 0, 1);
    }
    // Two wait for the answer on the wire, two in the queue, and the rest is refused.
    assert_eq!(bench.view.waiting, 2);
    let refused = std::iter::from_fn(|| bench.take_answer()).count();
    assert_eq!(refused, 5);
}
