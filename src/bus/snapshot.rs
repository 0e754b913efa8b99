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

use crate::modbus::pdu::{FunctionCode, ReadRange};

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
}

impl Block {
    /// A block that has answered nobody yet.
    #[must_use]
    pub fn new(range: ReadRange, reply: Bytes, begun: Instant, generation: u64) -> Self {
        Self { range, reply, begun, generation, wanted_age: AtomicU64::new(NOT_WANTED) }
    }

    /// Notes that somebody who takes data as old as `max_age` was answered from it.
    pub fn note_wanted(&self, max_age: Duration) {
        let millis = u64::try_from(max_age.as_millis()).unwrap_or(NOT_WANTED - 1);
        // Nearly always somebody has said so already, and a look does not take the value from other threads.
        if millis < self.wanted_age.load(Ordering::Relaxed) {
            self.wanted_age.fetch_min(millis, Ordering::Relaxed);
        }
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
    mirrored: bool,
}

impl Snapshot {
    /// An empty one. `mirrored`: the unit's profile says that input registers repeat holding registers, so
    /// either table serves both.
    #[must_use]
    pub fn new(mirrored: bool) -> Self {
        Self { blocks: Vec::new(), mirrored }
    }

    /// The reply PDU to `wanted`, cut from the youngest block that covers it, if that is no older than
    /// `max_age`. A `max_age` of zero is never served.
    #[must_use]
    pub fn answer(&self, wanted: &ReadRange, max_age: Duration, now: Instant) -> Option<Bytes> {
        let fresh = |block: &&Arc<Block>| !max_age.is_zero() && block.age(now) <= max_age;
        let covering = self.blocks.iter().filter_map(|block| Some((block, self.seen_as(block, wanted)?)));
        let block = covering
            .filter(|(block, _)| fresh(block))
            .max_by_key(|(block, _)| (block.begun, block.generation));
        #[cfg(feature = "sabotage")]
        if block.is_none() {
            return super::sabotage::stitched(&self.blocks, wanted, max_age, now);
        }
        let (block, part) = block?;
        let cut = block.range.cut(&block.reply, &part)?;
        block.note_wanted(max_age);
        Some(with_function(cut, wanted.function))
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
        Self { blocks, mirrored: self.mirrored }
    }

    /// This snapshot without the blocks for which `gone` holds.
    #[must_use]
    pub fn without(&self, gone: impl Fn(&Block) -> bool) -> Self {
        let blocks = self.blocks.iter().filter(|block| !gone(block)).cloned().collect();
        Self { blocks, mirrored: self.mirrored }
    }

    /// `wanted` in the table of `block`, if the block holds it there.
    fn seen_as(&self, block: &Block, wanted: &ReadRange) -> Option<ReadRange> {
        let same = self.mirrored && is_register(block.range.function) && is_register(wanted.function);
        let function = if same { block.range.function } else { wanted.function };
        let part = ReadRange { function, ..*wanted };
        block.range.covers(&part).then_some(part)
    }
}

fn is_register(function: FunctionCode) -> bool {
    function == FunctionCode::READ_HOLDING_REGISTERS || function == FunctionCode::READ_INPUT_REGISTERS
}

/// The reply with the function code the client asked with, where a mirrored table served it.
fn with_function(reply: Bytes, function: FunctionCode) -> Bytes {
    if reply[0] == function.0 {
        return reply;
    }
    let mut renamed = reply.to_vec();
    renamed[0] = function.0;
    Bytes::from(renamed)
}

/// No one has been answered from the block.
const NOT_WANTED: u64 = u64::MAX;
