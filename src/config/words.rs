//! The words of the file for each closed set of values.
//!
//! One function per set, used to read and to write, so that both always agree. Decides nothing else.
//! Contract section 1.

use super::settings::LogLevel;
use crate::bus::settings::{Echo, Parity, Replies};
use crate::io::settings::{Broadcast, Direction, Writes};

/// `parity`.
pub(super) fn parity(value: Parity) -> &'static str {
    match value {
        Parity::None => "none",
        Parity::Even => "even",
        Parity::Odd => "odd",
    }
}

/// `echo`.
pub(super) fn echo(value: Echo) -> &'static str {
    match value {
        Echo::Auto => "auto",
        Echo::On => "on",
        Echo::Off => "off",
    }
}

/// `direction`.
pub(super) fn direction(value: Direction) -> &'static str {
    match value {
        Direction::Auto => "auto",
        Direction::Rs485 => "rs485",
        Direction::None => "none",
    }
}

/// `writes`.
pub(super) fn writes(value: Writes) -> &'static str {
    match value {
        Writes::Deny => "deny",
        Writes::Allow => "allow",
    }
}

/// `broadcast`.
pub(super) fn broadcast(value: Broadcast) -> &'static str {
    match value {
        Broadcast::Refuse => "refuse",
        Broadcast::Silent => "silent",
        Broadcast::Acknowledge => "acknowledge",
    }
}

/// `replies`.
pub(super) fn replies(value: Replies) -> &'static str {
    match value {
        Replies::Strict => "strict",
        Replies::Loose => "loose",
    }
}

/// `log_level`.
pub(super) fn log_level(value: LogLevel) -> &'static str {
    match value {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    }
}

/// Every parity.
pub(super) const PARITIES: &[Parity] = &[Parity::None, Parity::Even, Parity::Odd];
/// Every way an adapter may echo.
pub(super) const ECHOES: &[Echo] = &[Echo::Auto, Echo::On, Echo::Off];
/// Every way to switch the driver.
pub(super) const DIRECTIONS: &[Direction] = &[Direction::Auto, Direction::Rs485, Direction::None];
/// Every choice of replies.
pub(super) const REPLIES: &[Replies] = &[Replies::Strict, Replies::Loose];
/// Every permission to write.
pub(super) const WRITES: &[Writes] = &[Writes::Deny, Writes::Allow];
/// Every way with a broadcast.
pub(super) const BROADCASTS: &[Broadcast] = &[Broadcast::Refuse, Broadcast::Silent, Broadcast::Acknowledge];
/// Every level of the log.
pub(super) const LOG_LEVELS: &[LogLevel] =
    &[LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug, LogLevel::Trace];
