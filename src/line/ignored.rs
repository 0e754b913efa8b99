//! Reads a unit ignores while it answers others: marked, refused at once, and retried with a back-off.
//!
//! A meter may stay silent to registers it does not have. Each such read costs a whole timeout, so after two of them
//! the gateway refuses the same read. A marked read is retried, and an answer clears its mark.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::modbus::pdu::{ReadRange, RequestPdu};

use super::incidents::RequestSummary;

/// The record of a read before it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadStatus {
    /// Not known to be ignored.
    Allowed,
    /// Never answered by this unit, which ignores many other reads.
    Unproven,
    /// It was ignored; a retry is due, once.
    Trial,
    /// It was ignored.
    Ignored,
}

/// The reads of one unit that got no answer.
#[derive(Debug, Default)]
pub(super) struct IgnoredReads {
    entries: VecDeque<UnansweredRead>,
    /// Reads that were answered, oldest first.
    answered: VecDeque<RequestPdu>,
    is_answered: BTreeSet<Bytes>,
}

/// The reads that a unit ignores and is not known to have answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeverAnswered {
    /// How many are marked.
    pub count: usize,
    /// The one tried last.
    pub last: RequestSummary,
    /// When that was.
    pub last_failed: Instant,
}

#[derive(Debug)]
struct UnansweredRead {
    pdu: Bytes,
    /// When it last got no answer.
    failed_at: Instant,
    mark: Option<Mark>,
}

#[derive(Debug)]
struct Mark {
    next_try: Instant,
    pause: Duration,
    /// Whether the retry of this pause has been sent or queued.
    is_tried: bool,
}

impl IgnoredReads {
    /// The record of `request`; allows one trial per pause.
    pub(super) fn read_status(&mut self, request: &RequestPdu, now: Instant) -> ReadStatus {
        if self.entries.is_empty() || !request.is_read() {
            return ReadStatus::Allowed;
        }
        let is_suspect = self.marks() > MARKS_OF_SUSPECTS && !self.was_answered(request);
        let entry = self.entries.iter_mut().find(|entry| entry.pdu == request.bytes());
        match entry.and_then(|entry| entry.mark.as_mut()) {
            Some(mark) if mark.next_try <= now && !mark.is_tried => {
                mark.is_tried = true;
                ReadStatus::Trial
            }
            Some(_) => ReadStatus::Ignored,
            None if is_suspect => ReadStatus::Unproven,
            None => ReadStatus::Allowed,
        }
    }

    /// Whether `request` is marked, whether or not a retry is due.
    pub(super) fn is_marked(&self, request: &RequestPdu) -> bool {
        self.entries.iter().any(|entry| entry.pdu == request.bytes() && entry.mark.is_some())
    }

    /// A trial that was allowed was not sent.
    pub(super) fn undo_trial(&mut self, request: &RequestPdu) {
        if let Some(mark) = self.find(request).and_then(|entry| entry.mark.as_mut()) {
            mark.is_tried = false;
        }
    }

    /// A client's read, its retries included, got no intact frame. `last_alive`: when the unit last gave proof of life.
    /// True if it was a trial and the unit gave no proof of life since the trial before.
    pub(super) fn note_unanswered(
        &mut self,
        request: &RequestPdu,
        last_alive: Option<Instant>,
        now: Instant,
    ) -> bool {
        if !request.is_read() {
            return false;
        }
        let Some(entry) = self.find(request) else {
            let full = self.entries.iter().filter(|entry| entry.mark.is_none()).count() >= CANDIDATES_MAX;
            if full && let Some(index) = self.entries.iter().position(|entry| entry.mark.is_none()) {
                self.entries.remove(index);
            }
            self.entries.push_back(UnansweredRead {
                pdu: request.bytes().clone(),
                failed_at: now,
                mark: None,
            });
            return false;
        };
        let alive_since = last_alive.is_some_and(|alive| alive > entry.failed_at);
        match &mut entry.mark {
            Some(mark) => {
                mark.pause = (mark.pause * 2).min(PAUSE_MAX);
                mark.next_try = now + mark.pause;
                mark.is_tried = false;
                entry.failed_at = now;
                !alive_since
            }
            None if alive_since => {
                entry.mark = Some(Mark { next_try: now + PAUSE_MIN, pause: PAUSE_MIN, is_tried: false });
                entry.failed_at = now;
                self.drop_oldest_mark();
                false
            }
            None => false,
        }
    }

