//! The last known values of a unit: whole blocks, each read in one transaction, with the instant of its request.
//!
//! A reply is cut from one block or not at all: two reads are never stitched together, no value is made up, and values
//! read before a write are dropped with it. Age counts from when the block's request began to be sent, which is the
//! earliest instant the data can be from.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::now::Now;
use super::request::ListenerId;
use super::tables::Tables;
use crate::modbus::pdu::ReadRange;

/// The data of one transaction.
#[derive(Debug)]
pub struct Block {
    /// The range that was read.
    pub range: ReadRange,
    /// The unit's reply PDU, as it came.
    pub reply: Bytes,
    /// When the request began to be sent: the data is no older.
    pub begun: Now,
    /// When the same request was last sent, where its answer may be to an earlier sending: the data is no younger.
    pub latest: Instant,
    /// Ascending over the blocks of a bus.
    pub generation: u64,
    /// The smallest `max_age` of the clients served from it, in milliseconds. Readers note it without a lock; it shows
    /// whether the block is worth refreshing.
    wanted_age: AtomicU64,
    /// How old it was when a client was last served from it, in milliseconds, approximately.
    wanted_at: AtomicU64,
    /// The listeners whose clients were served from it, one bit each.
    served: AtomicU64,
    /// The listeners whose clients were served younger data of one of its registers that is no longer kept.
    forbidden: AtomicU64,
}

impl Block {
    /// A block from which no client has been served yet.
    #[must_use]
    pub fn new(range: ReadRange, reply: Bytes, begun: impl Into<Now>, generation: u64) -> Self {
        let (wanted_age, wanted_at) = (AtomicU64::new(NOT_WANTED), AtomicU64::new(0));
        let begun = begun.into();
        let latest = begun.instant;
        Self {
            range,
            reply,
            begun,
            latest,
            generation,
            wanted_age,
            wanted_at,
            served: AtomicU64::new(0),
            forbidden: AtomicU64::new(0),
        }
    }

    /// The same block, whose data may be as young as `latest`.
    #[must_use]
    pub fn no_younger_than(self, latest: Instant) -> Self {
        Self { latest: latest.max(self.begun.instant), ..self }
    }

    /// Records that a client of this listener is served from it. Beyond 64 listeners, several share a bit.
    pub fn note_served(&self, listener: ListenerId) {
        set(&self.served, bit_of(listener));
    }

    fn was_served(&self, listener: ListenerId) -> bool {
        self.served.load(Ordering::Acquire) & bit_of(listener) != 0
    }

    fn is_forbidden_to(&self, listener: ListenerId) -> bool {
        self.forbidden.load(Ordering::Acquire) & bit_of(listener) != 0
    }

    /// Records that a client that accepts data as old as `max_age` was served from it, `now`.
    pub fn note_wanted(&self, max_age: Duration, now: Now) {
        // It is nearly always recorded already, and a load does not take the cache line from other threads.
        let millis = millis(max_age);
        if millis < self.wanted_age.load(Ordering::Relaxed) {
            self.wanted_age.fetch_min(millis, Ordering::Relaxed);
        }
        let age = self::millis(now.instant.saturating_duration_since(self.begun.instant));
        if age >= self.wanted_at.load(Ordering::Relaxed).saturating_add(WANTED_STEP) {
            self.wanted_at.fetch_max(age, Ordering::Relaxed);
        }
    }

    /// When it was last served, approximately; `None`: never.
    #[must_use]
    pub fn wanted_at(&self) -> Option<Instant> {
        self.wanted_age()?;
        Some(self.begun.instant + Duration::from_millis(self.wanted_at.load(Ordering::Relaxed)))
    }

    /// The smallest `max_age` it was served to; `None`: never served.
    #[must_use]
    pub fn wanted_age(&self) -> Option<Duration> {
        let millis = self.wanted_age.load(Ordering::Relaxed);
        (millis != NOT_WANTED).then(|| Duration::from_millis(millis))
    }

    /// Its age, suspends included.
    #[must_use]
    pub fn age(&self, now: impl Into<Now>) -> Duration {
        now.into().since(self.begun)
    }
}

