//! 500 clients with TLS beside 500 without, each with its limit of requests in flight.

use std::sync::Arc;
use std::time::Duration;

use crate::figures::Row;
use crate::gateway::Memory;
use crate::load::{Load, Question, Work};
use crate::site::{PACE, Site};
use crate::wire::Wire;

pub(crate) fn measure() -> Vec<Row> {
    let (site, load) = (Site::new(), Load::new());
    let work = Work { questions: Arc::new([Question::ceiling()]), in_flight: 16, pause: PAUSE };
    // A gateway of its own for each: what the clients of one left would serve those of the other.
    let plain = {
        let line = Wire::start(PACE);
        let served = site.serve(&line);
        let outcome = load.run(served.plain, CLIENTS, &work, TIME);
        (served.gateway.memory(), outcome.replies)
    };
    let secured = {
        let line = Wire::start(PACE);
        let served = site.serve(&line);
        let connect = async || site.connect(served.secured).await;
        let outcome = load.run_over(connect, CLIENTS, &work, TIME);
        (served.gateway.memory(), outcome.replies)
    };
    let (Memory { most: plain, own: plain_own, .. }, plain_replies) = plain;
    let (Memory { most: secured, own: secured_own, .. }, secured_replies) = secured;
    let more = secured.saturating_sub(plain);
    vec![
        Row::judged(
            "resident memory with 500 TLS clients, more than with 500 plain ones",
            format!("{more} KiB (at most {secured} to {plain}; of its own {secured_own} to {plain_own})"),
            "below 16384 KiB".into(),
            more < 16_384,
        ),
        Row::told("replies meanwhile, by TLS and plain", format!("{secured_replies}; {plain_replies}")),
    ]
}

const CLIENTS: usize = 500;
const PAUSE: Duration = Duration::from_millis(100);
const TIME: Duration = Duration::from_secs(10);
