//! Replies per second from the snapshot through a listener for RTU over TCP, relative to those through one for Modbus TCP
//! of the same gateway.

use std::sync::Arc;
use std::time::Duration;

use crate::figures::Row;
use crate::gateway::{Gateway, Setup};
use crate::load::{Load, Question, Work};
use crate::throughput::{PACE, Side, WARM_UP};
use crate::wire::Wire;

pub(crate) fn measure() -> Vec<Row> {
    let line = Wire::start(PACE);
    let units = "{id: 1, profile: leviton-4000r}";
    let setup = Setup { max_age: "5s", units, framings: &["tcp", "rtu"], ..Setup::new(PACE.baud_rate) };
    let mut gateway = Gateway::set_up(&line, &setup);
    let (by_tcp, by_rtu) = (gateway.address(), gateway.further_address());
    let load = Load::new();
    let (tcp, rtu) = (work(Question::ceiling()), work(Question::rtu()));
    load.run(by_tcp, 100, &tcp, WARM_UP);
    load.run(by_rtu, 100, &rtu, WARM_UP);
    let rows = [1, 8, 100].map(|clients| {
        let time = || gateway.processor_time();
        let rounds = Side::run_in_turns(
            || Side::run(&load, by_rtu, clients, &rtu, time),
            || Side::run(&load, by_tcp, clients, &tcp, time),
        );
        judge(clients, &rounds)
    });
    rows.into()
}

fn judge(clients: usize, rounds: &[[Side; 2]]) -> Row {
    let (ratio, rtu, tcp) = Side::medians(rounds, |side| side.rate);
    let (_, rtu_cost, tcp_cost) = Side::medians(rounds, |side| side.cost);
    Row::judged(
        &format!("replies per second of RTU over TCP over Modbus TCP's, {clients} clients"),
        format!("{ratio:.3} ({rtu:.0} to {tcp:.0}; processor time {rtu_cost:.1} to {tcp_cost:.1} µs)"),
        format!("at least {LEAST}"),
        ratio >= LEAST,
    )
}

/// One request in flight: an RTU client has no more.
fn work(question: Question) -> Work {
    Work { questions: Arc::new([question]), in_flight: 1, pause: Duration::ZERO }
}

/// What the cyclic redundancy check of request and reply may cost.
const LEAST: f64 = 0.8;
