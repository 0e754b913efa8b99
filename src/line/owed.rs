//! Owed answers: answers to requests that were given up, and how long they matter.
//!
//! Owns the guard. Until it has ended, nothing is sent to the unit: the answer to one request must not be taken for the
//! answer to the next. Lateness seen beyond the guard forbids only requests whose answers could be confused.
//!
//! An answer later than that can be taken for the answer to the next request. Then each answer is one request late, for
//! as long as the unit is asked without a pause: nothing in a frame tells. So the unit rests where that could begin
//! (after the first answer that follows an unanswered request, after each answer of a unit that answers twice) and, if
//! it never does otherwise, now and then. What comes meanwhile is one answer too many.
//!
//! It has no access to queue and wire. A reload keeps what is owed; `Unit::configure`, `inherit` and `reset` decide that.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::modbus::pdu::{ReadRange, RequestPdu};

use super::now::Now;
use super::queue::Turn;

/// A request given up without an answer; the answer may still come.
#[derive(Clone, Debug)]
pub(super) struct Owed {
    /// The request.
    pub(super) request: RequestPdu,
    /// When the request began to be sent.
    pub(super) sent_at: Now,
    /// The unit's epoch when it was sent.
    pub(super) epoch: u64,
    /// The queued item that still waits for the answer.
    pub(super) item: Option<u64>,
    /// The flow it is charged to.
    pub(super) turn: Turn,
    /// When the wait for it ended.
    pub(super) ended_at: Instant,
    /// When its unit's `response_timeout` had passed in full.
    pub(super) given_up: Instant,
    /// Until when nothing is sent to the unit; set by [`OwedAnswers::owe`].
    pub(super) until: Instant,
    /// Whether an answer has been taken since that may have been this one: then each since may have been the answer to
    /// the request before.
    pub(super) may_be_taken: bool,
}

impl Owed {
    /// Whether its guard has not ended.
    pub(super) fn is_guarding(&self, now: Instant) -> bool {
        self.until > now
    }
}

/// A guard that has ended: its time is charged to the flow whose request began it, as far as other clients waited.
#[derive(Clone, Debug)]
pub(super) struct EndedGuard {
    pub(super) turn: Turn,
    pub(super) from: Instant,
    pub(super) to: Instant,
}

/// An owed answer that has come.
#[derive(Clone, Debug)]
pub(super) struct LateAnswer {
    /// The first request it may answer.
    pub(super) owed: Owed,
    /// When the last such request was sent.
    pub(super) latest: Instant,
    pub(super) ended: EndedGuard,
}

/// All owed answers of one unit.
#[derive(Debug)]
pub(super) struct OwedAnswers {
    guard: Duration,
    /// How late an answer came after it was given up.
    lateness: Option<Learned>,
    /// How long after an answer another one came, though none was owed.
    surplus: Option<Learned>,
    /// When an answer last came, or could still come.
    last_answer: Option<Instant>,
    /// How long it rests: long enough for one answer more.
    rest: Duration,
    /// From when on it rests after its next answer.
    rest_due: Option<Instant>,
    /// Oldest first.
    attempts: VecDeque<Owed>,
    /// End of the guard after a start or a reopened port, when the earlier requests are unknown.
    unknown_until: Option<Instant>,
    /// End of the present rest. What comes meanwhile is judged as if the unit owed nothing.
    resting_until: Option<Instant>,
}

/// A delay that was seen, with a margin. Halved for each ten minutes in which it was not seen again.
#[derive(Clone, Copy, Debug)]
struct Learned {
    delay: Duration,
    at: Instant,
}

impl Learned {
    fn at(self, now: Instant) -> Option<Duration> {
        let halvings = now.saturating_duration_since(self.at).as_secs() / LATENESS_HALVED_AFTER.as_secs();
        Some(self.delay / 2_u32.checked_pow(u32::try_from(halvings).ok()?)?)
    }

