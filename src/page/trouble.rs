//! What is wrong, in words, with the remedy: the findings, worst first.
//!
//! Owns how they are ordered and laid out; which there are is decided in [`crate::findings`]. A remedy that counts its
//! steps, `(1) … (2) …`, becomes a list; what stands between backticks is a command.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::frame::state_shape;
use super::model::{Bus, MeterRef, MeterState};
use super::words;
use crate::findings::{Finding, Severity};

/// A finding and what it is about.
pub(super) struct Trouble<'a> {
    finding: &'a Finding,
    place: Place<'a>,
    /// The same for the same trouble on every rendering, so that what is folded stays so.
    id: String,
}

/// What a finding is about.
enum Place<'a> {
    Line {
        bus: &'a str,
    },
    Unit {
        bus: &'a str,
        meter: Option<&'a MeterRef>,
        line_id: u8,
    },
    /// The page says it already.
    Here,
}

/// What to say where nothing was found.
#[derive(Clone, Copy)]
pub(super) enum Verdict {
    /// Everything that can be seen is as it should be.
    Well(&'static str),
    /// Nothing was found, and not everything could be seen.
    Unsure(&'static str),
}

/// How many there are of each severity, in words: `2 faults, 1 warning`.
pub(super) fn tally<'a>(findings: impl Iterator<Item = &'a Finding> + Clone) -> Option<String> {
    let of = |severity, one, many| {
        let count = findings.clone().filter(|finding| finding.severity == severity).count();
        (count > 0).then(|| words::counted(count, one, many))
    };
    let parts = [of(Severity::Fault, "fault", "faults"), of(Severity::Warning, "warning", "warnings")]
        .into_iter()
        .flatten();
    let text = parts.collect::<Vec<_>>().join(", ");
    (!text.is_empty()).then_some(text)
}

/// Those of all buses.
pub(super) fn of_buses(buses: &[Bus]) -> Vec<Trouble<'_>> {
    let all = buses.iter().enumerate().flat_map(|(index, bus)| {
        bus.findings.iter().map(move |finding| {
            let (place, about) = match finding.unit {
                None => (Place::Line { bus: &bus.name }, String::new()),
                Some(unit) => {
                    let meter = bus.meters.iter().find(|meter| meter.line_id == unit.get());
                    let meter = meter.map(|meter| &meter.meter);
                    (Place::Unit { bus: &bus.name, meter, line_id: unit.get() }, format!("-{unit}"))
                }
            };
            (finding, place, format!("wrong-{index}{about}"))
        })
    });
    sorted(all)
}

/// Those of the one meter a page is about, and of its line, whose troubles are also the meter's.
pub(super) fn of_meter<'a>(findings: &'a [Finding], bus: &'a str) -> Vec<Trouble<'a>> {
    sorted(findings.iter().map(|finding| {
        let place = if finding.unit.is_none() { Place::Line { bus } } else { Place::Here };
        (finding, place, "wrong".to_owned())
    }))
}

/// Worst first; of one severity they stay in the order of the buses and of the line.
fn sorted<'a>(all: impl Iterator<Item = (&'a Finding, Place<'a>, String)>) -> Vec<Trouble<'a>> {
    // A meter may have several of one kind, such as alerts.
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut troubles: Vec<_> = all
        .map(|(finding, place, about)| {
            let key = format!("{about}-{}", finding.kind.word());
            let count = seen.entry(key.clone()).or_default();
            *count += 1;
            let id = if *count == 1 { key } else { format!("{key}-{count}") };
            Trouble { finding, place, id }
        })
        .collect();
    troubles.sort_by_key(|trouble| trouble.finding.severity);
    troubles
}

