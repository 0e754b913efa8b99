//! Processor time and memory of a gateway that publishes, over one that does not, both at the same time.

use std::thread;
use std::time::Duration;

use crate::figures::Row;
use crate::mqtt_broker::Seen;
use crate::site::{Form, Moving, Site};

pub(crate) fn of_json() -> Vec<Row> {
    measure(Form::Json)
}

pub(crate) fn of_sparkplug() -> Vec<Row> {
    measure(Form::Sparkplug)
}

fn measure(form: Form) -> Vec<Row> {
    let sites = Site::pair("10m", form, Moving::All);
    // What is allocated by then stays allocated.
    thread::sleep(WARM_UP);
    let [alone, publishing] = &sites;
    let broker = publishing.broker.as_ref().expect("the second one publishes");
    broker.everything_for(Duration::ZERO);
    let times = || [alone, publishing].map(|site| site.gateway.processor_time());
    let before = times();
    let messages = broker.everything_for(ROUND).into_iter().filter_map(Seen::into_publish).count();
    let [alone_time, publishing_time] = [0, 1].map(|index| {
        let taken = times()[index] - before[index];
        taken.as_secs_f64() / ROUND.as_secs_f64() * 100.0
    });
    let [alone_memory, publishing_memory] = [alone, publishing].map(|site| site.gateway.memory());
    let more = publishing_time - alone_time;
    let bigger = publishing_memory.resident.saturating_sub(alone_memory.resident);
    vec![
        Row::judged(
            &format!(
                "processor time of publishing 60 points of 247 meters every 10 s as {}, of a core",
                form.word()
            ),
            format!("{more:.2} % ({publishing_time:.2} to {alone_time:.2} %)"),
            "below 5 %".into(),
            more < 5.0,
        ),
        Row::judged(
            "resident memory of the gateway that publishes over the one that does not",
            format!(
                "{bigger} KiB ({} to {}; at most {} to {})",
                publishing_memory.resident, alone_memory.resident, publishing_memory.most, alone_memory.most
            ),
            "below 8192 KiB".into(),
            bigger < 8192,
        ),
        Row::told(
            "messages the broker got per second",
            format!("{:.1}", messages as f64 / ROUND.as_secs_f64()),
        ),
    ]
}

const WARM_UP: Duration = Duration::from_secs(20);

/// Some of the intervals at which everything is published.
const ROUND: Duration = Duration::from_secs(40);
