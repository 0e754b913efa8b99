//! A profile between its text and a [`Profile`](super::profile::Profile): blocks and points as far as they could be
//! read.
//!
//! `read` fills it in, `checks` compares. Decides nothing.

use std::ops::RangeInclusive;

use super::profile::{Block, Point};
use crate::document::List;
use crate::modbus::pdu::FunctionCode;

/// A block as read; `None`: a reported error.
pub(super) struct BlockRead {
    pub(super) path: String,
    pub(super) name: Option<String>,
    /// Its registers, as printed.
    pub(super) registers: Option<RangeInclusive<u32>>,
    /// The part of them that every meter has.
    pub(super) core: Option<RangeInclusive<u32>>,
    /// The tables that have them; empty: a reported error.
    pub(super) functions: Vec<FunctionCode>,
    pub(super) points: Vec<PointRead>,
    pub(super) block: Option<Block>,
}

/// A point as read; `None`: a reported error.
pub(super) struct PointRead {
    pub(super) path: String,
    pub(super) name: Option<String>,
    /// Its registers, as printed, first and last; the last may exceed the largest register number.
    pub(super) registers: Option<RangeInclusive<u32>>,
    pub(super) point: Option<Point>,
    /// The points its scale refers to, each with the path of the reference.
    pub(super) scaled_by: Vec<(String, String)>,
}

/// The items of an optional list.
pub(super) fn of<T, const MIN: usize, const MAX: usize>(list: &Option<List<T, MIN, MAX>>) -> &[T] {
    list.as_ref().map(|list| list.0.as_slice()).unwrap_or_default()
}

/// `7`, or `7-9`.
pub(super) fn show(registers: &RangeInclusive<u32>) -> String {
    let (first, last) = (registers.start(), registers.end());
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}
