//! 500 connections on a line without a snapshot: is the line shared fairly, and at what cost?

use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Clients, Reads};
use crate::figures::{Row, jain};
use crate::gateway::{Gateway, program};
use crate::wire::{Pace, Wire};

pub(crate) fn measure() -> Vec<Row> {
    let line = Wire::start(PACE);
    let gateway = Gateway::start(&line, PACE.baud_rate);
    let idle = gateway.memory();
    let before = cost_of_one(&gateway);
    // Each reads a register of its own, so that no reply can serve two.
    let work = (0..CLIENTS).map(|client| Reads {
        units: vec![u8::try_from(client % 8 + 1).expect("units are 1 to 8")],
        start: client,
        ..Reads::of(1)
    });
    let clients = Clients::start(gateway.address(), work);
    let (from, worked) = (Instant::now(), gateway.processor_time());
    thread::sleep(TIME);
    let (until, worked) = (Instant::now(), gateway.processor_time() - worked);
    let loaded = gateway.memory();
    let replies = clients.stop();
    let ended = gateway.memory();
    let own = loaded.own.max(ended.own);
    let good = |replies: &Vec<_>| {
        let in_time = |reply: &&crate::client::Reply| reply.at <= until && reply.exception.is_none();
        replies.iter().filter(in_time).count() as f64
    };
    let shares: Vec<f64> = replies.iter().map(good).collect();
    let (least, best) =
        shares.iter().fold((f64::MAX, 0.0_f64), |(a, b), &share| (a.min(share), b.max(share)));
    let fairness = jain(&shares);
    let served = shares.iter().sum::<f64>();
    let rate = served / (until - from).as_secs_f64();
    let cost = worked.as_secs_f64() * 1e6 / served;
    // Other load of the machine affects both alike.
    let alone = before.midpoint(cost_of_one(&gateway));
    let theory = 1.0 / PACE.period(1).as_secs_f64();
    let exceptions = replies.iter().flatten().filter(|reply| reply.exception.is_some()).count();
    let size = std::fs::metadata(program()).expect("the program is there").len();
    vec![
        Row::judged(
            "fairness (Jain) among 500 connections",
            format!("{fairness:.4} ({least} to {best} replies each)"),
            "at least 0.99".into(),
            fairness >= 0.99,
        ),
        Row::judged("fewest replies of one", format!("{least}"), "at least 1".into(), least >= 1.0),
        Row::judged(
            "memory of the gateway's own",
            format!("{own} KiB; idle {}", idle.own),
            "below 4096 KiB".into(),
            own < 4096,
        ),
        Row::told(
            "resident, with the pages of the program and its libraries",
            format!("{} KiB, at most {}; idle {}", loaded.resident, ended.most, idle.resident),
        ),
        Row::told(
            "rate over the theoretical one, exceptions",
            format!("{:.2} % (of {theory:.2} per s), {exceptions}", rate / theory * 100.0),
        ),
        Row::judged(
            "processor time of the gateway for one transaction, 500 clients over one",
            format!("{:.2} ({cost:.0} to {alone:.0} µs)", cost / alone),
            "at most 1.5".into(),
            cost <= 1.5 * alone,
        ),
        Row::told("size of the program", format!("{} KiB", size / 1024)),
    ]
}

/// Processor time for one transaction of one client, µs.
fn cost_of_one(gateway: &Gateway) -> f64 {
    let worked = gateway.processor_time();
    let clients = Clients::start(gateway.address(), [Reads::of(1)]);
    thread::sleep(TIME_OF_ONE);
    let replies = clients.stop().concat().len();
    (gateway.processor_time() - worked).as_secs_f64() * 1e6 / replies as f64
}

/// Fast enough that each is served about ten times: with five, one reply more or less decides.
const PACE: Pace = Pace { baud_rate: 115_200, turnaround: Some(Duration::from_millis(5)) };
const CLIENTS: u16 = 500;
const TIME: Duration = Duration::from_secs(40);
const TIME_OF_ONE: Duration = Duration::from_secs(10);
