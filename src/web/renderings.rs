//! Renderings of pages, each shared by all viewers of the same view within a second.
//!
//! A page of many meters is milliseconds of work, and every viewer's script asks once a second. JSON and metrics are
//! not shared: their ages are exact.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::line::{BusId, UnitId};
use crate::page::{MeterView, OverviewView, Part};
use crate::status::Published;

/// A page, the view of it, and how much of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Page {
    Overview { view: OverviewView, part: Part },
    Unit { bus: BusId, unit: UnitId, view: MeterView, part: Part },
}

/// The renderings of the last second.
#[derive(Debug, Default)]
pub(super) struct Renderings(Mutex<Vec<Rendering>>);

#[derive(Debug)]
struct Rendering {
    page: Page,
    /// Of the sources; a reload begins another.
    generation: u64,
    at: Instant,
    html: Bytes,
}

impl Renderings {
    /// The page as it was rendered within the last second, else as `render` makes it now.
    pub(super) fn get(&self, page: Page, published: &Published, render: impl FnOnce() -> String) -> Bytes {
        // Other requests for the same page wait for this rendering.
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|one| {
            one.generation == published.generation
                && published.at.saturating_duration_since(one.at) < SHARED_FOR
        });
        if let Some(found) = kept.iter().find(|one| one.page == page) {
            return found.html.clone();
        }
        let html = Bytes::from(render());
        // The oldest rendering expires first anyway.
        while !kept.is_empty()
            && kept.iter().map(|one| one.html.len()).sum::<usize>() + html.len() > MAX_KEPT_BYTES
        {
            kept.remove(0);
        }
        let (generation, at) = (published.generation, published.at);
        kept.push(Rendering { page, generation, at, html: html.clone() });
        html
    }
}

/// How long a rendering is shared.
const SHARED_FOR: Duration = Duration::from_secs(1);

/// Bytes of all renderings that are kept: several views of the page of all units there can be.
const MAX_KEPT_BYTES: usize = 4 << 20;