/// The known values of one unit. Immutable: a change makes a new one, which shares the blocks that stay.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    blocks: Vec<Arc<Block>>,
    tables: Tables,
    /// The ranges of exponents and ratios.
    scales: Arc<[ReadRange]>,
    /// Replaced blocks with exponents or ratios that numbers in [`blocks`](Self::blocks) are scaled by: the last read of
    /// them before such a block, and the first after it. They are for [`reads`](Self::reads) alone.
    earlier_scales: Vec<Arc<Block>>,
    /// Blocks the last change removed: a client may still be served from them by an earlier copy of the snapshot.
    replaced: Vec<Arc<Block>>,
}

impl Snapshot {
    /// An empty snapshot of a unit with these tables, whose numbers are scaled by what is in the ranges `scales`.
    #[must_use]
    pub fn new(tables: Tables, scales: Arc<[ReadRange]>) -> Self {
        Self { tables, scales, ..Self::default() }
    }

    /// The reply PDU to `wanted`, cut from the youngest block that covers it, if that is no older than `max_age`.
    /// `None` for a `max_age` of zero, and if a register would go back in time on this listener.
    #[must_use]
    pub fn answer(
        &self,
        wanted: &ReadRange,
        max_age: Duration,
        listener: ListenerId,
        now: impl Into<Now>,
    ) -> Option<Bytes> {
        let now = now.into();
        if max_age.is_zero() {
            return None;
        }
        let covering = self.blocks.iter().filter(|block| self.tables.part(&block.range, wanted).is_some());
        let block = covering.max_by_key(|block| (block.begun.instant, block.generation))?;
        if block.age(now) > max_age || self.would_go_back(block, wanted, listener) {
            return None;
        }
        let cut = self.tables.cut(&block.range, &block.reply, wanted)?;
        block.note_served(listener);
        block.note_wanted(max_age, now);
        Some(cut)
    }

    /// Whether `wanted` cut from `block` would be older than data already served on this listener of one of its
    /// registers.
    fn would_go_back(&self, block: &Block, wanted: &ReadRange, listener: ListenerId) -> bool {
        let mut others = self.younger(wanted, block.begun.instant);
        block.is_forbidden_to(listener)
            || others.any(|other| other.generation != block.generation && other.was_served(listener))
    }

    /// Clients of this listener are served data of `range` that may be as young as `latest` and is not kept: older data
    /// of its registers is no longer served there.
    pub fn forbid_older(&self, range: &ReadRange, latest: Instant, listener: ListenerId) {
        self.forbid(range, latest, bit_of(listener));
    }

    fn forbid(&self, range: &ReadRange, latest: Instant, listeners: u64) {
        for block in self.blocks.iter().filter(|_| listeners != 0) {
            if block.begun.instant < latest && self.tables.overlap(&block.range, range) {
                set(&block.forbidden, listeners);
            }
        }
    }

    /// The blocks that hold registers of `wanted` and may be younger than `begun`.
    pub fn younger(&self, wanted: &ReadRange, begun: Instant) -> impl Iterator<Item = &Block> {
        let (tables, wanted) = (self.tables, *wanted);
        let blocks = self.blocks.iter().map(Arc::as_ref);
        blocks.filter(move |other| other.latest > begun && tables.overlap(&other.range, &wanted))
    }

    /// The newest data of `wanted` whatever its age, and when its request began to be sent; not for replies to clients.
    #[must_use]
    pub fn peek(&self, wanted: &ReadRange) -> Option<(Bytes, Instant)> {
        let covering = self.blocks.iter().filter(|block| self.tables.part(&block.range, wanted).is_some());
        let block = covering.max_by_key(|block| (block.begun.instant, block.generation))?;
        Some((self.tables.cut(&block.range, &block.reply, wanted)?, block.begun.instant))
    }

    /// Every block.
    #[must_use]
    pub fn blocks(&self) -> &[Arc<Block>] {
        &self.blocks
    }

    /// What is to be decoded: every block, and earlier reads of what their numbers are scaled by. Of each the range, the
    /// reply PDU, and when its request began to be sent.
    pub fn reads(&self) -> impl Iterator<Item = (ReadRange, &[u8], Instant)> {
        let reads = self.blocks.iter().chain(&self.earlier_scales);
        reads.map(|block| (block.range, &*block.reply, block.begun.instant))
    }

