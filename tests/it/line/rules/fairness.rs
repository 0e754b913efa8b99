//! Line time, shared by what requests really took.

use metergate::line::{LineSettings, UnitState};

use super::bench::{Ask, Bench, Client, Sent, registers, settings};

fn read(start: u8, quantity: u8) -> Vec<u8> {
    vec![3, 0, start, 0, quantity]
}

/// Reads that no unit of these tests answers, each a different one.
fn ignored() -> impl Iterator<Item = Vec<u8>> {
    (0..=255).map(|low| vec![3, 9, low, 0, 1])
}

/// Units answer everything below address 256.
fn respond(sent: &Sent) -> Option<(f64, Vec<u8>)> {
    (sent.pdu[1] == 0).then(|| (5.0, registers(&sent.pdu, 1)))
}

fn asks(unit: u8, client: u8) -> Ask {
    Ask { deadline: 3_000.0, ..Ask::of(unit).on(client, u64::from(client)) }
}

#[test]
fn beside_a_client_whose_reads_the_same_unit_ignores_another_gets_its_half_of_the_line() {
    for retries in [0, 1] {
        let mut bench = Bench::new(LineSettings { retries, ..settings(&[1]) });
        let mut clients =
            [Client::new(asks(1, 1), ignored(), 0.0), Client::new(asks(1, 2), [read(0, 60)], 0.0)];
        bench.run(60_000.0, &mut clients, respond);
        let share = bench.line_time(2) / 60_000.0;
        assert!(share >= 0.45, "retries {retries}: {share}");
        assert!(clients[1].served() + 1 >= clients[1].answers.len(), "each of its reads was answered");
        assert_eq!(bench.state(1), UnitState::Online);
    }
}

#[test]
fn beside_a_client_whose_reads_another_unit_ignores_a_client_gets_its_half_of_the_line() {
    let mut bench = Bench::new(settings(&[1, 2]));
    let mut clients = [
        Client::new(asks(1, 1), ignored(), 0.0),
        Client::new(asks(2, 2), [read(0, 60)], 0.0),
        // What keeps unit 1 on-line.
        Client::new(asks(1, 3), [read(0, 1)], 1_000.0),
    ];
    bench.run(60_000.0, &mut clients, respond);
    let share = bench.line_time(2) / 60_000.0;
    assert!(share >= 0.45, "{share}");
    assert_eq!(bench.state(1), UnitState::Online);
}

#[test]
fn an_address_with_many_connections_gets_no_more_than_one_with_one() {
    let mut bench = Bench::new(settings(&[1]));
    let mut clients: Vec<Client> = (0..20_u8)
        .map(|number| {
            let ask = Ask { deadline: 60_000.0, ..Ask::of(1).on(1, u64::from(number)) };
            Client::new(ask, [read(number, 10)], 0.0)
        })
        .collect();
    clients.push(Client::new(asks(1, 100), [read(100, 10)], 0.0));
    bench.run(60_000.0, &mut clients, respond);
    let crowd: f64 = (0..20).map(|connection| bench.line_time(connection)).sum();
    let single = bench.line_time(100);
    assert!((crowd / single - 1.0).abs() < 0.05, "{crowd} {single}");
}

#[test]
fn a_debt_stays_while_the_flow_is_empty() {
    let mut bench = Bench::new(settings(&[1]));
    // The first sends an ignored read only from time to time, and leaves the queue in between.
    let mut clients =
        [Client::new(asks(1, 1), ignored(), 200.0), Client::new(asks(1, 2), [read(0, 60)], 0.0)];
    bench.run(60_000.0, &mut clients, respond);
    let share = bench.line_time(2) / 60_000.0;
    assert!(share >= 0.45, "{share}");
}

#[test]
fn a_unit_that_answers_slowly_is_charged_for_its_slowness() {
    let mut bench = Bench::new(settings(&[1, 2]));
    let mut clients =
        [Client::new(asks(1, 1), [read(0, 10)], 0.0), Client::new(asks(2, 2), [read(0, 10)], 0.0)];
    bench.run(60_000.0, &mut clients, |sent| {
        Some((if sent.unit == 1 { 300.0 } else { 5.0 }, registers(&sent.pdu, 1)))
    });
    let (slow, quick) = (bench.line_time(1), bench.line_time(2));
    assert!(quick > slow * 0.9, "{slow} {quick}");
}
