//! The last known values of a unit: whole blocks, each read in one transaction, with the instant it was asked
//! for.
//!
//! A reply is cut from one block or not given at all: two reads are never stitched, nothing is made up, and
//! what a unit held before a write is gone with it. Age counts from when the block's request began to be
//! sent, which is the earliest instant the data can be from.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::tables::Tables;
use crate::modbus::pdu::ReadRange;

/// What one transaction read.
#[derive(Debug)]
pub struct Block {
    /// What was asked for.
    pub range: ReadRange,
    /// The unit's reply PDU, as it came.
    pub reply: Bytes,
    /// When the request began to be sent.
    pub begun: Instant,
    /// Ascending over the blocks of a bus.
    pub generation: u64,
    /// The smallest `max_age` of those it answered, in milliseconds; readers note it without a lock, and it
    /// tells whether the block is worth keeping fresh.
    wanted_age: AtomicU64,
    /// How old it was when it last answered somebody, in milliseconds and about.
    wanted_at: AtomicU64,
}

impl Block {
    /// A block that has answered nobody yet.
    #[must_use]
    pub fn new(range: ReadRange, reply: Bytes, begun: Instant, generation: u64) -> Self {
        let (wanted_age, wanted_at) = (AtomicU64::new(NOT_WANTED), AtomicU64::new(0));
        Self { range, reply, begun, generation, wanted_age, wanted_at }
    }

    /// Notes that somebody who takes data as old as `max_age` was answered from it, `now`.
    pub fn note_wanted(&self, max_age: Duration, now: Instant) {
        // Nearly always somebody has said so already, and a look does not take the value from other threads.
        let millis = millis(max_age);
        if millis < self.wanted_age.load(Ordering::Relaxed) {
            self.wanted_age.fetch_min(millis, Ordering::Relaxed);
        }
        let age = self::millis(self.age(now));
        if age >= self.wanted_at.load(Ordering::Relaxed).saturating_add(WANTED_STEP) {
            self.wanted_at.fetch_max(age, Ordering::Relaxed);
        }
    }

    /// About when it last answered somebody; `None` if it answered nobody.
    #[must_use]
    pub fn wanted_at(&self) -> Option<Instant> {
        self.wanted_age()?;
        Some(self.begun + Duration::from_millis(self.wanted_at.load(Ordering::Relaxed)))
    }

    /// The smallest `max_age` of those it answered; `None` if it answered nobody.
    #[must_use]
    pub fn wanted_age(&self) -> Option<Duration> {
        let millis = self.wanted_age.load(Ordering::Relaxed);
        (millis != NOT_WANTED).then(|| Duration::from_millis(millis))
    }

    /// How old it is.
    #[must_use]
    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.begun)
    }
}

/// What is known of one unit. Immutable: a change makes a new one, which shares the blocks that stay.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    blocks: Vec<Arc<Block>>,
    tables: Tables,
}

impl Snapshot {
    /// An empty one of a unit with these tables.
    #[must_use]
    pub fn new(tables: Tables) -> Self {
        Self { blocks: Vec::new(), tables }
    }

    /// The reply PDU to `wanted`, cut from the youngest block that covers it, if that is no older than
    /// `max_age`. A `max_age` of zero is never served.
    #[must_use]
    pub fn answer(&self, wanted: &ReadRange, max_age: Duration, now: Instant) -> Option<Bytes> {
        let fresh = |block: &&Arc<Block>| !max_age.is_zero() && block.age(now) <= max_age;
        let covers = |block: &&Arc<Block>| self.tables.part(&block.range, wanted).is_some();
        let covering = self.blocks.iter().filter(covers);
        let block = covering.filter(fresh).max_by_key(|block| (block.begun, block.generation));
        #[cfg(feature = "sabotage")]
        if block.is_none() {
            return super::sabotage::stitched(&self.blocks, wanted, max_age, now);
        }
        let block = block?;
        let cut = self.tables.cut(&block.range, &block.reply, wanted)?;
        block.note_wanted(max_age, now);
        Some(cut)
    }

    /// The same without regard to age, and when its request began to be sent; nobody is answered with it.
    #[must_use]
    pub fn peek(&self, wanted: &ReadRange) -> Option<(Bytes, Instant)> {
        let covering = self.blocks.iter().filter(|block| self.tables.part(&block.range, wanted).is_some());
        let block = covering.max_by_key(|block| (block.begun, block.generation))?;
        Some((self.tables.cut(&block.range, &block.reply, wanted)?, block.begun))
    }

    /// Every block.
    #[must_use]
    pub fn blocks(&self) -> &[Arc<Block>] {
        &self.blocks
    }

    /// The block of exactly this range.
    #[must_use]
    pub fn block(&self, range: &ReadRange) -> Option<&Arc<Block>> {
        self.blocks.iter().find(|block| block.range == *range)
    }

    /// This snapshot with `block` in the place of an earlier one of the same range.
    #[must_use]
    pub fn with(&self, block: Block) -> Self {
        let mut blocks: Vec<_> =
            self.blocks.iter().filter(|other| other.range != block.range).cloned().collect();
        #[cfg(feature = "sabotage")]
        super::sabotage::spread(&block, &mut blocks);
        blocks.push(Arc::new(block));
        Self { blocks, tables: self.tables }
    }

    /// This snapshot without the blocks for which `gone` holds.
    #[must_use]
    pub fn without(&self, gone: impl Fn(&Block) -> bool) -> Self {
        let blocks = self.blocks.iter().filter(|block| !gone(block)).cloned().collect();
        Self { blocks, tables: self.tables }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(NOT_WANTED - 1)
}

/// How exactly it is known when a block was last wanted, in milliseconds: hundreds of readers must not take turns
/// in writing that down.
const WANTED_STEP: u64 = 100;

/// No one has been answered from the block.
const NOT_WANTED: u64 = u64::MAX;
