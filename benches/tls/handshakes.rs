//! Plain clients alone, beside a flood of handshakes, and beside the same flood of another server's, alternating.
//!
//! Attackers, clients and gateway share the processors here; what the last adds to the second is the gateway's part.

use std::sync::Arc;
use std::time::Duration;

use crate::figures::{Row, median, micros, quantile};
use crate::flood::{Flood, serve};
use crate::load::{Load, Question, Work};
use crate::site::{PACE, Site};
use crate::wire::Wire;

pub(crate) fn measure() -> Vec<Row> {
    let (site, load, line) = (Site::new(), Load::new(), Wire::start(PACE));
    let served = site.serve(&line);
    let elsewhere = serve();
    load.run(served.plain, CLIENTS, &work(), WARM_UP);
    let oversized = [&[22, 3, 1, 0x48, 1][..], &[0; 0x4801]].concat();
    let kinds = [
        ("silent", Vec::new()),
        ("half", site.client_hello()),
        ("oversized", oversized),
        ("garbage", vec![0xFF; 512]),
    ];
    let side = || {
        let outcome = load.run(served.plain, CLIENTS, &work(), ROUND);
        assert_eq!(outcome.exceptions, 0, "an exception on a good line");
        quantile(&micros(outcome.latencies), 0.99)
    };
    let mut rows = Vec::new();
    for (kind, bytes) in kinds {
        let mut begun = 0;
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let alone = side();
            let flood = Flood::start(elsewhere, bytes.clone());
            let floor = side();
            drop(flood);
            let flood = Flood::start(served.secured, bytes.clone());
            let beside = side();
            begun += flood.begun();
            rounds.push([alone, floor, beside]);
        }
        let of = |index: usize| median(&rounds.iter().map(|round| round[index]).collect::<Vec<_>>());
        let over =
            |index: usize| median(&rounds.iter().map(|round| round[2] / round[index]).collect::<Vec<_>>());
        let ratio = over(0);
        rows.push(Row::judged(
            &format!("p99 of plain clients beside 1,000 {kind} handshakes at once, over alone"),
            format!("{ratio:.3} ({:.0} to {:.0} µs; {begun} begun)", of(2), of(0)),
            "at most 1.5".into(),
            ratio <= 1.5,
        ));
        rows.push(Row::told(
            &format!("the same over that beside as many {kind} connections to another server"),
            format!("{:.3} ({:.0} to {:.0} µs)", over(1), of(2), of(1)),
        ));
    }
    rows
}

fn work() -> Work {
    Work { questions: Arc::new([Question::ceiling()]), in_flight: 1, pause: PAUSE }
}

const CLIENTS: usize = 8;
const PAUSE: Duration = Duration::from_millis(2);
const WARM_UP: Duration = Duration::from_secs(3);
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(2);