    /// `seen` is added to what is known. A much shorter one does not keep a long one from being forgotten.
    fn learn(known: Option<Self>, seen: Duration, limit: Duration, now: Instant) -> Self {
        let seen = (seen * 5 / 4).min(limit);
        match known.and_then(|known| Some((known, known.at(now)?))) {
            Some((known, present)) if seen * 2 < present => known,
            Some((_, present)) => Self { delay: present.max(seen), at: now },
            None => Self { delay: seen, at: now },
        }
    }
}

impl OwedAnswers {
    pub(super) fn new(guard: Duration) -> Self {
        Self {
            guard,
            lateness: None,
            surplus: None,
            last_answer: None,
            rest: guard,
            rest_due: None,
            attempts: VecDeque::new(),
            unknown_until: None,
            resting_until: None,
        }
    }

    /// Changes the guard of requests given up from now on.
    pub(super) fn set_guard(&mut self, guard: Duration) {
        self.guard = guard;
    }

    /// A request was given up; its answer may still come.
    pub(super) fn owe(&mut self, owed: Owed) {
        let until = owed.given_up + self.guard;
        // Its answer may come until then, so this is no pause of the unit.
        self.last_answer = self.last_answer.max(Some(until));
        self.attempts.push_back(Owed { until, ..owed });
        if self.attempts.len() > ATTEMPTS_MAX {
            self.attempts.pop_front();
        }
    }

    /// An answer to an unknown request may come until then.
    pub(super) fn owe_unknown(&mut self, until: Instant) {
        self.unknown_until = self.unknown_until.max(Some(until));
    }

    /// Whether an answer to an unknown request may come.
    pub(super) fn owes_unknown(&self, now: Instant) -> bool {
        self.unknown_until.is_some_and(|until| until > now)
    }

    /// Until when nothing is sent to the unit.
    pub(super) fn guarded_until(&self, now: Instant) -> Option<Instant> {
        let known = self.attempts.iter().map(|owed| owed.until).max();
        known.max(self.unknown_until).filter(|until| *until > now)
    }

    /// When `request` may be sent if its answer could be confused with an unusually late one; `None`: at once.
    pub(super) fn confusable_until(&self, request: &RequestPdu, now: Instant) -> Option<Instant> {
        let lateness = self.lateness(now)?;
        let confusable = self.attempts.iter().filter(|owed| may_be_confused(request, &owed.request));
        confusable.map(|owed| owed.given_up + lateness).max().filter(|until| *until > now)
    }

    /// Until when unusually late answers may come.
    pub(super) fn late_until(&self, now: Instant) -> Option<Instant> {
        let lateness = self.lateness(now)?;
        self.attempts.iter().map(|owed| owed.given_up + lateness).max().filter(|until| *until > now)
    }

    /// When the data of an answer to `request`, sent now, counts as begun: at the first of the same reads that may
    /// still be answered.
    pub(super) fn begun(&self, request: &RequestPdu, now: Now) -> Now {
        let Some(lateness) = self.lateness(now.instant) else { return now };
        let same = self.attempts.iter().filter(|owed| owed.request == *request);
        let answerable = same.filter(|owed| owed.given_up + lateness > now.instant);
        answerable.map(|owed| owed.sent_at).min_by_key(|sent_at| sent_at.instant).unwrap_or(now)
    }

    /// `request`, sent at `sent_at`, was answered. `usual`: the unit's usual response time.
    pub(super) fn note_answered(
        &mut self,
        request: &RequestPdu,
        sent_at: Now,
        usual: Option<Duration>,
        now: Instant,
    ) {
        self.note_pause(sent_at.instant);
        self.rest = usual.map_or(self.guard, |usual| (usual * 4).max(REST_MIN).min(self.guard));
        for owed in &mut self.attempts {
            let takes = owed.request == *request || may_be_confused(request, &owed.request);
            if takes && !owed.may_be_taken {
                owed.may_be_taken = true;
                self.rest_due = Some(now);
            }
        }
        self.last_answer = Some(now);
        let due = self.rest_due.is_some_and(|due| due <= now).then_some(self.rest);
        let surplus = self.surplus.and_then(|surplus| surplus.at(now)).map(|delay| delay.min(self.guard));
        if let Some(length) = due.max(surplus) {
            self.resting_until = self.resting_until.max(Some(now + length));
        }
        self.replace_oldest(request, sent_at);
    }

