//! Reading the points of a meter: which ranges, in which order, and what to do if one is refused.
//!
//! Owns the plan. A range is a block of the profile or a part of one, so a gap is never touched and no value is read in
//! two halves. Exponents are read right before and right after the counts they scale. It decodes nothing.

use std::time::{Duration, Instant};

use super::failure::Failure;
use super::modbus_client::{Answered, Client};
use crate::meter::{Point, Profile, Sample, Scale};
use crate::modbus::pdu::ReadRange;

/// What was read of a meter, and what failed.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// In the order of the requests.
    parts: Vec<(ReadRange, Answered)>,
    /// Ranges that failed, and why.
    pub missed: Vec<(ReadRange, Failure)>,
}

impl Survey {
    /// What was read, to be decoded.
    #[must_use]
    pub fn samples(&self) -> Vec<Sample<'_>> {
        let parts = self.parts.iter();
        parts.filter_map(|(range, part)| Sample::new(*range, &part.reply, part.asked_at)).collect()
    }

    /// The registers of a range, if one read holds them all.
    #[must_use]
    pub fn registers(&self, range: &ReadRange) -> Option<Vec<u16>> {
        let cut = self.parts.iter().rev().find_map(|(whole, part)| whole.cut(&part.reply, range))?;
        Some(cut[2..].chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect())
    }

    /// Time of all good answers, from the request to the reply.
    #[must_use]
    pub fn took(&self) -> Duration {
        self.parts.iter().map(|(_, part)| part.took).sum()
    }

    /// When the last answer came; `None`: there was none.
    #[must_use]
    pub fn ended_at(&self) -> Option<Instant> {
        self.parts.iter().map(|(_, part)| part.asked_at + part.took).max()
    }

    /// Whether anything was read at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Reads a range, or its halves if the unit refuses the whole.
    async fn read(&mut self, client: &mut Client, unit: u8, profile: &Profile, range: ReadRange) {
        let mut waiting = vec![range];
        let mut requests = 0;
        while let Some(range) = waiting.pop() {
            requests += 1;
            match client.read(unit, range).await {
                Ok(answered) => self.parts.push((range, answered)),
                Err(failure) => {
                    let mut smaller =
                        if failure.refuses_range() { smaller(profile, &range) } else { Vec::new() };
                    if requests + waiting.len() + smaller.len() > MOST_REQUESTS {
                        smaller.clear();
                    }
                    if smaller.is_empty() {
                        self.missed.push((range, failure));
                    }
                    // The last pushed is requested first.
                    waiting.extend(smaller.into_iter().rev());
                }
            }
        }
    }
}

/// Reads the blocks that hold `points`, and the exponents these need.
///
/// A unit that does not answer the first request is sent no more.
pub async fn survey(client: &mut Client, unit: u8, profile: &Profile, points: &[&Point]) -> Survey {
    let mut survey = Survey::default();
    for range in plan(profile, points) {
        survey.read(client, unit, profile, range).await;
        let refused_only = survey.missed.iter().all(|(_, failure)| failure.refuses_range());
        if survey.is_empty() && !refused_only {
            break;
        }
    }
    survey
}

/// The ranges to read, in order.
#[must_use]
pub fn plan(profile: &Profile, points: &[&Point]) -> Vec<ReadRange> {
    let chosen = |block: usize| points.iter().any(|point| point.block == block);
    let exponents = exponents_apart(profile, points);
    let scaled = |block: usize| exponents.iter().any(|(from, _)| *from == block);
    let holder = |block: usize| exponents.iter().any(|(_, exponent)| exponent.block == block);
    let whole = |blocks: &dyn Fn(usize) -> bool| {
        let blocks = profile.blocks.iter().enumerate().filter(|(index, _)| chosen(*index) && blocks(*index));
        blocks.map(|(_, block)| block.range).collect::<Vec<_>>()
    };
    let spans = spans(&exponents);
    let mut ranges = spans.iter().map(|(_, span)| *span).collect::<Vec<_>>();
    ranges.extend(whole(&scaled));
    // A whole block that is read anyway brings its exponents a second time.
    ranges.extend(whole(&|block| holder(block) && !scaled(block)));
    ranges.extend(spans.iter().filter(|(block, _)| !chosen(*block) || scaled(*block)).map(|(_, span)| *span));
    ranges.extend(whole(&|block| !holder(block) && !scaled(block)));
    ranges
}

/// The exponents and ratios of points in other blocks than theirs: the points' block and the exponent.
fn exponents_apart<'p>(profile: &'p Profile, points: &[&Point]) -> Vec<(usize, &'p Point)> {
    let scaled_by = |point: &&Point| {
        let (block, names) = (point.block, point.scale.iter().flat_map(Scale::points));
        names.filter_map(|name| Some((block, profile.point(name)?))).collect::<Vec<_>>()
    };
    points.iter().flat_map(scaled_by).filter(|(block, exponent)| exponent.block != *block).collect()
}

/// The shortest range of each block that holds its exponents.
fn spans(exponents: &[(usize, &Point)]) -> Vec<(usize, ReadRange)> {
    let mut spans: Vec<(usize, ReadRange)> = Vec::new();
    for (_, exponent) in exponents {
        let range = exponent.range;
        match spans.iter_mut().find(|(block, _)| *block == exponent.block) {
            Some((_, span)) => {
                let end = |range: &ReadRange| u32::from(range.start) + u32::from(range.quantity);
                let start = span.start.min(range.start);
                let quantity = end(span).max(end(&range)) - u32::from(start);
                // Both are in one block, and no block is longer than one read.
                let quantity = u16::try_from(quantity).unwrap_or(span.quantity);
                *span = ReadRange { start, quantity, ..range };
            }
            None => spans.push((exponent.block, range)),
        }
    }
    spans
}

/// The ranges to read instead of a refused one: the better documented part and the rest, else two halves. Empty if it
/// is one value.
fn smaller(profile: &Profile, range: &ReadRange) -> Vec<ReadRange> {
    // Counted from the start of the range: the end of the last possible range does not fit 16 bits.
    let part = |from: u16, to: u16| ReadRange { start: range.start + from, quantity: to - from, ..*range };
    let core = profile.blocks.iter().find(|block| block.range == *range).and_then(|block| block.core);
    if let Some(core) = core {
        let from = core.start - range.start;
        let to = from + core.quantity;
        let parts = [(from, to), (0, from), (to, range.quantity)];
        return parts.into_iter().filter(|(from, to)| from < to).map(|(from, to)| part(from, to)).collect();
    }
    let cuts = (1..range.quantity).filter(|at| profile.may_split_at(range.function, range.start + at));
    let cut = cuts.min_by_key(|at| at.abs_diff(range.quantity / 2));
    cut.map_or_else(Vec::new, |at| vec![part(0, at), part(at, range.quantity)])
}

/// Largest number of requests for one range if a unit refuses parts of it.
const MOST_REQUESTS: usize = 24;
