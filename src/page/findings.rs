//! The findings with their remedies, the worst first.
//!
//! Owns their order and layout: one line each, which unfolds. [`crate::findings`] decides which there are. The steps of a remedy are a list; what stands between backticks is a command.

use std::collections::BTreeMap;
use std::time::Duration;

use maud::{Markup, html};

use super::format;
use super::layout::state_shape;
use super::meter_link::MeterLink;
use crate::findings::Severity;
use crate::status::{LocatedFinding, Status, Unit, UnitState};

/// A finding and what it is about.
pub(super) struct Item<'a> {
    finding: &'a LocatedFinding<'a>,
    place: Place<'a>,
    /// The same for the same finding on every rendering, so that what is folded stays so.
    id: String,
}

impl<'a> Item<'a> {
    pub(super) fn finding(&self) -> &'a LocatedFinding<'a> {
        self.finding
    }
}

/// What a finding is about.
enum Place<'a> {
    Broker {
        broker: &'a str,
    },
    Line {
        bus: &'a str,
    },
    Unit {
        bus: &'a str,
        meter: Option<MeterLink<'a>>,
        line_unit: u8,
    },
    /// The page shows it already.
    Here,
}

/// The text where there is no finding.
#[derive(Clone, Copy)]
pub(super) enum Verdict {
    /// Everything was checked and is in order.
    Well(&'static str),
    /// No finding, but not everything could be checked.
    Unsure(&'static str),
}

/// How many there are of each severity, in words: `2 faults, 1 warning`.
pub(super) fn counts<'a>(findings: impl Iterator<Item = &'a LocatedFinding<'a>> + Clone) -> Option<String> {
    let of = |severity, one, many| {
        let count = findings.clone().filter(|finding| finding.severity == severity).count();
        (count > 0).then(|| format::counted(count, one, many))
    };
    let parts = [of(Severity::Fault, "fault", "faults"), of(Severity::Warning, "warning", "warnings")]
        .into_iter()
        .flatten();
    let text = parts.collect::<Vec<_>>().join(", ");
    (!text.is_empty()).then_some(text)
}

/// A title that begins with how many findings need action: of a tab, no more may be readable.
pub(super) fn counted_title<'a>(
    findings: impl Iterator<Item = &'a LocatedFinding<'a>>,
    title: String,
) -> String {
    match findings.filter(|finding| finding.severity != Severity::Note).count() {
        0 => title,
        count => format!("({count}) {title}"),
    }
}

/// Those of all buses.
pub(super) fn of_status<'a>(status: &'a Status<'a>) -> Vec<Item<'a>> {
    sorted(status.findings.iter().map(|finding| {
        let (Some(bus), None) = (finding.bus.as_deref(), &finding.broker) else {
            let broker = finding.broker.as_deref().unwrap_or_default();
            return (finding, Place::Broker { broker }, "wrong-broker".to_owned());
        };
        let index = status.buses.iter().position(|one| one.bus == bus).unwrap_or_default();
        let Some(line_unit) = finding.line_unit else {
            return (finding, Place::Line { bus }, format!("wrong-{index}"));
        };
        let meter = finding.unit.map(|unit| MeterLink {
            unit,
            name: finding.name.as_deref(),
            bus: status.is_ambiguous(unit).then_some(bus),
        });
        let place = Place::Unit { bus, meter, line_unit };
        (finding, place, format!("wrong-{index}-{line_unit}"))
    }))
}

/// Those of the one meter a page is about, and of its line: what is wrong there is wrong with each of its meters.
pub(super) fn of_unit<'a>(status: &'a Status<'a>, unit: &Unit<'_>) -> Vec<Item<'a>> {
    let of_unit = status.findings.iter().filter(|finding| {
        finding.bus.as_ref() == Some(&unit.bus) && finding.line_unit.is_none_or(|id| id == unit.line_unit)
    });
    sorted(of_unit.map(|finding| {
        let bus = finding.bus.as_deref().unwrap_or_default();
        let place = if finding.line_unit.is_none() { Place::Line { bus } } else { Place::Here };
        (finding, place, "wrong".to_owned())
    }))
}

/// Worst first; of one severity they stay in the order of the buses and of the line.
fn sorted<'a>(all: impl Iterator<Item = (&'a LocatedFinding<'a>, Place<'a>, String)>) -> Vec<Item<'a>> {
    // A meter may have several of one kind, such as alerts.
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut items: Vec<_> = all
        .map(|(finding, place, about)| {
            let key = format!("{about}-{}", finding.kind.word());
            let count = seen.entry(key.clone()).or_default();
            *count += 1;
            let id = if *count == 1 { key } else { format!("{key}-{count}") };
            Item { finding, place, id }
        })
        .collect();
    items.sort_by_key(|item| item.finding.severity);
    items
}