    /// The unit answered this read: clears its mark.
    pub(super) fn note_answered(&mut self, request: &RequestPdu) {
        if !request.is_read() {
            return;
        }
        self.entries.retain(|entry| entry.pdu != request.bytes());
        if !self.is_answered.contains(request.bytes()) {
            // A copy: the client's buffer may hold everything its connection received at once.
            let answered = request.range().map_or_else(|| request.clone(), RequestPdu::from);
            self.is_answered.insert(answered.bytes().clone());
            self.answered.push_back(answered);
            if self.answered.len() > ANSWERED_MAX
                && let Some(oldest) = self.answered.pop_front()
            {
                self.is_answered.remove(oldest.bytes());
            }
        }
    }

    /// The unit has changed: forgets all reads.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Number of marked reads.
    pub(super) fn marks(&self) -> usize {
        self.entries.iter().filter(|entry| entry.mark.is_some()).count()
    }

    /// The marked reads that are not known to have been answered, not even as a part of others. Others are answered now
    /// and then, so a lossy line is as likely a cause.
    pub(super) fn never_answered(&self) -> Option<NeverAnswered> {
        let marked = self.entries.iter().filter(|entry| entry.mark.is_some());
        let requests =
            marked.filter_map(|entry| Some((RequestPdu::decode(entry.pdu.clone()).ok()?, entry.failed_at)));
        let never: Vec<_> = requests.filter(|(request, _)| !self.was_answered(request)).collect();
        let (last, last_failed) = never.iter().max_by_key(|(_, failed_at)| *failed_at)?;
        Some(NeverAnswered {
            count: never.len(),
            last: RequestSummary::new(last, None),
            last_failed: *last_failed,
        })
    }

    /// Whether the unit is known to have answered this read, or one that covers it.
    pub(super) fn has_answered(&self, request: &RequestPdu) -> bool {
        self.was_answered(request)
    }

    /// The unit is off-line: forgets what it ignored, not what it answered.
    pub(super) fn forget_ignored(&mut self) {
        self.entries.clear();
    }

    /// Whether the unit answered this read, or one that covers it.
    fn was_answered(&self, request: &RequestPdu) -> bool {
        let covers = |range: &ReadRange| {
            self.answered.iter().filter_map(RequestPdu::range).any(|answered| answered.covers(range))
        };
        self.is_answered.contains(request.bytes()) || request.range().as_ref().is_some_and(covers)
    }

    fn find(&mut self, request: &RequestPdu) -> Option<&mut UnansweredRead> {
        self.entries.iter_mut().find(|entry| entry.pdu == request.bytes())
    }

    fn drop_oldest_mark(&mut self) {
        if self.marks() > MARKS_MAX
            && let Some(index) = self.entries.iter().position(|entry| entry.mark.is_some())
        {
            self.entries.remove(index);
        }
    }
}

/// Largest number of marked reads of one unit; the oldest is dropped.
const MARKS_MAX: usize = 64;

/// Largest number of reads of one unit that got no answer once.
const CANDIDATES_MAX: usize = 64;

/// On a unit with more marks than this, reads it has never answered are suspect, too.
const MARKS_OF_SUSPECTS: usize = 8;

/// Answered reads that are remembered.
const ANSWERED_MAX: usize = 256;

