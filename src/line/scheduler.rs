//! What is sent next, and when.
//!
//! Owns the queue, the reservation of the line for a unit that needs a longer silence, and the shares of line time for
//! trials. It decides only what to send; sending and outcomes are up to the state machine.

use std::time::{Duration, Instant};

use super::allowance::Allowance;
use super::health::UnitState;
use super::queue::{Item, Purpose, Queue, Removed, Turn};
use super::request::Target;
use super::settings::{LineSettings, UnitId};
use super::silent_line::SilentLine;
use super::unit::{Unit, Units};
use super::wire::Wire;

/// Why the gateway sends a read of its own that is no background reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OwnPurpose {
    /// To probe an off-line unit.
    Probe,
    /// To confirm that a unit still answers, with the read it answered last.
    Confirmation,
    /// To probe a silent line.
    LineProbe,
    /// To find out whether the adapter echoes, before a request whose answer equals it.
    EchoCheck,
}

/// What is to be sent.
#[derive(Debug)]
pub(super) enum NextRequest<T> {
    /// A queued item, for the turn of this flow; how long the line was reserved for it.
    Item { item: Item<T>, turn: Turn, reserved: Duration },
    /// A read of the gateway's own.
    Own { unit: UnitId, own: OwnPurpose, reserved: Duration },
}

/// What the line is reserved for.
#[derive(Clone, Debug)]
struct Reservation {
    what: Reserved,
    since: Instant,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Reserved {
    Item { key: u64, turn: Turn },
    Own { unit: UnitId, own: OwnPurpose },
}

/// The state that decides what may be sent.
#[derive(Debug)]
pub(super) struct Situation<'a> {
    pub(super) settings: &'a LineSettings,
    pub(super) units: &'a Units,
    pub(super) wire: &'a Wire,
    pub(super) silent_line: &'a SilentLine,
}

/// Decides what is sent next.
#[derive(Debug)]
pub(super) struct Scheduler<T> {
    queue: Queue<T>,
    reservation: Option<Reservation>,
    /// Whether the last request was a probe: a waiting client comes before the next probe.
    probed_last: bool,
    /// Line time for marked reads, and for suspect ones.
    trials: Allowance,
    suspects: Allowance,
}

impl<T> Scheduler<T> {
    pub(super) fn new(settings: &LineSettings) -> Self {
        Self {
            queue: Queue::new(settings.queue_limit),
            reservation: None,
            probed_last: false,
            trials: Allowance::new(settings.failure_share),
            suspects: Allowance::new(SUSPECTS_SHARE),
        }
    }

    pub(super) fn configure(&mut self, settings: &LineSettings) {
        self.queue.set_limit(settings.queue_limit);
        self.trials.set_share(settings.failure_share);
        self.reservation = None;
    }

    pub(super) fn queue(&self) -> &Queue<T> {
        &self.queue
    }

    pub(super) fn queue_mut(&mut self) -> &mut Queue<T> {
        &mut self.queue
    }

    /// Whether a marked read may be tried now.
    pub(super) fn allows_trial(&mut self, now: Instant) -> bool {
        self.trials.allows(now)
    }

    /// Whether a read that was never answered may be sent to a unit that ignores many reads.
    pub(super) fn allows_suspect(&mut self, now: Instant) -> bool {
        self.suspects.allows(now)
    }

    /// An attempt has ended: charges its line time to the flow whose turn it was.
    pub(super) fn charge(&mut self, turn: &Turn, took: Duration) {
        self.queue.charge(turn, took);
    }

    /// Spends line time of a request with this purpose.
    pub(super) fn spend(&mut self, purpose: Purpose, took: Duration) {
        match purpose {
            Purpose::Trial => self.trials.spend(took),
            Purpose::Unproven => self.suspects.spend(took),
            Purpose::Request | Purpose::ClientProbe => {}
        }
    }

