//! What happens to an answer on the wire: late, lost, damaged, doubled, from another unit, amid noise.

use metergate::modbus::rtu;

use super::rng::Rng;
use super::swarm::Faults;
use super::wire::{MILLI, Nanos};

/// What a unit puts on the wire: instants after the request was heard, and bytes.
pub(crate) type Talks = Vec<(Nanos, Vec<u8>)>;

/// What an answer needs to know about its line.
pub(crate) struct Scene<'a> {
    pub(crate) faults: &'a Faults,
    /// Identifiers that noise must not imitate.
    pub(crate) units: &'a [u8],
    pub(crate) response_timeout: Nanos,
    pub(crate) late_guard: Nanos,
    pub(crate) character: Nanos,
}

impl Scene<'_> {
    /// The talks that answer with `pdu` from `unit`.
    pub(crate) fn answer(&self, unit: u8, pdu: &[u8], rng: &mut Rng) -> Talks {
        let faults = self.faults;
        if rng.chance(faults.dropped) {
            return Vec::new();
        }
        let start = self.delay(rng);
        let adu = self.frame(unit, pdu, rng);
        let length = self.character * adu.len() as u64;
        let mut talks = vec![(start, adu.clone())];
        if rng.chance(faults.doubled) {
            talks.push((start + length, adu));
        }
        if rng.chance(faults.noise) {
            let length_of_noise = rng.pick(&[1, 1, 2, 3, 8, 30]);
            let noise = noise(rng, self.units, length_of_noise);
            let pause = rng.pick(&[0, 0, 1, 3, 25]) * MILLI;
            let end = talks.len() as u64 * length + start;
            if rng.chance(500) {
                let lead = self.character * noise.len() as u64 + pause;
                talks.iter_mut().for_each(|talk| talk.0 = talk.0.max(lead + self.character));
                let begin = talks[0].0 - lead;
                // The copy, if any, still follows back to back.
                if let [first, second] = &mut talks[..] {
                    second.0 = first.0 + length;
                }
                talks.insert(0, (begin, noise));
            } else {
                talks.push((end + pause, noise));
            }
        }
        talks
    }

    fn delay(&self, rng: &mut Rng) -> Nanos {
        if rng.chance(self.faults.late) {
            // The last byte before the guard ends, lumps included, is the latest that can be told apart.
            self.response_timeout + rng.below(self.late_guard.saturating_sub(GUARD_MARGIN).max(1))
        } else if rng.chance(self.faults.slow) {
            rng.range(self.character, self.response_timeout * 9 / 10)
        } else {
            rng.range(self.character * 4, 20 * MILLI)
        }
    }

    /// The ADU, whole or not.
    fn frame(&self, unit: u8, pdu: &[u8], rng: &mut Rng) -> Vec<u8> {
        let faults = self.faults;
        if rng.chance(faults.wrong_unit) {
            return rtu::encode(STRANGER, pdu).to_vec();
        }
        if rng.chance(faults.wrong_function) {
            let mut pdu = pdu.to_vec();
            pdu[0] ^= rng.pick(&[1, 2, 7]);
            return rtu::encode(unit, &pdu).to_vec();
        }
        if matches!(pdu[0], 0x05 | 0x06 | 0x10) && rng.chance(faults.wrong_repeat) {
            let mut pdu = pdu.to_vec();
            // Another address; with another value it would be a limited write, which units draw themselves.
            pdu[rng.pick(&[1, 2])] ^= 1;
            return rtu::encode(unit, &pdu).to_vec();
        }
        if rng.chance(faults.oversize) && pdu[0] & 0x80 == 0 {
            let mut pdu = pdu.to_vec();
            if matches!(pdu[0], 1..=4) && pdu.len() < 200 && rng.chance(500) {
                pdu[1] += 2;
                pdu.extend([0x55, 0xAA]);
                return rtu::encode(unit, &pdu).to_vec();
            }
            // Zeros behind a CRC leave it correct; behind one that ends in a zero their number is ambiguous.
            let adu = rtu::encode(unit, &pdu);
            let zeros: &[u8] = if adu.ends_with(&[0]) { &[] } else { &[0, 0, 0] };
            return [&adu, zeros].concat();
        }
        let whole = rtu::encode(unit, pdu);
        let mut adu = whole.to_vec();
        if rng.chance(faults.flips) {
            flip(&mut adu, rng);
        }
        if rng.chance(faults.truncated) {
            if rng.chance(500) {
                adu.truncate(usize::try_from(rng.range(1, adu.len() as u64 - 1)).expect("small"));
            } else {
                adu.remove(usize::try_from(rng.below(adu.len() as u64)).expect("small"));
            }
        }
        // A damaged answer of unknown length has a correct CRC once in 65536 times (seed 74260), which cannot be
        // detected: it loses one byte more.
        if pdu[0] == 0x41 && adu != whole[..] && rtu::crc_is_right(&adu) {
            adu.pop();
        }
        // The same of one that damage makes look like a shorter exception with a right CRC (seed 62777).
        if adu.len() > EXCEPTION && adu[1] & 0x80 != 0 && rtu::crc_is_right(&adu[..EXCEPTION]) {
            adu[EXCEPTION - 1] ^= 1;
        }
        adu
    }
}