    /// A request was sent at `sent_at`: since the answer before, the unit may have rested by itself.
    fn note_pause(&mut self, sent_at: Instant) {
        let pause = self.last_answer.map(|last| sent_at.saturating_duration_since(last));
        if pause.is_none_or(|pause| pause >= self.rest) {
            self.rest_due = Some(sent_at + REST_EVERY);
        }
    }

    /// The unit sent one answer more to what it answered last, though none is owed. True: later than was known, so that
    /// answers before it may have been other requests'.
    pub(super) fn note_surplus(&mut self, now: Instant) -> bool {
        let after = self.last_answer.map(|last| now.saturating_duration_since(last));
        let Some(after) = after.filter(|after| *after <= self.guard.max(self.rest)) else { return false };
        let known = self.surplus.and_then(|surplus| surplus.at(now));
        self.surplus = Some(Learned::learn(self.surplus, after, self.guard, now));
        self.rest(now);
        known.is_none_or(|known| after > known)
    }

    /// The unit answered with another length. It may be the answer to the request before, and its own come next: it
    /// rests, but not more often than any other unit, for some units always answer so.
    pub(super) fn note_misfit(&mut self, now: Instant) {
        match self.rest_due {
            Some(due) if due > now => {}
            Some(_) => {
                self.rest(now);
                self.rest_due = Some(now + REST_EVERY);
            }
            None => self.rest_due = Some(now + REST_EVERY),
        }
    }

    /// Nothing is sent to the unit for as long as one answer more may take.
    fn rest(&mut self, now: Instant) {
        self.last_answer = self.last_answer.max(Some(now));
        self.resting_until = self.resting_until.max(Some(now + self.rest));
    }

    /// Until when it rests.
    pub(super) fn resting_until(&self, now: Instant) -> Option<Instant> {
        self.resting_until.filter(|until| *until > now)
    }

    /// Another line may be behind the port: what was learned of answers too many is forgotten.
    pub(super) fn forget_surplus(&mut self) {
        self.surplus = None;
    }

    /// `request` was answered while the same read was owed. A unit answers in order, so what may still come answers a
    /// later sending than the oldest: this sending replaces the oldest, for as long as that was owed.
    fn replace_oldest(&mut self, request: &RequestPdu, sent_at: Now) {
        let Some(index) = self.attempts.iter().position(|owed| owed.request == *request) else { return };
        if let Some(oldest) = self.attempts.remove(index) {
            self.attempts.push_back(Owed { sent_at, item: None, ..oldest });
        }
    }

    /// Whether no owed answer is remembered.
    pub(super) fn is_empty(&self) -> bool {
        self.attempts.is_empty()
    }

    /// The requests given up whose answer may come now, newest first.
    pub(super) fn requests(&self) -> impl Iterator<Item = &RequestPdu> {
        self.attempts.iter().rev().map(|owed| &owed.request)
    }

    /// Whether a guard has not ended: nothing is sent to the unit.
    pub(super) fn is_guarding(&self, now: Instant) -> bool {
        self.guarded_until(now).is_some()
    }

    /// An answer came that `fits` one of the requests given up: learns its lateness. Returns the request and the guard
    /// that ends with it; a guard that ended before has no length.
    pub(super) fn settle(&mut self, fits: impl Fn(&RequestPdu) -> bool, now: Instant) -> Option<LateAnswer> {
        let index = self.attempts.iter().position(|owed| fits(&owed.request))?;
        let latest = self.attempts.iter().rev().find(|owed| fits(&owed.request)).map(|owed| owed.sent_at);
        let owed = self.attempts.remove(index)?;
        self.last_answer = self.last_answer.max(Some(now));
        if owed.may_be_taken {
            self.rest(now);
        }
        let late = now.saturating_duration_since(owed.given_up);
        self.learn(late, now);
        let ended = EndedGuard { turn: owed.turn.clone(), from: owed.ended_at, to: now.min(owed.until) };
        let latest = latest.unwrap_or(owed.sent_at);
        Some(LateAnswer { owed, latest: latest.instant, ended })
    }