    /// What to send now; `None` while the line is reserved.
    pub(super) fn next(&mut self, situation: &Situation<'_>, now: Instant) -> Option<NextRequest<T>> {
        if !situation.wire.is_free(situation.units, now) || now < situation.wire.silent_from(Duration::ZERO) {
            return None;
        }
        let is_wanted = |kept: &&Reservation| self.is_wanted(&kept.what, situation, now);
        let reservation = match self.reservation.as_ref().filter(is_wanted) {
            Some(kept) => kept.clone(),
            None => Reservation { what: self.choose(situation, now)?, since: now },
        };
        self.reservation = Some(reservation.clone());
        if now < self.reserved_until(&reservation, situation)? {
            return None;
        }
        self.reservation = None;
        let reserved = now.saturating_duration_since(reservation.since);
        self.probed_last = false;
        match reservation.what {
            Reserved::Own { unit, own } => {
                self.probed_last = own == OwnPurpose::Probe;
                Some(NextRequest::Own { unit, own, reserved })
            }
            Reserved::Item { key, turn } => {
                let unsent = self.queue.get(key)?;
                if let Target::Unit(unit) = unsent.target
                    && !situation.wire.may_send(&unsent.pdu)
                {
                    return Some(NextRequest::Own { unit, own: OwnPurpose::EchoCheck, reserved });
                }
                let item = self.queue.dequeue(key, &turn)?;
                Some(NextRequest::Item { item, turn, reserved })
            }
        }
    }

    /// When [`next`](Self::next) may have something, if the line is free.
    pub(super) fn poll_timeout(&self, situation: &Situation<'_>, now: Instant) -> Option<Instant> {
        if !situation.wire.is_free(situation.units, now) {
            return None;
        }
        let soonest = situation.wire.silent_from(Duration::ZERO);
        if let Some(reservation) = &self.reservation
            && self.is_wanted(&reservation.what, situation, now)
            && let Some(until) = self.reserved_until(reservation, situation)
        {
            return Some(until);
        }
        let waiting = self.queue.next_ready(
            |target| {
                is_reachable(target, situation)
                    .then(|| guarded_until(target, situation, now).unwrap_or(soonest))
            },
            |item| confusable_until(item, situation, now),
        );
        let own = own_due(situation, now).map(|(due, ..)| due).min();
        waiting.into_iter().chain(own).min().map(|at| at.max(soonest))
    }

    /// Removes the waiters that have expired.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Removed<T>> {
        self.queue.expire(now)
    }

    fn choose(&self, situation: &Situation<'_>, now: Instant) -> Option<Reserved> {
        let own = own_due(situation, now).filter(|(due, ..)| *due <= now);
        // The one that has waited longest, so that many dead units take turns.
        let own = own.min_by_key(|(due, _, own)| (*own != OwnPurpose::Confirmation, *due));
        let own = own.map(|(_, unit, own)| Reserved::Own { unit, own });
        let selected = || {
            let selected = self.queue.select(
                |target| is_reachable(target, situation) && guarded_until(target, situation, now).is_none(),
                |item| is_meant_for_now(item, situation) && confusable_until(item, situation, now).is_none(),
            );
            selected.map(|(key, turn)| Reserved::Item { key, turn })
        };
        // Many dead units, probed each second while no unit is on-line, must leave line time to units that answer.
        match own {
            Some(Reserved::Own { own: OwnPurpose::Probe, .. }) if self.probed_last => selected().or(own),
            Some(_) => own,
            None => selected(),
        }
    }

    /// Whether what the line is reserved for may still be sent.
    fn is_wanted(&self, what: &Reserved, situation: &Situation<'_>, now: Instant) -> bool {
        match what {
            Reserved::Item { key, turn } => self.queue.get(*key).is_some_and(|item| {
                self.queue.has_waiter(*key, &turn.source)
                    && is_reachable(item.target, situation)
                    && is_meant_for_now(item, situation)
                    && guarded_until(item.target, situation, now).is_none()
                    && confusable_until(item, situation, now).is_none()
            }),
            Reserved::Own { unit, own } => {
                own_due(situation, now).any(|(due, other, kind)| due <= now && other == *unit && kind == *own)
            }
        }
    }

    /// When the request the line is reserved for is sent: after the gap, or after as long from the reservation on, if
    /// frames of others keep restarting the gap.
    fn reserved_until(&self, reservation: &Reservation, situation: &Situation<'_>) -> Option<Instant> {
        let target = match &reservation.what {
            Reserved::Item { key, .. } => self.queue.target_of(*key)?,
            Reserved::Own { unit, .. } => Target::Unit(*unit),
        };
        let gap = gap_of(target, situation);
        let silence = situation.settings.protocol.silence();
        let silent = situation.wire.silent_from(Duration::ZERO);
        Some(situation.wire.silent_from(gap).min(reservation.since + gap + silence).max(silent))
    }
}