/// The section that says it; `verdict` is for when there is nothing to say.
pub(super) fn section(troubles: &[Trouble<'_>], verdict: Verdict) -> Markup {
    let (first, rest) = troubles.split_at(troubles.len().min(SHOWN));
    html! {
        section class="troubles" aria-labelledby="wrong" {
            h2 id="wrong" { "What is wrong now" }
            @if troubles.is_empty() {
                @match verdict {
                    Verdict::Well(text) => { p class="well" { (state_shape(MeterState::Online)) (text) } }
                    Verdict::Unsure(text) => { p class="unsure" { (state_shape(MeterState::NeverSeen)) (text) } }
                }
            } @else {
                ul { @for (index, trouble) in first.iter().enumerate() { (item(trouble, index < UNFOLDED)) } }
            }
            @if !rest.is_empty() {
                details id="wrong-too" {
                    summary { "And " (rest.len()) " more" }
                    ul { @for trouble in rest { (item(trouble, false)) } }
                }
            }
        }
    }
}

fn item(trouble: &Trouble<'_>, unfolded: bool) -> Markup {
    let Trouble { finding, place, id } = trouble;
    html! {
        li id=(id) class={ "trouble " (finding.severity.word()) } {
            (severity_shape(finding.severity))
            div {
                p class="what" {
                    span class="severity" { (finding.severity.word()) }
                    @match place {
                        Place::Here => { " " }
                        Place::Line { bus } => { span class="place" { "Line " (bus) } }
                        Place::Unit { bus, meter: Some(meter), .. } => {
                            a class="place" href=(meter.href()) { (meter.full_title()) }
                            span class="of" { " on " (bus) }
                        }
                        Place::Unit { bus, meter: None, line_id } => {
                            span class="place" { "Unit " (line_id) " on the line " (bus) }
                        }
                    }
                    span class={ "said" @if !matches!(place, Place::Here) { " apart" } } { (commands(&finding.what)) "." }
                }
                details open[unfolded] { summary { "What to do" } (remedy(&finding.remedy)) }
            }
        }
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

/// What to do, its steps as a list.
fn remedy(text: &str) -> Markup {
    let (before, steps) = steps(text);
    html! {
        div class="remedy" {
            @if !before.is_empty() { p { (commands(before)) } }
            @if !steps.is_empty() { ol { @for step in &steps { li { (commands(step)) } } } }
        }
    }
}

/// What stands before the steps, and the steps; without steps, everything stands before them.
fn steps(text: &str) -> (&str, Vec<&str>) {
    let Some(start) = text.find("(1) ") else { return (text, Vec::new()) };
    let (before, mut rest) = text.split_at(start);
    let mut steps = Vec::new();
    let mut number = 1;
    while let Some(step) = rest.strip_prefix(&format!("({number}) ")) {
        number += 1;
        let end = step.find(&format!("({number}) ")).unwrap_or(step.len());
        steps.push(step[..end].trim_end_matches(['.', ';', ' ']));
        rest = &step[end..];
    }
    (before.trim_end(), steps)
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

/// So many show their remedies at once.
const UNFOLDED: usize = 2;

/// More than these are folded away: the worst must fit a screen.
const SHOWN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::Kind;

    #[test]
    fn a_meters_page_says_of_a_trouble_of_its_line_whose_it_is() {
        let finding = Finding {
            severity: Severity::Warning,
            kind: Kind::Noise,
            unit: None,
            what: "`ls` shows it".to_owned(),
            remedy: String::new(),
        };
        let findings = [finding];
        let shown = section(&of_meter(&findings, "riser-a"), Verdict::Well("")).into_string();
        assert!(shown.contains("Line riser-a") && shown.contains("<code>ls</code> shows it."), "{shown}");
    }

    #[test]
    fn counted_steps_become_a_list() {
        let (before, found) = steps("In this order: (1) swap A and B; (2) the baud rate (8N1); (3) power");
        assert_eq!(before, "In this order:");
        assert_eq!(found, ["swap A and B", "the baud rate (8N1)", "power"]);
        assert_eq!(steps("Check (2) things"), ("Check (2) things", vec![]));
    }

    #[test]
    fn commands_are_marked_and_escaped() {
        assert_eq!(commands("run `a <b>` now").into_string(), "run <code>a &lt;b&gt;</code> now");
        assert_eq!(commands("`ls -l x`").into_string(), "<code>ls <span class=\"option\">-l</span> x</code>");
        assert_eq!(commands("an odd ` one").into_string(), "an odd ` one");
    }
}
