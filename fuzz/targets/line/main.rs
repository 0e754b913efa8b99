//! The line, driven by a list of operations: whatever happens on it, each request gets exactly one answer.
//!
//! Input: two bytes of settings, then operations of a few bytes each, read with `arbitrary`. After each of them the
//! outputs are polled and checked by [`world`]; at the end time passes until nothing may wait any more, and a healthy
//! line must serve again.

#![no_main]

mod world;

use std::time::Duration;

use bytes::Bytes;
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use metergate::line::PortEvent;
use metergate::modbus::pdu::{FunctionCode, RequestPdu};

use world::{Asked, World};

fuzz_target!(|data: &[u8]| {
    let mut input = Unstructured::new(data);
    let settings = (input.arbitrary().unwrap_or(0), input.arbitrary().unwrap_or(0));
    let mut world = World::new(settings);
    for _ in 0..OPERATIONS_MAX {
        if input.is_empty() || operate(&mut world, &mut input).is_err() {
            break;
        }
    }
    world.finish();
});

/// One operation and its consequences.
fn operate(world: &mut World, input: &mut Unstructured<'_>) -> Result<()> {
    match input.arbitrary::<u8>()? % 16 {
        0..=2 => request(world, input)?,
        3 | 4 => answer(world, input)?,
        5 => {
            let length = usize::from(input.arbitrary::<u8>()? % 64);
            let bytes = input.bytes(length.min(input.len()))?;
            world.raw(bytes);
        }
        6 => world.pass(Duration::from_micros(u64::from(input.arbitrary::<u8>()?) * 100)),
        7 => world.pass(Duration::from_millis(u64::from(input.arbitrary::<u8>()?) * 10)),
        8 => world.pass_to_next(),
        9 => world.call_early(),
        10 => world.port(PortEvent::Lost),
        11 => world.port(PortEvent::Opened),
        12 => {
            let connection = u64::from(input.arbitrary::<u8>()? % 4);
            world.leave(connection);
        }
        13 => {
            let (count, length, byte) =
                (input.arbitrary::<u8>()?, input.arbitrary::<u8>()?, input.arbitrary()?);
            world.babble(count, 1 + usize::from(length % 64), byte);
        }
        14 => {
            let which = input.arbitrary()?;
            world.echo(which);
        }
        _ => seldom(world, input)?,
    }
    Ok(())
}

/// Closing ends most of what could happen, and reloads are rare.
fn seldom(world: &mut World, input: &mut Unstructured<'_>) -> Result<()> {
    match input.arbitrary::<u8>()? {
        0xC1 => world.close(),
        0xD0..=0xDF => world.reload(input.arbitrary()?),
        _ => world.pass_to_next(),
    }
    Ok(())
}

/// A client sends a request.
fn request(world: &mut World, input: &mut Unstructured<'_>) -> Result<()> {
    let [who, unit, kind, start, quantity, deadline, age] = input.arbitrary::<[u8; 7]>()?;
    let (address, words) = (start % 32, 1 + quantity % 16);
    let id = world.next_id();
    let unique = (id as u16).to_be_bytes();
    let pdu = match kind % 16 {
        0..=5 => vec![3, 0, address, 0, words],
        6 | 7 => vec![4, 0, address, 0, words],
        8 => vec![1, 0, address, 0, words],
        9 | 10 => vec![6, 0, address, unique[0], unique[1]],
        11 => vec![0x10, 0, address, 0, 1, 2, unique[0], unique[1]],
        12 => vec![0x11],
        13 => vec![0x41, unique[0], unique[1]],
        14 => vec![0x08, 0, 0, unique[0], unique[1]],
        _ => {
            let length = usize::from(input.arbitrary::<u8>()? % 24);
            input.bytes(length.min(input.len()))?.to_vec()
        }
    };
    let Ok(pdu) = RequestPdu::decode(Bytes::from(pdu)) else { return Ok(()) };
    if kind % 16 == 15 && pdu.function() == FunctionCode::WRITE_SINGLE_REGISTER {
        // These writes are identified by their numbers.
        return Ok(());
    }
    world.ask(Asked {
        connection: u64::from(who % 4),
        unit: unit % 5,
        pdu,
        since: world.now,
        deadline: world.now + Duration::from_millis(u64::from(deadline) * 20),
        max_age: Duration::from_millis(u64::from(age % 8) * 100),
    });
    Ok(())
}

/// A unit answers one of the last requests on the wire: correctly, in two chunks, or damaged.
fn answer(world: &mut World, input: &mut Unstructured<'_>) -> Result<()> {
    let [which, how, cut] = input.arbitrary::<[u8; 3]>()?;
    match how % 8 {
        0..=2 => world.answer(which, None, 0),
        3 => world.answer(which, Some([0x02, 0x03, 0x04, 0x06][usize::from(cut % 4)]), 0),
        4 | 5 => world.answer(which, None, 1 + usize::from(cut % 40)),
        6 => world.damaged(which, |adu| {
            let at = usize::from(cut) % adu.len();
            adu[at] ^= 1 << (cut % 8);
        }),
        _ => world.damaged(which, |adu| adu.truncate(usize::from(cut) % adu.len())),
    }
    Ok(())
}

/// Operations of one input.
const OPERATIONS_MAX: usize = 300;
