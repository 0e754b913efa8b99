//! The probes of an off-line unit: which reads, and when. How long a probe waits: `Unit::probe_timeout`; the longest
//! pause between probes: `Line::probe_pause_max`.
//!
//! Two kinds of probes, each with its own pause that doubles. The gateway's own repeat what the unit answered last and,
//! in turn, reads that most meters answer. Clients' probes are the next request of a client once a probe is due: that
//! finds a unit which answers only such requests.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::endpoint::ClientAddress;
use crate::modbus::pdu::{FunctionCode, ReadRange, RequestPdu};

/// The probing of one unit that is off-line.
#[derive(Debug)]
pub(super) struct Search {
    own: Schedule,
    client: Schedule,
    /// Whether a client's probe is queued or on the wire.
    client_asks: bool,
    /// Own probes so far, and candidates used.
    probes: u32,
    candidate: usize,
    /// The last reads of clients that were refused, newest last.
    refused: VecDeque<RequestPdu>,
    /// Clients that were refused recently: address, when last refused, when it last probed.
    clients: VecDeque<(ClientAddress, Instant, Option<Instant>)>,
}

#[derive(Debug)]
struct Schedule {
    last: Instant,
    pause: Duration,
}

impl Schedule {
    fn new(now: Instant) -> Self {
        Self { last: now, pause: PAUSE_MIN }
    }

    fn due(&self, pace: ProbePace) -> Instant {
        self.last
            + match pace {
                ProbePace::BackOff => self.pause,
                ProbePace::Shortest => PAUSE_MIN,
            }
    }

    fn fail(&mut self, now: Instant, pause_max: Duration) {
        self.last = now;
        self.pause = (self.pause * 2).min(pause_max).max(PAUSE_MIN);
    }
}

impl Search {
    /// The unit was marked off-line.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            own: Schedule::new(now),
            client: Schedule::new(now),
            client_asks: false,
            probes: 0,
            candidate: 0,
            refused: VecDeque::new(),
            clients: VecDeque::new(),
        }
    }

    /// When the gateway's next probe is due.
    pub(super) fn own_due(&self, pace: ProbePace) -> Instant {
        self.own.due(pace)
    }

    /// The next own probe: every second one is the read that was answered last, between them `usual` reads and those
    /// refused to clients, in turn.
    pub(super) fn own_probe(&mut self, last_read: Option<&RequestPdu>, usual: &[RequestPdu]) -> RequestPdu {
        self.probes += 1;
        if let Some(last) = last_read.filter(|_| self.probes % 2 == 1) {
            return last.clone();
        }
        let candidates: Vec<&RequestPdu> = usual.iter().chain(&self.refused).collect();
        let probe = candidates.get(self.candidate % candidates.len().max(1)).copied();
        self.candidate += 1;
        probe.or(last_read).cloned().unwrap_or_else(first_register)
    }

    /// An own probe got no answer.
    pub(super) fn note_own_failure(&mut self, now: Instant, pause_max: Duration) {
        self.own.fail(now, pause_max);
    }

    /// The unit is probed for the whole line: its own pause starts again.
    pub(super) fn postpone_own(&mut self, now: Instant) {
        self.own.last = now;
    }

    /// Whether this client's request, of whatever kind, is sent as the next client's probe. Client addresses take
    /// turns, as long as the others continue to send requests.
    pub(super) fn admits_client(
        &mut self,
        address: &ClientAddress,
        request: &RequestPdu,
        pace: ProbePace,
        now: Instant,
    ) -> bool {
        let due = self.client.due(pace);
        if self.client_asks || now < due || !self.is_turn_of(address, due, now) {
            self.note_refused(address, request, now);
            return false;
        }
        self.client_asks = true;
        self.clients.retain(|(other, ..)| other != address);
        self.clients.push_back((address.clone(), now, Some(now)));
        while self.clients.len() > CLIENTS_MAX {
            self.clients.pop_front();
        }
        true
    }

    /// A client's probe ended without an answer, or was dropped unsent.
    pub(super) fn note_client_failure(&mut self, is_sent: ProbeEnd, now: Instant, pause_max: Duration) {
        self.client_asks = false;
        match is_sent {
            ProbeEnd::Unanswered => self.client.fail(now, pause_max),
            ProbeEnd::NotSent => {}
        }
    }

    fn is_turn_of(&self, address: &ClientAddress, due: Instant, now: Instant) -> bool {
        let probed = |wanted: &ClientAddress| {
            self.clients.iter().find(|(other, ..)| other == wanted).and_then(|(.., probed)| *probed)
        };
        let mine = probed(address);
        let waited_enough = now >= due + PAUSE_MIN;
        let recent = now.checked_sub(self.client.pause * 2);
        let others = self
            .clients
            .iter()
            .filter(|(other, asked, _)| other != address && recent.is_none_or(|recent| *asked >= recent));
        waited_enough || others.map(|(.., probed)| *probed).all(|theirs| mine <= theirs)
    }

    /// A client's request was refused.
    pub(super) fn note_refused(&mut self, address: &ClientAddress, request: &RequestPdu, now: Instant) {
        // The gateway itself sends only reads by function 01 to 04.
        if request.range().is_some() && !self.refused.contains(request) {
            self.refused.push_back(request.clone());
            if self.refused.len() > REFUSED_MAX {
                self.refused.pop_front();
            }
        }
        match self.clients.iter_mut().find(|(other, ..)| other == address) {
            Some((_, asked, _)) => *asked = now,
            None => {
                self.clients.push_back((address.clone(), now, None));
                if self.clients.len() > CLIENTS_MAX {
                    self.clients.pop_front();
                }
            }
        }
    }
}

