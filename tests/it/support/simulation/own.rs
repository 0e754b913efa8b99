//! The line's own reads and blocks: which ranges, how much line time, how many blocks.

use std::collections::{BTreeMap, BTreeSet};

use metergate::line::{LineSettings, UnitState, View};
use metergate::modbus::pdu::{FunctionCode, ReadRange};

use super::invariants::{Check, check};
use super::wire::{MILLI, Nanos};

#[derive(Debug)]
pub(crate) struct Own {
    planned: BTreeMap<u8, Vec<ReadRange>>,
    demanded: BTreeMap<u8, Vec<ReadRange>>,
    mirrored: BTreeSet<u8>,
    /// What clients asked for that take data of some age.
    aged: BTreeMap<u8, Vec<ReadRange>>,
    learn_limit: usize,
    /// Whether anything may have been learned: a reload keeps what was.
    may_learn: bool,
    share: f64,
    /// Line time that other shares allowed before `since`.
    earned: f64,
    since: Nanos,
    /// Line time of readings no client waited for, at least.
    spent: Nanos,
    /// Whether the request on the wire is one.
    on_the_wire: bool,
    /// When each unit was sent something the last two times, the older first.
    sent: BTreeMap<u8, [Nanos; 2]>,
    /// The unit that was just sent something sooner than a probe may be.
    hurried: Option<u8>,
}

impl Own {
    pub(crate) fn new(settings: &LineSettings) -> Self {
        let planned = settings.units.iter().map(|unit| {
            (unit.id.get(), unit.polling.blocks.iter().map(|block| block.range).collect::<Vec<_>>())
        });
        let demanded = settings.units.iter().map(|unit| {
            (unit.id.get(), unit.polling.demanded.iter().map(|block| block.range).collect::<Vec<_>>())
        });
        let mirrored = settings.units.iter().filter(|unit| unit.polling.mirrored);
        Self {
            planned: planned.collect(),
            demanded: demanded.collect(),
            mirrored: mirrored.map(|unit| unit.id.get()).collect(),
            aged: BTreeMap::new(),
            learn_limit: settings.learn_limit,
            may_learn: settings.learn_limit > 0,
            share: settings.poll_share,
            earned: 0.0,
            since: 0,
            spent: 0,
            on_the_wire: false,
            sent: BTreeMap::new(),
            hurried: None,
        }
    }

    /// The settings change. Units keep their blocks, so that only limits do.
    #[allow(clippy::cast_precision_loss, reason = "minutes in nanoseconds are far below 2^52")]
    pub(crate) fn reload(&mut self, settings: &LineSettings, now: Nanos) {
        self.earned += self.share * (now - self.since) as f64;
        // What the old share saved up is not taken away.
        self.earned += self.share * BURST as f64;
        self.since = now;
        self.share = settings.poll_share;
        self.learn_limit = settings.learn_limit;
        self.may_learn |= settings.learn_limit > 0;
        // The health of a unit that comes back begins anew.
        self.sent.retain(|id, _| settings.units.iter().any(|unit| unit.id.get() == *id));
    }

    /// A new process begins: with a budget that is full, and without a request on the wire.
    pub(crate) fn restart(&mut self, settings: &LineSettings, now: Nanos) {
        self.reload(settings, now);
        self.earned += LONGEST as f64;
        self.hurried = None;
        self.interrupted();
    }

    /// The table in which `function` of `unit` reads.
    pub(crate) fn table(&self, unit: u8, function: FunctionCode) -> FunctionCode {
        let same = self.mirrored.contains(&unit) && function == FunctionCode::READ_INPUT_REGISTERS;
        if same { FunctionCode::READ_HOLDING_REGISTERS } else { function }
    }

    /// The range in the table that stands for all that repeat it.
    pub(crate) fn seen(&self, unit: u8, range: &ReadRange) -> ReadRange {
        ReadRange { function: self.table(unit, range.function), ..*range }
    }

    /// A client that takes data of some age asks.
    pub(crate) fn note_aged(&mut self, unit: u8, range: &ReadRange) {
        let range = self.seen(unit, range);
        let aged = self.aged.entry(unit).or_default();
        if !aged.contains(&range) {
            aged.push(range);
        }
    }

    /// Whether the range may be read without a waiting client: it holds a range that a client which accepts data of
    /// some age requested, alone or by joining a wider read.
    pub(crate) fn may_read(&self, unit: u8, range: &ReadRange) -> bool {
        let range = self.seen(unit, range);
        let learned =
            || self.aged.get(&unit).is_some_and(|aged| aged.iter().any(|asked| range.covers(asked)));
        self.is_planned(unit, &range) || self.may_learn && (learned() || self.is_demanded(unit, &range))
    }

