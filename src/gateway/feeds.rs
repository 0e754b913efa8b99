//! The pages made of traffic: captures, traces, findings and the report, for whoever looks after a fault.
//!
//! Owns their paths and what may stand behind the question mark; a word that means nothing is refused rather than
//! passed over. They read what is kept, and follow; a viewer that reads slowly is told what it missed.
//! Source: contract section 6.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::sync::mpsc::{self, Sender};
use tokio::time::sleep;

use super::report;
use super::status::{Looked, Surroundings};
use crate::capture::Capture;
use crate::io::feed::{FEED_PIECES, Feed};
use crate::io::http::{Question, Reply};
use crate::io::names::Names;
use crate::io::process::Process;
use crate::io::traffic::{Event, Followed, Traffic};
use crate::status::checkup::Checkup;
use crate::status::site::decode;
use crate::trace::{self, Filter};

/// The reply to a question about traffic; `None`: it is about something else.
pub(super) fn answer(
    question: &Question<'_>,
    surroundings: &Arc<ArcSwap<Surroundings>>,
    looked: &Looked,
) -> Option<Reply> {
    let reply = match question.path {
        "/capture.pcapng" => seconds(question.query).map(|time| capture(surroundings, time)),
        "/api/v1/trace" => Asked::read(question.query)
            .and_then(|asked| asked.of_known(&surroundings.load().names))
            .map(|asked| follow(surroundings, asked)),
        "/api/v1/checkup" => Ok(checkup(surroundings, looked)),
        "/api/v1/report" => Ok(Reply::text(200, report::report(surroundings, looked))),
        _ => return None,
    };
    Some(reply.unwrap_or_else(|fault| Reply::text(400, format!("{fault}\n"))))
}

fn checkup(surroundings: &Arc<ArcSwap<Surroundings>>, looked: &Looked) -> Reply {
    let picture = surroundings.load().picture(Process::default());
    let checkup = looked.with(|history| Checkup::of(&picture, history, Instant::now()));
    let body = serde_json::to_vec(&checkup).expect("no map and no serialiser of ours can fail");
    Reply::Page { status: 200, kind: "application/json", body: body.into() }
}

/// What a capture is asked for with: for how long to go on after what is kept.
fn seconds(query: &str) -> Result<Option<Duration>, String> {
    let mut time = None;
    for (name, value) in pairs(query) {
        let number = value.parse().ok().filter(|number| (1..=CAPTURE_SECONDS_MAX).contains(number));
        match (name, number) {
            ("seconds", Some(number)) => time = Some(Duration::from_secs(number)),
            ("seconds", None) => return Err(format!("seconds is a number from 1 to {CAPTURE_SECONDS_MAX}")),
            (name, _) => return Err(format!("a capture knows seconds=N only, found {name:?}")),
        }
    }
    Ok(time)
}

/// What a trace is asked for with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Asked {
    filter: Filter,
    /// Lines for people, not JSON.
    as_text: bool,
    /// What is kept goes before what happens.
    with_kept: bool,
}

impl Asked {
    fn read(query: &str) -> Result<Self, String> {
        let mut asked = Self::default();
        for (name, value) in pairs(query) {
            let wrong = |allowed: &str| format!("{name}={value}: {allowed}");
            let filter = &mut asked.filter;
            match name {
                "unit" => filter.unit = Some(value.parse().map_err(|_| wrong("a number from 0 to 255"))?),
                "client" => filter.client = Some(value.parse().map_err(|_| wrong("an IP address"))?),
                "outcome" => {
                    filter.outcome = Some(value.parse().map_err(|error| wrong(&format!("{error}")))?);
                }
                "bus" => filter.bus = Some(decode(value).ok_or_else(|| wrong("the name of a bus"))?),
                "format" if value == "text" => asked.as_text = true,
                "format" if value == "json" => asked.as_text = false,
                "format" => return Err(wrong("text or json")),
                "kept" if value == "1" => asked.with_kept = true,
                "kept" if value == "0" => asked.with_kept = false,
                "kept" => return Err(wrong("0 or 1")),
                _ => {
                    return Err(format!(
                        "a trace knows unit, client, outcome, bus, format and kept, found {name:?}"
                    ));
                }
            }
        }
        Ok(asked)
    }

    /// The same, if the bus it names is there: a trace of another would be silent without end.
    fn of_known(self, names: &Names) -> Result<Self, String> {
        match &self.filter.bus {
            Some(bus) if names.buses().all(|known| known != bus) => {
                let known = names.buses().collect::<Vec<_>>().join(", ");
                Err(format!("no bus has the name {bus}; allowed: {known}"))
            }
            Some(_) | None => Ok(self),
        }
    }
}

fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