/// The next read of the gateway itself, and when it is due.
fn own_due<'a>(
    situation: &'a Situation<'_>,
    now: Instant,
) -> impl Iterator<Item = (Instant, UnitId, OwnPurpose)> + 'a {
    let Situation { units, silent_line, .. } = situation;
    let ready = move |unit: &Unit| unit.guarded_until(now).unwrap_or(now);
    let is_silent = silent_line.is_silent();
    let line = silent_line.probe_due().and_then(|due| {
        let unit = units.get(silent_line.peek_probe(&units.ids())?)?;
        Some((due.max(unit.guarded_until(now).unwrap_or(due)), unit.id(), OwnPurpose::LineProbe))
    });
    let pace = units.probe_pace();
    let others = units.iter().filter(move |_| !is_silent).filter_map(move |unit| match unit.state() {
        UnitState::Confirming => Some((ready(unit), unit.id(), OwnPurpose::Confirmation)),
        UnitState::Offline => {
            let due = unit.probe_due(pace)?;
            Some((due.max(unit.guarded_until(now).unwrap_or(due)), unit.id(), OwnPurpose::Probe))
        }
        UnitState::NeverSeen | UnitState::Online => None,
    });
    line.into_iter().chain(others)
}

/// Whether anything that waits for the target may be sent at all.
fn is_reachable(target: Target, situation: &Situation<'_>) -> bool {
    match target {
        Target::Broadcast => true,
        Target::Unit(id) => {
            // While the line is silent, the confirmation of a unit waits for the end of the silence.
            let is_silent = situation.silent_line.is_silent();
            let state = situation.units.get(id).map(Unit::state);
            state.is_some_and(|state| is_silent || state != UnitState::Confirming)
        }
    }
}

/// Whether the item may be sent in the present state of its unit and the line: to those that do not answer, only
/// probes.
fn is_meant_for_now<T>(item: &Item<T>, situation: &Situation<'_>) -> bool {
    match item.target {
        Target::Broadcast => true,
        Target::Unit(_) if situation.silent_line.is_silent() => item.purpose == Purpose::ClientProbe,
        Target::Unit(id) => situation.units.get(id).is_some_and(|unit| match unit.state() {
            UnitState::NeverSeen | UnitState::Online => true,
            UnitState::Offline => item.purpose == Purpose::ClientProbe,
            UnitState::Confirming => false,
        }),
    }
}

fn guarded_until(target: Target, situation: &Situation<'_>, now: Instant) -> Option<Instant> {
    match target {
        Target::Unit(id) => situation.units.get(id)?.guarded_until(now),
        Target::Broadcast => None,
    }
}

fn confusable_until<T>(item: &Item<T>, situation: &Situation<'_>, now: Instant) -> Option<Instant> {
    match item.target {
        Target::Unit(id) => situation.units.get(id)?.owed().confusable_until(&item.pdu, now),
        Target::Broadcast => None,
    }
}

fn gap_of(target: Target, situation: &Situation<'_>) -> Duration {
    match target {
        Target::Unit(id) => {
            situation.units.get(id).map_or(situation.settings.request_gap, |unit| unit.settings().request_gap)
        }
        Target::Broadcast => situation.settings.request_gap,
    }
}

/// Share of line time for reads that were never answered, on units that ignore many reads.
const SUSPECTS_SHARE: f64 = 0.1;