/// The first pause before a marked read is retried.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::now::some_instant;

    fn read(start: u8) -> RequestPdu {
        RequestPdu::decode(Bytes::copy_from_slice(&[3, 0, start, 0, 1])).expect("a good request")
    }

    fn after(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    #[test]
    fn a_read_is_marked_when_it_was_ignored_twice_and_another_was_answered_between() {
        let start = some_instant();
        let mut ignored = IgnoredReads::default();
        assert!(!ignored.note_unanswered(&read(0), None, start));
        assert!(!ignored.note_unanswered(&read(0), None, after(start, 10)));
        assert_eq!(
            ignored.read_status(&read(0), after(start, 10)),
            ReadStatus::Allowed,
            "no proof of life between"
        );
        assert!(!ignored.note_unanswered(&read(0), Some(after(start, 15)), after(start, 20)));
        assert_eq!(ignored.read_status(&read(0), after(start, 30)), ReadStatus::Ignored);
        assert_eq!(ignored.read_status(&read(1), after(start, 30)), ReadStatus::Allowed);
    }

    #[test]
    fn a_marked_read_is_tried_after_a_pause_that_doubles_and_once_each() {
        let start = some_instant();
        let mut ignored = IgnoredReads::default();
        ignored.note_unanswered(&read(0), None, start);
        ignored.note_unanswered(&read(0), Some(after(start, 1)), after(start, 2));
        assert_eq!(ignored.read_status(&read(0), after(start, 1001)), ReadStatus::Ignored);
        assert_eq!(ignored.read_status(&read(0), after(start, 1002)), ReadStatus::Trial);
        assert_eq!(
            ignored.read_status(&read(0), after(start, 1003)),
            ReadStatus::Ignored,
            "one try for each pause"
        );
        let dead = ignored.note_unanswered(&read(0), Some(after(start, 1)), after(start, 1500));
        assert!(dead, "no proof of life since the try before");
        assert_eq!(ignored.read_status(&read(0), after(start, 3499)), ReadStatus::Ignored);
        assert_eq!(ignored.read_status(&read(0), after(start, 3500)), ReadStatus::Trial);
        assert!(!ignored.note_unanswered(&read(0), Some(after(start, 3000)), after(start, 4000)));
    }

    #[test]
    fn an_answer_clears_the_mark() {
        let start = some_instant();
        let mut ignored = IgnoredReads::default();
        ignored.note_unanswered(&read(0), None, start);
        ignored.note_unanswered(&read(0), Some(after(start, 1)), after(start, 2));
        ignored.note_answered(&read(0));
        assert_eq!(ignored.read_status(&read(0), after(start, 3)), ReadStatus::Allowed);
    }

    #[test]
    fn with_more_than_eight_marks_what_was_never_answered_is_unproven() {
        let start = some_instant();
        let mut ignored = IgnoredReads::default();
        for register in 0..9 {
            ignored.note_unanswered(&read(register), None, start);
            ignored.note_unanswered(&read(register), Some(after(start, 1)), after(start, 2));
        }
        let wide = RequestPdu::decode(Bytes::from_static(&[3, 0, 100, 0, 10])).expect("a good request");
        ignored.note_answered(&wide);
        assert_eq!(
            ignored.read_status(&read(109), after(start, 3)),
            ReadStatus::Allowed,
            "part of what it answered"
        );
        assert_eq!(ignored.read_status(&read(110), after(start, 3)), ReadStatus::Unproven);
    }

    #[test]
    fn the_oldest_of_65_marks_goes() {
        let start = some_instant();
        let mut ignored = IgnoredReads::default();
        for register in 0..65 {
            ignored.note_unanswered(&read(register), None, start);
            ignored.note_unanswered(&read(register), Some(after(start, 1)), after(start, 2));
        }
        assert_eq!(ignored.marks(), 64);
        assert_ne!(ignored.read_status(&read(0), after(start, 3)), ReadStatus::Ignored);
        assert_eq!(ignored.read_status(&read(1), after(start, 3)), ReadStatus::Ignored);
    }
}