/// The pause between two probes of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProbePace {
    /// Doubled after each failed probe: other units need the line.
    BackOff,
    /// [`PAUSE_MIN`]: no unit of the line is on-line.
    Shortest,
}

/// How a client's probe ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProbeEnd {
    /// It was sent.
    Unanswered,
    /// It was never sent.
    NotSent,
}

/// The shortest read: one holding register, address 0.
pub(crate) fn first_register() -> RequestPdu {
    ReadRange { function: FunctionCode::READ_HOLDING_REGISTERS, start: 0, quantity: 1 }.into()
}

/// The same of input registers.
pub(super) fn first_input_register() -> RequestPdu {
    ReadRange { function: FunctionCode::READ_INPUT_REGISTERS, start: 0, quantity: 1 }.into()
}

/// Shortest pause between two probes of one kind.
pub(super) const PAUSE_MIN: Duration = Duration::from_secs(1);

/// Refused reads that are used as probes.
const REFUSED_MAX: usize = 4;

/// Client addresses whose turns are remembered.
const CLIENTS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::line::now::some_instant;

    const MAX: Duration = Duration::from_secs(60);

    fn input(start: u8) -> RequestPdu {
        RequestPdu::decode(Bytes::copy_from_slice(&[4, 0, start, 0, 2])).expect("a good request")
    }

    fn address(last: u8) -> ClientAddress {
        ClientAddress::Ip([10, 0, 0, last].into())
    }

    #[test]
    fn every_second_probe_is_the_read_answered_last_and_the_others_take_turns() {
        let now = some_instant();
        let mut search = Search::new(now);
        assert!(!search.admits_client(&address(1), &input(9), ProbePace::BackOff, now), "not due yet");
        let usual = [first_register(), first_input_register()];
        let last = input(1);
        let probes: Vec<_> = (0..8).map(|_| search.own_probe(Some(&last), &usual)).collect();
        let [first, second] = usual;
        assert_eq!(
            probes,
            [&last, &first, &last, &second, &last, &input(9), &last, &first].map(Clone::clone)
        );
    }

    #[test]
    fn a_unit_never_heard_is_asked_the_usual_reads_in_turn() {
        let mut search = Search::new(some_instant());
        let usual = [first_register(), first_input_register()];
        let probes: Vec<_> = (0..4).map(|_| search.own_probe(None, &usual)).collect();
        let [first, second] = usual;
        assert_eq!(probes, [first.clone(), second.clone(), first, second]);
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_are_short_while_no_unit_is_online() {
        let mut now = some_instant();
        let mut search = Search::new(now);
        for pause in [1, 2, 4, 8, 8] {
            assert_eq!(search.own_due(ProbePace::BackOff), now + Duration::from_secs(pause));
            now += Duration::from_secs(pause);
            search.note_own_failure(now, Duration::from_secs(8));
        }
        assert_eq!(search.own_due(ProbePace::Shortest), now + PAUSE_MIN);
    }

    #[test]
    fn the_next_request_of_a_client_is_its_probe_and_addresses_take_turns() {
        let start = some_instant();
        let at = |millis| start + Duration::from_millis(millis);
        let mut search = Search::new(start);
        assert!(!search.admits_client(&address(1), &input(1), ProbePace::BackOff, at(999)));
        assert!(search.admits_client(&address(1), &input(1), ProbePace::BackOff, at(1000)));
        assert!(!search.admits_client(&address(2), &input(2), ProbePace::BackOff, at(1001)), "one at a time");
        search.note_client_failure(ProbeEnd::Unanswered, at(1500), MAX);
        assert!(
            !search.admits_client(&address(1), &input(1), ProbePace::BackOff, at(3500)),
            "the other one's turn"
        );
        assert!(search.admits_client(&address(2), &input(2), ProbePace::BackOff, at(3501)));
        search.note_client_failure(ProbeEnd::NotSent, at(3600), MAX);
        assert!(
            search.admits_client(&address(1), &input(1), ProbePace::BackOff, at(3700)),
            "it was not sent"
        );
    }

    #[test]
    fn clients_that_come_and_go_are_remembered_up_to_a_number() {
        let mut now = some_instant();
        let mut search = Search::new(now);
        for client in 0..100 {
            now += PAUSE_MIN;
            assert!(search.admits_client(&address(client), &input(1), ProbePace::BackOff, now));
            search.note_client_failure(ProbeEnd::NotSent, now, MAX);
            assert!(search.clients.len() <= CLIENTS_MAX);
        }
    }

    #[test]
    fn an_address_does_not_wait_for_ever_for_one_that_left() {
        let start = some_instant();
        let mut search = Search::new(start);
        assert!(search.admits_client(&address(1), &input(1), ProbePace::BackOff, start + PAUSE_MIN));
        assert!(!search.admits_client(&address(2), &input(2), ProbePace::BackOff, start + PAUSE_MIN));
        search.note_client_failure(ProbeEnd::Unanswered, start + 2 * PAUSE_MIN, MAX);
        assert!(!search.admits_client(&address(1), &input(1), ProbePace::BackOff, start + 4 * PAUSE_MIN));
        assert!(search.admits_client(&address(1), &input(1), ProbePace::BackOff, start + 5 * PAUSE_MIN));
    }
}
