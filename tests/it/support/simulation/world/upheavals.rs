//! What happens to the gateway itself while a request is on the wire: reloads, restarts, and a machine that sleeps.

use metergate::line::{Line, LineSettings, PortEvent, PortSettingsChange};

use super::super::invariants::Check;
use super::super::swarm::Upheavals;
use super::super::wire::MILLI;
use super::{Input, World};

/// What becomes of the gateway.
#[derive(Clone, Copy, Debug)]
pub(super) enum Upheaval {
    Reload,
    Restart,
    Suspend,
}

impl World {
    /// A request was just sent: something may happen before its answer has come.
    pub(super) fn plan_upheavals(&mut self) {
        let Upheavals { reload, restart, suspend } = self.upheavals;
        let rates = [(Upheaval::Reload, reload), (Upheaval::Restart, restart), (Upheaval::Suspend, suspend)];
        for (upheaval, rate) in rates {
            if rate > 0 && self.own_rng.chance(rate) {
                let longest = self.own_rng.pick(&[20, 200, 1000]);
                let at = self.now + self.own_rng.below(longest * MILLI);
                self.plan(at, Input::Upheaval(upheaval));
            }
        }
    }

    pub(super) fn upheaval(&mut self, upheaval: Upheaval) -> Check {
        match upheaval {
            Upheaval::Reload => {
                let settings = self.other_settings();
                let port = if self.upheavals.reload > 0 && self.own_rng.chance(200) {
                    PortSettingsChange::Reopened
                } else {
                    PortSettingsChange::Unchanged
                };
                self.reload(settings, port)
            }
            Upheaval::Restart => {
                self.restart();
                Ok(())
            }
            Upheaval::Suspend => {
                let slept = self.own_rng.pick(&[100, 1000, 4000, 60_000]) * MILLI;
                self.note(|| format!("sleeps for {slept}"));
                self.slept += slept;
                Ok(())
            }
        }
    }

    /// Nothing happens to the gateway any more, and it obeys what it was started with.
    pub(super) fn end_upheavals(&mut self) -> Check {
        self.upheavals = Upheavals::default();
        if self.settings == self.swarm.settings {
            return Ok(());
        }
        self.reload(self.swarm.settings.clone(), PortSettingsChange::Unchanged)
    }

    fn other_settings(&mut self) -> LineSettings {
        let mut settings = self.swarm.settings.clone();
        if self.upheavals.reload == 0 {
            return settings;
        }
        let rng = &mut self.own_rng;
        settings.poll_share = rng.pick(&[0.05, 0.3, 0.9]);
        settings.retries = u32::try_from(rng.below(3)).expect("small");
        settings.learn_limit = rng.pick(&[0, 1, 4, 256]);
        settings.queue_limit = rng.pick(&[1, 4, 1024]);
        settings.request_gap = std::time::Duration::from_millis(rng.pick(&[0, 5, 50]));
        for unit in &mut settings.units {
            if rng.chance(300) {
                unit.request_gap = settings.request_gap;
            }
        }
        if rng.chance(300) {
            let gone = usize::try_from(rng.below(settings.units.len() as u64)).expect("an index");
            settings.units.remove(gone);
        }
        settings
    }

    fn reload(&mut self, settings: LineSettings, port: PortSettingsChange) -> Check {
        self.note(|| format!("reloads, port {port:?}: {settings:?}"));
        self.invariants.reload(&settings, self.now);
        self.settings = settings.clone();
        if self.open && port == PortSettingsChange::Reopened {
            self.open = false;
            self.wire.deliver(self.now);
            if let Some(server) = &mut self.upstream {
                server.end_connection();
            }
            self.last_byte = self.last_byte.max(self.now);
            self.unanswered = None;
            let pause = self.own_rng.pick(&[1, 100, 1500]) * MILLI;
            self.plan(self.now + pause, Input::Port(PortEvent::Opened));
        }
        let now = self.present();
        self.line.handle_settings(settings, port, now);
        self.reload_client();
        self.outputs()
    }

    /// The process ends, with all it knew and all that its clients waited for. What units still answer comes to its
    /// successor.
    fn restart(&mut self) {
        self.note(|| "restarts".into());
        self.line = Line::new(self.settings.clone());
        if let Some(server) = &mut self.upstream {
            self.line.begin_identifiers_at(server.restart());
            // Its successor knows of no broadcast.
            self.turnaround_until = 0;
        }
        self.invariants.restart(&self.settings, self.now);
        self.record_log.restart();
        self.restart_client();
        for connection in &mut self.connections {
            *connection += 1_000_000;
        }
        self.open = false;
        self.last_byte = self.last_byte.max(self.now);
        // Its successor has no record of the request that is leaving the port.
        self.last_frame = self.last_frame.map(|last| last.min(self.now));
        self.inputs.retain(|_, input| !matches!(input, Input::Port(_)));
        let pause = self.own_rng.pick(&[1, 50, 1000]) * MILLI;
        self.plan(self.now + pause, Input::Port(PortEvent::Opened));
    }
}