/// The section that says it; `verdict` is for when there is nothing to say.
pub(super) fn section(items: &[Item<'_>], verdict: Verdict) -> Markup {
    let (first, rest) = items.split_at(items.len().min(SHOWN));
    html! {
        section class="troubles" id="now-wrong" aria-labelledby="wrong" {
            h2 id="wrong" { "What is wrong now" }
            @if items.is_empty() {
                @match verdict {
                    Verdict::Well(text) => { p class="well" { (state_shape(UnitState::Online)) (text) } }
                    Verdict::Unsure(text) => { p class="unsure" { (state_shape(UnitState::NeverSeen)) (text) } }
                }
            } @else {
                ul { @for item in first { (markup(item)) } }
            }
            @if !rest.is_empty() {
                details id="wrong-too" {
                    summary { "And " (rest.len()) " more" }
                    ul { @for item in rest { (markup(item)) } }
                }
            }
        }
    }
}

/// One line, which unfolds into the evidence and what to do.
fn markup(item: &Item<'_>) -> Markup {
    let Item { finding, place, id } = item;
    html! {
        li id=(id) class={ "trouble " (finding.severity.word()) } {
            span class="severity" { (severity_shape(finding.severity)) (finding.severity.word()) }
            @match place {
                Place::Here => {}
                Place::Broker { broker } => { span class="place" { "Broker " (broker) } }
                Place::Line { bus } => { span class="place" { "Line " (bus) } }
                Place::Unit { bus, meter: Some(meter), .. } => {
                    span class="place" { a href=(meter.href()) { (meter.full_title()) } span class="of" { " on " (bus) } }
                }
                Place::Unit { bus, meter: None, line_unit } => {
                    span class="place" { "Unit " (line_unit) span class="of" { " on " (bus) } }
                }
            }
            details {
                summary {
                    span class="said" { (commands(&finding.what)) }
                    span class="since" { (format::age(Duration::from_millis(finding.active_since_ms))) }
                }
                (remedy(finding))
            }
        }
    }
}

/// Since when, and when it was last seen where that is a while ago.
fn evidence(finding: &LocatedFinding<'_>) -> String {
    let active = format::span(Duration::from_millis(finding.active_since_ms));
    match Duration::from_millis(finding.last_seen_ms) {
        seen if seen < SEEN_NOW => format!("Active for {active}, seen just now."),
        seen => format!("Active for {active}, last seen {} ago.", format::age(seen)),
    }
}

/// A cross, a triangle, a disc.
fn severity_shape(severity: Severity) -> Markup {
    let path = match severity {
        Severity::Fault => "M4 4l12 12M16 4L4 16",
        Severity::Warning => "M10 3l8 14H2zM10 8v4M10 14v1",
        Severity::Note => "M10 3a7 7 0 1 0 0 14a7 7 0 1 0 0-14M10 9v5M10 6v1",
    };
    html! {
        svg class={ "shape " (severity.word()) } viewBox="0 0 20 20" aria-hidden="true" {
            path class="stroke" d=(path) {}
        }
    }
}

/// The evidence, and what to do, its steps as a list.
fn remedy(finding: &LocatedFinding<'_>) -> Markup {
    let remedy = &finding.remedy;
    html! {
        div class="remedy" {
            p { (evidence(finding)) @if !remedy.context.is_empty() { " " (commands(&remedy.context)) "." } }
            @match remedy.steps.as_slice() {
                [] => {}
                [only] => { p { (commands(only)) "." } }
                steps => { ol { @for step in steps { li { (commands(step)) } } } }
            }
        }
    }
}

/// Text with the commands in it marked. An odd backtick stays what it is.
pub(super) fn commands(text: &str) -> Markup {
    let parts: Vec<_> = text.split('`').collect();
    let is_paired = parts.len() % 2 == 1;
    html! {
        @if is_paired {
            @for (index, part) in parts.iter().enumerate() {
                @if index % 2 == 1 { (command(part)) } @else { (part) }
            }
        } @else { (text) }
    }
}

/// A command; its options are not broken at their hyphens, for half of one is another.
fn command(text: &str) -> Markup {
    html! {
        code {
            @for (index, word) in text.split(' ').enumerate() {
                @if index > 0 { " " }
                @if word.starts_with('-') { span class="option" { (word) } } @else { (word) }
            }
        }
    }
}

/// Evidence younger than this counts as present.
const SEEN_NOW: Duration = Duration::from_secs(2);

/// More than these are folded away: the worst must fit a screen.
const SHOWN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::{Kind, Remedy};

    fn noise() -> LocatedFinding<'static> {
        LocatedFinding {
            severity: Severity::Warning,
            kind: Kind::Noise,
            bus: Some("riser-a".into()),
            broker: None,
            unit: None,
            line_unit: None,
            name: None,
            what: "`ls` shows it".into(),
            remedy: Remedy::default(),
            active_since_ms: 180_000,
            last_seen_ms: 0,
        }
    }

    #[test]
    fn a_meters_page_says_of_a_finding_of_its_line_whose_it_is() {
        let status = Status { findings: vec![noise()], ..Status::default() };
        let unit = Unit { bus: "riser-a".into(), ..Unit::default() };
        let shown = section(&of_unit(&status, &unit), Verdict::Well("")).into_string();
        assert!(shown.contains("Line riser-a") && shown.contains("<code>ls</code> shows it"), "{shown}");
    }

    #[test]
    fn several_steps_are_a_list_and_one_is_not() {
        let several = Remedy::steps(["swap A and B", "`ls`"]).with_context("Others answer");
        let shown = |remedy_of| remedy(&LocatedFinding { remedy: remedy_of, ..noise() }).into_string();
        let listed = "<p>Active for 3 min 0 s, seen just now. Others answer.</p><ol><li>swap A and B</li><li><code>ls</code></li></ol>";
        assert_eq!(shown(several), format!("<div class=\"remedy\">{listed}</div>"));
        let one = "<p>Active for 3 min 0 s, seen just now.</p><p>look.</p>";
        assert_eq!(shown(Remedy::step("look")), format!("<div class=\"remedy\">{one}</div>"));
        let earlier = evidence(&LocatedFinding { last_seen_ms: 12_000, ..noise() });
        assert_eq!(earlier, "Active for 3 min 0 s, last seen 12 s ago.");
    }

    #[test]
    fn commands_are_marked_and_escaped() {
        assert_eq!(commands("run `a <b>` now").into_string(), "run <code>a &lt;b&gt;</code> now");
        assert_eq!(commands("`ls -l x`").into_string(), "<code>ls <span class=\"option\">-l</span> x</code>");
        assert_eq!(commands("an odd ` one").into_string(), "an odd ` one");
    }
}