    /// A request to `unit` goes out.
    pub(crate) fn transmit(&mut self, unit: u8, now: Nanos) {
        self.on_the_wire = false;
        // One probe of each kind, a client's and the gateway's own, may come within a pause.
        let before = self.sent.get(&unit).copied();
        self.sent.insert(unit, [before.map_or(now, |[_, last]| last), now]);
        self.hurried =
            before.is_some_and(|[before, last]| before < last && now < before + PROBE_PAUSE).then_some(unit);
    }

    /// What was just sent is a reading on the gateway's own account.
    pub(crate) fn spend(&mut self, took: Nanos) {
        self.on_the_wire = true;
        self.spent += took;
    }

    /// The line was lost or is occupied: a probe that was cut short is sent again at once.
    pub(crate) fn interrupted(&mut self) {
        self.sent.clear();
        self.on_the_wire = false;
    }

    /// An off-line unit is sent probes only. To be asked when what was sent has been published, too.
    pub(crate) fn only_probes(&mut self, view: &View) -> Check {
        // Before a write, a read shows whether the adapter echoes: no probe.
        if view.echo.is_none() {
            self.sent.clear();
            self.hurried = None;
        }
        let Some(hurried) = self.hurried.take() else { return Ok(()) };
        let state = view.units.iter().find(|unit| unit.id.get() == hurried).map(|unit| unit.state);
        check(state != Some(UnitState::Offline), || {
            format!("unit {hurried} is off-line, and is sent more than probes")
        })
    }

    /// The answer of the unit took so much line time.
    pub(crate) fn answered(&mut self, took: Nanos) {
        if self.on_the_wire {
            self.spent += took;
        }
    }

    /// Background reading keeps to its share, but for what was saved up and the last reading.
    #[allow(clippy::cast_precision_loss, reason = "minutes in nanoseconds are far below 2^52")]
    pub(crate) fn within_share(&self, now: Nanos) -> Check {
        let allowed = self.earned + self.share * (now - self.since + BURST) as f64 + LONGEST as f64;
        check(self.spent as f64 <= allowed, || {
            format!("{} ns of background reading by {now}, at a share of {}", self.spent, self.share)
        })
    }

    /// What is kept is planned, or was asked for and is bounded.
    pub(crate) fn kept(&self, view: &View) -> Check {
        for unit in &view.units {
            let id = unit.id.get();
            let blocks = unit.snapshot.blocks();
            let learned = blocks.iter().filter(|block| !self.is_planned(id, &block.range)).count();
            let most = if self.may_learn { ASKED_MAX } else { 0 };
            check(learned <= most, || format!("{learned} learned blocks of unit {id}"))?;
            let strange = blocks.iter().find(|block| !self.may_read(id, &block.range));
            check(strange.is_none(), || format!("unit {id}: no client or plan wants {strange:?}"))?;
            let same = |one: &ReadRange, other: &ReadRange| self.seen(id, one) == self.seen(id, other);
            let twice = blocks
                .iter()
                .find(|block| blocks.iter().filter(|other| same(&other.range, &block.range)).count() > 1);
            check(twice.is_none(), || format!("unit {id}: two blocks of one range: {twice:?}"))?;
        }
        check(view.polling.learned <= self.learn_limit, || "more learned than allowed".into())
    }

    /// Whether it is a part of a demanded block in which a client requested a range: a block the unit does not answer
    /// in full is read in parts, each of them, whichever the client requested.
    fn is_demanded(&self, unit: u8, range: &ReadRange) -> bool {
        let asked = |whole: &ReadRange| {
            self.aged.get(&unit).is_some_and(|aged| aged.iter().any(|asked| whole.covers(asked)))
        };
        let blocks = self.demanded.get(&unit).into_iter().flatten().map(|whole| self.seen(unit, whole));
        blocks.filter(|whole| whole.covers(range)).any(|whole| asked(&whole))
    }

    fn is_planned(&self, unit: u8, range: &ReadRange) -> bool {
        self.planned.get(&unit).is_some_and(|planned| {
            planned.iter().any(|whole| self.seen(unit, whole).covers(&self.seen(unit, range)))
        })
    }
}

/// Shortest pause between two probes.
const PROBE_PAUSE: Nanos = 1000 * MILLI;

/// Ranges asked for that are kept of a unit.
const ASKED_MAX: usize = 4096;

/// What may be saved up, in time.
const BURST: Nanos = 1000 * MILLI;

/// Line time of the longest reading here, at 9600 baud.
const LONGEST: Nanos = 350 * MILLI;
