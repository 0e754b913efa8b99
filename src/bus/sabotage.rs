//! The guards a test may switch off, one at a time, to show that the simulation notices.
//!
//! Without the feature `sabotage`, which no build that leaves the house has, every guard is kept and nothing
//! of this is left in the program. The switch belongs to a thread, so that tests do not disturb each other.

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