    /// The block of exactly this range.
    #[must_use]
    pub fn block(&self, range: &ReadRange) -> Option<&Arc<Block>> {
        self.blocks.iter().find(|block| block.range == *range)
    }

    /// This snapshot with `block` in place of earlier ones of the same range and of parts of it.
    #[must_use]
    pub fn with(&self, block: Block) -> Self {
        // A late answer may bring older data than has been read since.
        if self.block(&block.range).is_some_and(|other| other.latest > block.latest) {
            return self.clone();
        }
        let is_replaced = |other: &Block| {
            let is_part = self.tables.part(&block.range, &other.range).is_some();
            other.range == block.range || is_part && other.latest <= block.begun.instant
        };
        let mut next = self.remove(is_replaced);
        next.blocks.push(Arc::new(block));
        let has_scale =
            |other: &&Arc<Block>| next.scales.iter().any(|scale| next.tables.overlap(&other.range, scale));
        let replaced: Vec<_> = next.replaced.iter().filter(has_scale).cloned().collect();
        next.earlier_scales.extend(replaced);
        next.drop_unused_scales();
        next
    }

    /// This snapshot without the blocks for which `gone` holds. A removed block also kept older blocks from the clients
    /// served from it: the older blocks are marked instead.
    #[must_use]
    pub fn without(&self, gone: impl Fn(&Block) -> bool) -> Self {
        let mut next = self.remove(gone);
        next.drop_unused_scales();
        next
    }

    /// This snapshot without the blocks that hold what other values are scaled by.
    #[must_use]
    pub fn without_scales(&self) -> Self {
        self.without(|block| self.scales.iter().any(|scale| self.tables.overlap(&block.range, scale)))
    }

    fn remove(&self, gone: impl Fn(&Block) -> bool) -> Self {
        let (replaced, blocks): (Vec<_>, Vec<_>) = self.blocks.iter().cloned().partition(|block| gone(block));
        let next = Self { blocks, replaced, ..self.clone() };
        for lost in self.replaced.iter().chain(&next.replaced) {
            next.forbid(&lost.range, lost.latest, lost.served.load(Ordering::Acquire));
        }
        next
    }

    /// Drops the earlier reads that are no longer the last before a block, nor the first after it, and those whose range
    /// is no longer kept.
    fn drop_unused_scales(&mut self) {
        let earlier = std::mem::take(&mut self.earlier_scales);
        let is_used = |scale: &&Arc<Block>| {
            let at = scale.begun.instant;
            let holds_it = |other: &&Arc<Block>| self.tables.part(&other.range, &scale.range).is_some();
            let is_kept = self.blocks.iter().filter(holds_it).any(|other| other.begun.instant > at);
            let reads = || self.blocks.iter().chain(&earlier).filter(holds_it);
            let others = || reads().map(|other| other.begun.instant).filter(|other| *other != at);
            let before = others().filter(|other| *other < at).max();
            let after = others().filter(|other| *other > at).min();
            let is_nearest = |block: &Arc<Block>| {
                let own = block.begun.instant;
                before.is_none_or(|before| before <= own) && after.is_none_or(|after| own < after)
            };
            is_kept && self.blocks.iter().any(is_nearest)
        };
        let mut used: Vec<_> = earlier.iter().filter(is_used).cloned().collect();
        used.drain(..used.len().saturating_sub(EARLIER_SCALES_MAX));
        self.earlier_scales = used;
    }
}

fn bit_of(listener: ListenerId) -> u64 {
    1 << (listener.0 % 64)
}

/// Sets bits that are nearly always set already; a load does not take the cache line from other threads.
fn set(bits: &AtomicU64, more: u64) {
    if bits.load(Ordering::Acquire) & more != more {
        bits.fetch_or(more, Ordering::AcqRel);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(NOT_WANTED - 1)
}

/// Earlier reads of exponents and ratios that are kept for one unit, the youngest.
const EARLIER_SCALES_MAX: usize = 32;

/// Resolution of the time a block was last served, in milliseconds: hundreds of readers must not contend to write it.
const WANTED_STEP: u64 = 100;

/// No client has been served from the block.
const NOT_WANTED: u64 = u64::MAX;
