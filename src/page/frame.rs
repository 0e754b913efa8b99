//! What is the same on every page: head, landmarks, the ways between pages, the shapes of states.
//!
//! Owns the document around `main`. Never writes a style, a script or an address of another place into it: the
//! server's content security policy would refuse it. Source: WAI-ARIA landmarks; docs/design.md, "The status page".

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::assets;
use super::model::{Gateway, MeterState, PortState};
use super::words;

/// How much of a page is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The whole document.
    Page,
    /// Only the element `main`, for the script, which asks with the query `part=main`.
    Main,
}

/// One page, ready to be put into its document.
pub(super) struct Content<'a> {
    /// What the window is called; begins with what is wrong, if anything is.
    pub title: String,
    /// What stands in `main`, its only `h1` included.
    pub main: Markup,
    /// Who speaks.
    pub gateway: &'a Gateway,
}

impl Content<'_> {
    pub(super) fn render(self, part: Part) -> String {
        // The script takes the title and the edition from here, since it never sees a new head.
        let main = html! {
            main id="main" tabindex="-1" data-title=(self.title) data-edition=(assets::edition()) {
                (self.main)
                (foot(self.gateway))
            }
        };
        match part {
            Part::Main => main.into_string(),
            Part::Page => document(&self.title, &main).into_string(),
        }
    }
}

/// A page that says in a sentence why there is no other: an unknown address, a meter that was taken away. `text` is
/// a whole sentence.
#[must_use]
pub fn notice(gateway: &Gateway, heading: &str, text: &str, part: Part) -> String {
    let main = html! {
        div class="intro" { h1 { (heading) } p { (text) } p { a href="/" { "To the overview" } } }
    };
    Content { title: format!("{heading} · metergate"), main, gateway }.render(part)
}

fn document(title: &str, main: &Markup) -> Markup {
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
                noscript { meta http-equiv="refresh" content=(REFRESH_SECONDS); }
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
                    // The script says otherwise as soon as it runs.
                    p id="pace" { "Refreshed every " (REFRESH_SECONDS) " s" }
                }
                p id="lost" role="alert" hidden {}
                p id="news" class="unseen-text" role="status" {}
                (main)
            }
        }
    }
}

/// Below the content, within `main`, so that it is as fresh.
fn foot(gateway: &Gateway) -> Markup {
    html! {
        p class="foot" {
            "metergate " (gateway.version) " · running for " (words::span(gateway.uptime))
            " · this page only shows, it changes nothing · as of " (gateway.rendered_at)
        }
    }
}

/// The shape of a state, beside its word: a disc, a cross, a half disc, a ring.
pub(super) fn state_shape(state: MeterState) -> Markup {
    let shape = match state {
        MeterState::Online => r#"<circle cx="10" cy="10" r="7"></circle>"#,
        MeterState::Offline => r#"<path d="M4 4l12 12M16 4L4 16" class="stroke"></path>"#,
        MeterState::Confirming => {
            r#"<circle cx="10" cy="10" r="6.5" class="ring"></circle><path d="M10 3.5a6.5 6.5 0 0 0 0 13z"></path>"#
        }
        MeterState::NeverSeen => r#"<circle cx="10" cy="10" r="6.5" class="ring dashed"></circle>"#,
    };
    html! {
        svg class={ "shape " (state.class()) } viewBox="0 0 20 20" aria-hidden="true" { (PreEscaped(shape)) }
    }
}

/// State by shape, word and colour.
pub(super) fn state_badge(state: MeterState) -> Markup {
    html! { span class={ "state " (state.class()) } { (state_shape(state)) (state.word()) } }
}

/// The same for a port.
pub(super) fn port_badge(state: PortState) -> Markup {
    let like = match state {
        PortState::Open => MeterState::Online,
        PortState::Closed => MeterState::Offline,
        PortState::Occupied => MeterState::Confirming,
    };
    html! { span class={ "state " (like.class()) } { (state_shape(like)) "port " (state.word()) } }
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
