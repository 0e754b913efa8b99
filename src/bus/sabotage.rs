//! The guards a test may switch off, one at a time, to show that the simulation notices.
//!
//! Without the feature `sabotage`, which no build that leaves the house has, every guard is kept and nothing
//! of this is left in the program. The switch belongs to a thread, so that tests do not disturb each other.

use std::time::Instant;
#[cfg(feature = "sabotage")]
use std::{sync::Arc, time::Duration};

#[cfg(feature = "sabotage")]
use bytes::Bytes;

#[cfg(feature = "sabotage")]
use super::snapshot::Block;
#[cfg(feature = "sabotage")]
use crate::modbus::pdu::{FunctionCode, ReadRange};

/// A rule of the line that keeps a promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// A unit that owes an answer is sent nothing.
    LateGuard,
    /// An answer carries the identifier of the unit asked.
    UnitCheck,
    /// An answer has the length and the counts its request asks for.
    LengthCheck,
    /// An answer has a right CRC.
    CrcCheck,
    /// The line is silent before a request.
    Silence,
    /// No read joins one that was asked before a write.
    JoinAcrossWrite,
    /// No write is sent twice.
    WriteOnce,
    /// Nothing is sent whose answer could be an echo before it is known whether there are echoes.
    EchoCheck,
    /// What was read in one transaction is kept as one.
    WholeBlocks,
    /// A reply is cut from one block.
    OneBlock,
    /// A write drops what was known before it.
    WriteDrops,
    /// What was read before a write is not kept after it.
    Epoch,
    /// Age counts from when the request began to be sent.
    AgeFromTheStart,
}

#[cfg(feature = "sabotage")]
thread_local! {
    static OFF: std::cell::Cell<Option<Guard>> = const { std::cell::Cell::new(None) };
}

/// Switches one guard off for this thread, and any other one on.
#[cfg(feature = "sabotage")]
pub fn switch_off(guard: Option<Guard>) {
    OFF.set(guard);
}

/// From when on the age of data counts that were asked for at `sent` and came `now`.
pub(super) fn begun(sent: Instant, now: Instant) -> Instant {
    if keeps(Guard::AgeFromTheStart) { sent } else { now }
}

/// The blocks as storage by registers would have them: each register of `block` also replaces that of others.
#[cfg(feature = "sabotage")]
pub(super) fn spread(block: &Block, others: &mut [Arc<Block>]) {
    for other in others.iter_mut().filter(|_| !keeps(Guard::WholeBlocks)) {
        let mut reply = other.reply.to_vec();
        for (address, word) in (other.range.start..).zip(reply[2..].chunks_exact_mut(2)) {
            if let Some(newer) = register(block, other.range.function, address) {
                word.copy_from_slice(newer);
            }
        }
        *other = Arc::new(Block::new(other.range, reply.into(), other.begun, other.generation));
    }
}

/// A reply stitched from several blocks that are no older than `max_age`.
#[cfg(feature = "sabotage")]
pub(super) fn stitched(
    blocks: &[Arc<Block>],
    wanted: &ReadRange,
    max_age: Duration,
    now: Instant,
) -> Option<Bytes> {
    if keeps(Guard::OneBlock) || max_age.is_zero() || wanted.function.0 < 3 {
        return None;
    }
    let mut reply = vec![wanted.function.0, u8::try_from(wanted.byte_count()).ok()?];
    for address in (wanted.start..).take(usize::from(wanted.quantity)) {
        let young = || blocks.iter().filter(|block| block.age(now) <= max_age);
        reply.extend(young().find_map(|block| register(block, wanted.function, address))?);
    }
    Some(reply.into())
}

/// The two bytes of a register, if the block holds it.
#[cfg(feature = "sabotage")]
fn register(block: &Block, function: FunctionCode, address: u16) -> Option<&[u8]> {
    let index = usize::from(address.checked_sub(block.range.start)?);
    let same = block.range.function == function && function.0 >= 3;
    same.then(|| block.reply[2..].chunks_exact(2).nth(index))?
}

/// Whether the guard is kept.
#[cfg(feature = "sabotage")]
pub(super) fn keeps(guard: Guard) -> bool {
    OFF.get() != Some(guard)
}

/// Whether the guard is kept: always.
#[cfg(not(feature = "sabotage"))]
pub(super) const fn keeps(_: Guard) -> bool {
    true
}
