//! The lines as they were a few minutes ago, so that a fault that has been mended is not held against anybody.
//!
//! Owns how far back that is and how much of it is kept. It reads no clock and judges nothing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::picture::{BusPicture, Picture};
use crate::bus::view::View;
use crate::io::port_view::PortView;

/// Looks at the lines, the oldest first.
#[derive(Debug, Default)]
pub struct Past {
    looks: VecDeque<Look>,
}

#[derive(Debug)]
struct Look {
    at: Instant,
    buses: Vec<Then>,
}

/// One line then.
#[derive(Clone, Debug)]
pub struct Then {
    /// When it was.
    pub at: Instant,
    /// What its line had published.
    pub view: Arc<View>,
    /// What had become of its port.
    pub port: Arc<PortView>,
    name: String,
}

impl Past {
    /// Takes a look, if it is time for one.
    pub fn look(&mut self, picture: &Picture, now: Instant) {
        let due = self.looks.back().is_none_or(|last| now.saturating_duration_since(last.at) >= LOOK_PERIOD);
        if !due {
            return;
        }
        let then = |bus: &BusPicture| Then {
            at: now,
            view: Arc::clone(&bus.view),
            port: Arc::clone(&bus.port),
            name: bus.name().to_owned(),
        };
        self.looks.push_back(Look { at: now, buses: picture.buses.iter().map(then).collect() });
        while self.looks.len() > LOOKS_KEPT {
            self.looks.pop_front();
        }
    }

    /// The line of `bus` as far back as is kept; `None` where it is younger than that, or a reload began it anew.
    #[must_use]
    pub fn of(&self, bus: &BusPicture) -> Option<&Then> {
        let then = |look: &'_ Look| look.buses.iter().position(|then| then.name == bus.name());
        let begun_since = |then: &Then| then.view.counters.transactions > bus.view.counters.transactions;
        self.looks.iter().filter_map(|look| look.buses.get(then(look)?)).find(|then| !begun_since(then))
    }
}

/// Between two looks.
pub const LOOK_PERIOD: Duration = Duration::from_secs(60);

/// Looks that are kept: what is judged happened in the last four to five minutes.
pub const LOOKS_KEPT: usize = 5;
