//! The parts common to all pages: head, landmarks, navigation, the shapes of states.
//!
//! Owns the document around `main`. Never writes a style, a script or an address of another place into it: the
//! server's content security policy would refuse it. Source: WAI-ARIA landmarks; docs/design.md, "The status page".

use std::time::Duration;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::assets;
use super::format;
use super::view::Refresh;
use crate::status::{PortState, Status, UnitState};

/// The part of a page that is requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The whole document.
    Page,
    /// Only the element `main`, for the script, which asks with the query `part=main`.
    Main,
}

/// One page, ready to be put into its document.
pub(super) struct Content<'a> {
    /// Title of the window; begins with the number of findings, if there are any.
    pub title: String,
    /// Contents of `main`, its only `h1` included.
    pub main: Markup,
    /// For the foot.
    pub status: &'a Status<'a>,
    /// Behaviour without a script.
    pub reload: Reload,
}

/// Whether a page loads itself anew where no script keeps it live, and the address of the other way.
pub(super) struct Reload {
    pub refresh: Refresh,
    /// Empty: there is none.
    pub other: String,
}

impl Content<'_> {
    pub(super) fn render(self, part: Part) -> String {
        // The script takes the title and the edition from here, since it never sees a new head.
        let main = html! {
            main id="main" tabindex="-1" data-title=(self.title) data-edition=(assets::edition()) {
                (self.main)
                (foot(self.status))
            }
        };
        match part {
            Part::Main => main.into_string(),
            Part::Page => document(&self.title, &main, &self.reload).into_string(),
        }
    }
}

/// A page that says in a sentence why there is no other: an unknown address, a meter that was taken away. `text` is
/// a whole sentence.
#[must_use]
pub fn notice(status: &Status<'_>, heading: &str, text: &str, part: Part) -> String {
    let main = html! {
        div class="intro" { h1 { (heading) } p { (text) } p { a href="/" { "To the overview" } } }
    };
    let reload = Reload { refresh: Refresh::On, other: String::new() };
    Content { title: format!("{heading} · metergate"), main, status, reload }.render(part)
}

fn document(title: &str, main: &Markup, reload: &Reload) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en-GB" {
            head {
                meta charset="utf-8";
                title { (title) }
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                link rel="icon" type="image/svg+xml" href=(assets::ICON.href());
                link rel="stylesheet" href=(assets::STYLE.href());
                script src=(assets::SCRIPT.href()) defer {}
                @if reload.refresh == Refresh::On {
                    noscript { meta http-equiv="refresh" content=(REFRESH_SECONDS); }
                }
            }
            body {
                a class="skip" href="#main" { "Skip to the content" }
                header class="top" {
                    a class="brand" href="/" { (mark()) "metergate" }
                    nav aria-label="Data for programs" {
                        a href="/api/v1/status" { "JSON" }
                        a href="/metrics" { "Metrics" }
                        a href="/capture.pcapng" { "Capture" }
                    }
                    // The script replaces it as soon as it runs.
                    p id="pace" { (pace(reload)) }
                }
                p id="lost" role="alert" hidden {}
                p id="news" class="unseen-text" role="status" {}
                (main)
            }
        }
    }
}

fn pace(reload: &Reload) -> Markup {
    let (now, way) = match reload.refresh {
        Refresh::On => (format!("Refreshed every {REFRESH_SECONDS} s"), "Pause"),
        Refresh::Off => ("Not refreshed".to_owned(), "Go on"),
    };
    html! {
        (now)
        @if !reload.other.is_empty() { " · " a href=(reload.other) { (way) } }
    }
}

/// Below the content, within `main`, so that it is as fresh.
fn foot(status: &Status<'_>) -> Markup {
    html! {
        p class="foot" {
            "metergate " (status.version) " · running for " (format::span(Duration::from_secs(status.uptime_s)))
            " · this page only shows, it changes nothing · as of " (status.clock)
        }
    }
}

/// The shape of a state, beside its word: a disc, a cross, a half disc, a ring, a ring crossed out.
pub(super) fn state_shape(state: UnitState) -> Markup {
    let shape = match state {
        UnitState::Unreachable => {
            r#"<circle cx="10" cy="10" r="6.5" class="ring"></circle><path d="M5.5 14.5l9-9" class="stroke"></path>"#
        }
        UnitState::Online => r#"<circle cx="10" cy="10" r="7"></circle>"#,
        UnitState::Offline => r#"<path d="M4 4l12 12M16 4L4 16" class="stroke"></path>"#,
        UnitState::Confirming => {
            r#"<circle cx="10" cy="10" r="6.5" class="ring"></circle><path d="M10 3.5a6.5 6.5 0 0 0 0 13z"></path>"#
        }
        UnitState::NeverSeen => r#"<circle cx="10" cy="10" r="6.5" class="ring dashed"></circle>"#,
    };
    html! {
        svg class={ "shape " (class(state)) } viewBox="0 0 20 20" aria-hidden="true" { (PreEscaped(shape)) }
    }
}

/// State by shape, word and colour.
pub(super) fn state_badge(state: UnitState) -> Markup {
    html! { span class={ "state " (class(state)) } { (state_shape(state)) (state.title()) } }
}

/// The same for a port.
pub(super) fn port_badge(state: PortState) -> Markup {
    let like = match state {
        PortState::Open => UnitState::Online,
        PortState::Closed => UnitState::Offline,
        PortState::Occupied => UnitState::Confirming,
    };
    html! { span class={ "state " (class(like)) } { (state_shape(like)) "port " (state.word()) } }
}

/// A state as a name in the style sheet.
pub(super) fn class(state: UnitState) -> &'static str {
    match state {
        UnitState::NeverSeen => "unseen",
        UnitState::Online => "online",
        UnitState::Offline => "offline",
        UnitState::Confirming => "confirming",
        UnitState::Unreachable => "unreachable",
    }
}

pub(super) fn ago(span: Duration) -> String {
    format!("{} ago", format::age(span))
}

pub(super) fn head(text: &str) -> Markup {
    html! { th role="columnheader" scope="col" { (text) } }
}

/// A cell with a label of its own for narrow screens, where there is no heading above it.
pub(super) fn cell(caption: &str, text: &str, below: Option<&str>) -> Markup {
    html! {
        td role="cell" {
            span class="cap" aria-hidden="true" { (caption) }
            span class="held" { (text) @if let Some(below) = below { span class="sub" { (below) } } }
        }
    }
}

/// A meter on two wires.
fn mark() -> Markup {
    html! {
        svg class="mark" viewBox="0 0 32 32" aria-hidden="true" {
            path class="copper" d="M8 2v28M12 2v28M12 10h8M12 22h8" {}
            circle cx="24" cy="10" r="4" {}
            circle cx="24" cy="22" r="4" {}
        }
    }
}

/// Between two loads where no script fetches the page.
const REFRESH_SECONDS: &str = "5";