    /// Removes what has passed; returns the guards that ended.
    pub(super) fn release(&mut self, now: Instant) -> Vec<EndedGuard> {
        self.unknown_until = self.unknown_until.filter(|until| *until > now);
        let mut ended = Vec::new();
        for owed in &mut self.attempts {
            if owed.until <= now && owed.until > owed.given_up {
                ended.push(EndedGuard { turn: owed.turn.clone(), from: owed.ended_at, to: owed.until });
                // Charged once; from now on it only measures the lateness of a frame.
                owed.until = owed.given_up;
            }
        }
        let is_remembered = |owed: &Owed| owed.until > now || owed.given_up + LATENESS_MAX > now;
        if self.attempts.iter().any(|owed| owed.may_be_taken && !is_remembered(owed)) {
            // Its answer may have come at any time until now, and may have been taken for another's.
            self.rest_due = Some(now);
        }
        self.attempts.retain(is_remembered);
        ended
    }

    /// The queued item with this key is gone.
    pub(super) fn forget_item(&mut self, key: u64) {
        for owed in self.attempts.iter_mut().filter(|owed| owed.item == Some(key)) {
            owed.item = None;
        }
    }

    /// How late answers are expected to be, if later than the guard.
    fn lateness(&self, now: Instant) -> Option<Duration> {
        self.lateness?.at(now).filter(|lateness| *lateness > self.guard)
    }

    fn learn(&mut self, late: Duration, now: Instant) {
        self.lateness = Some(Learned::learn(self.lateness, late, LATENESS_MAX, now));
    }
}

/// Whether the answer to `owed` could be taken for one to `request`. Not so where function or length distinguishes
/// them, nor for exactly the same read, which it may answer as well.
fn may_be_confused(request: &RequestPdu, owed: &RequestPdu) -> bool {
    if !request.is_read() {
        return true;
    }
    if request == owed || request.function() != owed.function() {
        return false;
    }
    let length = |request: &RequestPdu| request.range().as_ref().map(ReadRange::byte_count);
    match (length(request), length(owed)) {
        (Some(one), Some(other)) => one == other,
        (Some(_) | None, _) => true,
    }
}

/// Largest number of requests given up that are remembered.
const ATTEMPTS_MAX: usize = 16;

/// Largest lateness of an answer that is still expected.
pub(super) const LATENESS_MAX: Duration = Duration::from_secs(5);

/// A unit that is asked without a pause rests once in this time: an answer that is taken for another's goes on for no
/// longer.
const REST_EVERY: Duration = Duration::from_secs(10);

/// The shortest rest: more than the usual response time of meters, and than the delay of most serial servers.
const REST_MIN: Duration = Duration::from_millis(200);

