//! What the page of one meter shows: plain values, put in order by whoever asks for a page.
//!
//! Owns the shape only. The rules of [`super::model`] hold: spans end when the page is made, shares run from 0 to 1,
//! and `None` means "not known". Source: docs/design.md, "The status page".

use std::time::Duration;

use crate::findings::Finding;

use super::model::{Gateway, Meter, MeterRef};

/// Everything on the page of one meter.
#[derive(Clone, Debug, PartialEq)]
pub struct MeterPage {
    /// Who speaks.
    pub gateway: Gateway,
    /// The bus it hangs on.
    pub bus: String,
    /// The meter, as the overview shows it.
    pub meter: Meter,
    /// The title of its profile; `None`: without one, its registers are passed on and nobody knows what they mean.
    pub profile: Option<String>,
    /// The one before it on the wire; `None`: it is the first.
    pub previous: Option<MeterRef>,
    /// The one after it; `None`: it is the last.
    pub next: Option<MeterRef>,
    /// The few values that say most, biggest importance first; empty without a profile.
    pub headline: Vec<Headline>,
    /// What is wrong with this meter.
    pub findings: Vec<Finding>,
    /// The alerts that are set, in words; `Some` of nothing: none is; `None`: they have not been read.
    pub alerts: Option<Vec<String>>,
    /// Plots of the last 12 hours: power, voltage, current.
    pub history: Vec<Series>,
    /// What happened to it since the start.
    pub counters: Counters,
    /// All points of its profile, by group.
    pub groups: Vec<PointGroup>,
    /// The last transactions with it, newest first, as many as are wanted on the page (20 is a good number).
    pub transactions: Vec<Exchange>,
}

/// One of the values that say most.
#[derive(Clone, Debug, PartialEq)]
pub struct Headline {
    /// `Real power`.
    pub label: String,
    /// As last read, in `unit`; `None`: not known or not available.
    pub value: Option<f64>,
    /// `kW`.
    pub unit: String,
}

/// One-minute means of one quantity over the last 12 hours.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// `Real power`.
    pub label: String,
    /// `kW`.
    pub unit: String,
    /// Oldest first, the last one is the minute before now; at most [`HISTORY_MINUTES`] are drawn, fewer leave the
    /// left of the plot empty. `None`: nothing was read in that minute.
    pub minutes: Vec<Option<f64>>,
}

/// How many minutes a [`Series`] shows: 12 hours.
pub const HISTORY_MINUTES: usize = 720;

/// What happened to a meter since the start of the gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests sent to it, probes and further attempts included.
    pub requests: u64,
    /// Of these, without an answer in time.
    pub timeouts: u64,
    /// Answers with a wrong CRC.
    pub crc_errors: u64,
    /// Answers to a request that had been given up.
    pub late_answers: u64,
    /// Exceptions it answered.
    pub exceptions: u64,
    /// Since its last good answer; `None`: there was none.
    pub last_answer: Option<Duration>,
}

/// Points that belong together.
#[derive(Clone, Debug, PartialEq)]
pub struct PointGroup {
    /// `Power`, `Energy`.
    pub title: String,
    /// In the order of the profile.
    pub points: Vec<Point>,
}

/// One point.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Its name in the profile: `real_power_total`.
    pub name: String,
    /// What the profile says of it.
    pub description: String,
    /// The register as printed in the meter's papers.
    pub register: u32,
    /// What was read.
    pub value: PointValue,
    /// The unit of measurement; empty: it has none.
    pub unit: String,
    /// Age of the block it was read in; `None`: it has not been read.
    pub age: Option<Duration>,
}

/// What was read of a point.
#[derive(Clone, Debug, PartialEq)]
pub enum PointValue {
    /// A number, printed with as many digits as a float of 32 bits can hold.
    Float(f32),
    /// Anything that is exact as it stands: scaled whole numbers, codes with their meaning, flags, versions.
    Text(String),
    /// There is no value, and this is why, in a few words: `not read yet`, `not for this system type`.
    Missing(String),
}

/// One attempt at a transaction, or bytes that came without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// Ascending over the records of the bus; keeps what is unfolded on the page unfolded.
    pub number: u64,
    /// How long ago it began.
    pub ago: Duration,
    /// Who wanted it, in words: `client 10.0.0.7`, `polling`, `probe`.
    pub cause: String,
    /// What was asked, in words: `read 52 holding registers from 257`.
    pub what: String,
    /// How it ended, in words: `answered`, `no answer`, `wrong CRC`.
    pub outcome: String,
    /// Whether it ended as it should.
    pub good: bool,
    /// From the first byte sent to the end; `None`: nothing was sent.
    pub took: Option<Duration>,
    /// The request as sent, with its CRC; empty: nothing was sent.
    pub request: Vec<u8>,
    /// What was received, in order, as far as it was kept.
    pub received: Vec<u8>,
    /// How many bytes were received; more than `received` holds if the rest was not kept.
    pub received_total: usize,
}