/// Inverts one to three bits: no CRC of 16 bits misses them.
pub(crate) fn flip(bytes: &mut [u8], rng: &mut Rng) {
    for _ in 0..rng.range(1, 3) {
        let at = usize::try_from(rng.below(bytes.len() as u64)).expect("small");
        bytes[at] ^= 1 << rng.below(8);
    }
}

/// What is left of `adu` as the adapter echoes it: up to three bits wrong, or the first byte lost. Neither the rest of
/// it nor the rest with the first bytes of an answer looks like an answer with a correct CRC, which could not be
/// detected (seeds 145126 and 5107027).
pub(crate) fn damaged_echo(adu: &[u8], rng: &mut Rng) -> Vec<u8> {
    loop {
        let mut echo = adu.to_vec();
        if rng.chance(500) {
            flip(&mut echo, rng);
        } else {
            echo.remove(0);
        }
        let heard = [&echo, &adu[..2]].concat();
        let looks_like_an_answer =
            |bytes: &[u8]| bytes[0] == adu[0] && bytes[1] & 0x7F == adu[1] && rtu::crc_is_right(bytes);
        let mut parts = (0..heard.len()).flat_map(|from| (from + 2..=heard.len()).map(move |to| from..to));
        if !parts.any(|part| looks_like_an_answer(&heard[part])) {
            return echo;
        }
    }
}

/// Random bytes in which no answer seems to begin: bytes that look like the head of the awaited answer and have a wrong
/// CRC *are* a garbled answer to every receiver on the line.
pub(crate) fn noise(rng: &mut Rng, units: &[u8], length: usize) -> Vec<u8> {
    let mut noise: Vec<u8> = Vec::with_capacity(length);
    for _ in 0..length {
        let byte = rng.byte().max(1);
        let after_unit = noise.last().is_some_and(|last| units.contains(last));
        let function = matches!(byte & 0x7F, 1..=0x2B | 0x41);
        noise.push(if after_unit && function { 0x7F } else { byte });
    }
    if let Some(last) = noise.last_mut().filter(|last| units.contains(last)) {
        *last = 0xFF;
    }
    noise
}

/// Length of an exception on the line.
const EXCEPTION: usize = 5;

/// An identifier of no unit. Behind that of a unit that owes an answer, the sender would be ambiguous.
const STRANGER: u8 = 247;

/// Before the end of the guard a late answer has begun to arrive, whatever the adapter adds.
pub(super) const GUARD_MARGIN: Nanos = 30 * MILLI;