fn capture(surroundings: &Arc<ArcSwap<Surroundings>>, time: Option<Duration>) -> Reply {
    let surroundings = Arc::clone(surroundings);
    let feed = Feed::new(move || {
        let (viewer, pieces) = mpsc::channel(FEED_PIECES);
        let traffic = Arc::clone(&surroundings.load().traffic);
        tokio::spawn(capture_to(viewer, traffic, time));
        pieces
    });
    Reply::Feed { kind: "application/x-pcapng", feed }
}

/// Ends when the time is over or the viewer has left.
async fn capture_to(viewer: Sender<Bytes>, traffic: Arc<Traffic>, time: Option<Duration>) {
    let mut capture = Capture::default();
    let (kept, mut follower) = traffic.follow();
    let mut piece = Capture::head();
    for event in &kept {
        piece.extend(capture.encode(event));
        if piece.len() >= PIECE_SIZE && viewer.send(std::mem::take(&mut piece).into()).await.is_err() {
            return;
        }
    }
    if viewer.send(piece.into()).await.is_err() {
        return;
    }
    let Some(time) = time else { return };
    let mut last: Option<Arc<Event>> = kept.last().cloned();
    let end = sleep(time);
    tokio::pin!(end);
    loop {
        let followed = tokio::select! {
            () = &mut end => return,
            () = viewer.closed() => return,
            followed = follower.next() => followed,
        };
        let piece = match followed {
            Followed::Event(event) => {
                let piece = capture.encode(&event);
                last = Some(event);
                piece
            }
            Followed::Lost(count) => {
                last.as_ref().map(|last| capture.encode_loss(count, last)).unwrap_or_default()
            }
        };
        if !piece.is_empty() && viewer.send(piece.into()).await.is_err() {
            return;
        }
    }
}

fn follow(surroundings: &Arc<ArcSwap<Surroundings>>, asked: Asked) -> Reply {
    let kind = if asked.as_text { "text/plain; charset=utf-8" } else { "application/x-ndjson" };
    let surroundings = Arc::clone(surroundings);
    let feed = Feed::new(move || {
        let (viewer, pieces) = mpsc::channel(FEED_PIECES);
        tokio::spawn(trace_to(viewer, Arc::clone(&surroundings), asked.clone()));
        pieces
    });
    Reply::Feed { kind, feed }
}

/// Ends when the viewer has left.
async fn trace_to(viewer: Sender<Bytes>, surroundings: Arc<ArcSwap<Surroundings>>, asked: Asked) {
    let traffic = Arc::clone(&surroundings.load().traffic);
    let (kept, mut follower) = traffic.follow();
    // A reload may give units other names.
    let line = |event: &Event| {
        let names = &surroundings.load().names;
        let line = asked.filter.passes(event, names).then(|| match asked.as_text {
            true => trace::line(event, names, |_| UTC),
            false => Some(trace::json(event, names)),
        });
        line.flatten().map(|line| line + "\n")
    };
    // An empty piece is the head of the answer: whoever follows knows from here on that it is followed.
    if viewer.send(Bytes::new()).await.is_err() {
        return;
    }
    for event in kept.iter().filter(|_| asked.with_kept) {
        if let Some(line) = line(event)
            && viewer.send(line.into()).await.is_err()
        {
            return;
        }
    }
    drop(kept);
    loop {
        let followed = tokio::select! {
            () = viewer.closed() => return,
            followed = follower.next() => followed,
        };
        let line = match followed {
            Followed::Event(event) => line(&event),
            Followed::Lost(count) if asked.as_text => {
                Some(format!("{count} events are missing here: the reader was too slow\n"))
            }
            Followed::Lost(count) => Some(trace::lost(count) + "\n"),
        };
        if let Some(line) = line
            && viewer.send(line.into()).await.is_err()
        {
            return;
        }
    }
}

/// Longest capture.
const CAPTURE_SECONDS_MAX: u64 = 600;

/// Bytes of what is kept that are handed on at once.
const PIECE_SIZE: usize = 64 * 1024;

/// Seconds the times of a trace are ahead of UTC: those of the log and of the audit file are UTC, too.
pub(super) const UTC: i32 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_means_nothing_is_refused() {
        assert_eq!(seconds(""), Ok(None));
        assert_eq!(seconds("seconds=600"), Ok(Some(Duration::from_secs(600))));
        for wrong in ["seconds=0", "seconds=601", "seconds=", "seconds=-1", "second=1", "seconds=1&x"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
        let asked =
            Asked::read("unit=3&client=10.0.0.7&outcome=failed&bus=riser%20a&format=text&kept=1").unwrap();
        assert_eq!((asked.filter.unit, asked.filter.bus.as_deref()), (Some(3), Some("riser a")));
        assert!(asked.as_text && asked.with_kept);
        for wrong in
            ["unit=256", "unit=x", "client=me", "outcome=bad", "bus=%zz", "format=xml", "kept=2", "x=1"]
        {
            assert!(Asked::read(wrong).is_err(), "{wrong}");
        }
    }
}