/// After this long without a late answer, half of the learned lateness is forgotten.
const LATENESS_HALVED_AFTER: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::line::now::some_instant;
    use crate::line::queue::OWN_TURN;

    const GUARD: Duration = Duration::from_millis(500);

    fn read(start: u8, quantity: u8) -> RequestPdu {
        RequestPdu::decode(Bytes::copy_from_slice(&[3, 0, start, 0, quantity])).expect("a good request")
    }

    fn write() -> RequestPdu {
        RequestPdu::decode(Bytes::from_static(&[6, 0, 1, 0, 1])).expect("a good request")
    }

    fn given_up(request: RequestPdu, at: Instant) -> Owed {
        let sent_at = Now::from(at - GUARD);
        Owed {
            request,
            sent_at,
            epoch: 0,
            item: None,
            turn: OWN_TURN,
            ended_at: at,
            given_up: at,
            until: at,
            may_be_taken: false,
        }
    }

    /// A unit with one answer that came this late after it was given up.
    fn late_by(late: Duration, start: Instant) -> OwedAnswers {
        let mut owed = OwedAnswers::new(GUARD);
        owed.owe(given_up(read(0, 1), start));
        let taken = owed.settle(|_| true, start + late);
        assert!(taken.is_some_and(|taken| taken.owed.is_guarding(start + late) == (late < GUARD)));
        owed
    }

    #[test]
    fn nothing_is_sent_until_the_guard_has_passed() {
        let now = some_instant();
        let mut owed = OwedAnswers::new(GUARD);
        owed.owe(given_up(read(0, 1), now));
        assert_eq!(owed.guarded_until(now), Some(now + GUARD));
        assert_eq!(owed.guarded_until(now + GUARD), None);
        assert_eq!(owed.release(now + GUARD).len(), 1);
        assert!(owed.release(now + 2 * GUARD).is_empty(), "a guard is charged once");
    }

    #[test]
    fn lateness_forbids_only_what_could_be_confused() {
        let start = some_instant();
        let mut owed = late_by(Duration::from_secs(4), start);
        let lost = start + Duration::from_secs(10);
        owed.owe(given_up(read(0, 1), lost));
        let now = lost + GUARD;
        assert_eq!(owed.guarded_until(now), None);
        assert_eq!(owed.confusable_until(&read(0, 1), now), None, "the same read");
        let begun = owed.begun(&read(0, 1), now.into());
        assert_eq!(begun, (lost - GUARD).into(), "and counts as begun when the first was sent");
        assert_eq!(owed.confusable_until(&read(9, 2), now), None, "another length");
        assert_eq!(owed.confusable_until(&read(9, 1), now), Some(lost + Duration::from_secs(5)));
        assert_eq!(owed.confusable_until(&write(), now), Some(lost + Duration::from_secs(5)));
        assert_eq!(owed.begun(&read(9, 2), now.into()), now.into());
    }

    #[test]
    fn the_same_read_asked_again_and_again_does_not_grow_older_than_its_last_sending() {
        let start = some_instant();
        let mut owed = late_by(Duration::from_secs(4), start);
        let lost = start + Duration::from_secs(10);
        owed.owe(given_up(read(0, 1), lost));
        let again = lost + GUARD;
        assert_eq!(owed.begun(&read(0, 1), again.into()).instant, lost - GUARD);
        owed.note_answered(&read(0, 1), again.into(), None, again);
        let later = again + Duration::from_secs(1);
        assert_eq!(
            owed.begun(&read(0, 1), later.into()).instant,
            again,
            "the last sending may be answered yet"
        );
        let over = lost + Duration::from_secs(6);
        assert_eq!(
            owed.begun(&read(0, 1), over.into()).instant,
            over,
            "no longer than the lost one could be"
        );
    }

    #[test]
    fn lateness_is_forgotten_by_halves() {
        let start = some_instant();
        let mut owed = late_by(Duration::from_secs(4), start);
        for (minutes, lateness) in [(11, Some(2500)), (21, Some(1250)), (31, Some(625)), (51, None)] {
            let lost = start + Duration::from_secs(minutes * 60);
            owed.owe(given_up(read(0, 1), lost));
            let until = owed.confusable_until(&read(9, 1), lost + GUARD);
            let expected = lateness.map(|millis| lost + Duration::from_millis(millis));
            assert_eq!(
                until.map(|at| (at - lost).as_millis() / 10),
                expected.map(|at| (at - lost).as_millis() / 10)
            );
            owed.release(lost + Duration::from_secs(60));
        }
    }

    #[test]
    fn each_attempt_is_owed_on_its_own() {
        let now = some_instant();
        let mut owed = OwedAnswers::new(GUARD);
        owed.owe(given_up(read(0, 1), now));
        owed.owe(given_up(read(0, 1), now + GUARD / 2));
        assert!(owed.settle(|_| true, now + GUARD / 2).is_some());
        assert_eq!(owed.guarded_until(now + GUARD / 2), Some(now + GUARD / 2 + GUARD));
    }
}
