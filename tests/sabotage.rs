//! Proof that the simulation notices: with any one guard of the line switched off, some seed fails.
//!
//! `cargo test --features sabotage --test sabotage`

#[path = "it/support/simulation/mod.rs"]
mod simulation;

use metergate::bus::sabotage::{Guard, switch_off};

/// The first failing seed below `limit`, with `guard` switched off.
fn first_failure(guard: Option<Guard>, limit: u64) -> Option<u64> {
    switch_off(guard);
    let failure = (0..limit).find(|&seed| simulation::run(seed).is_err());
    switch_off(None);
    failure
}

fn is_noticed(guard: Guard) {
    let seed = first_failure(Some(guard), SEEDS);
    assert!(seed.is_some(), "{guard:?} is switched off, and {SEEDS} seeds pass");
}

#[test]
fn with_all_guards_the_same_seeds_pass() {
    assert_eq!(first_failure(None, SEEDS), None);
}

#[test]
fn a_missing_late_guard_is_noticed() {
    is_noticed(Guard::LateGuard);
}

#[test]
fn a_missing_check_of_the_unit_is_noticed() {
    is_noticed(Guard::UnitCheck);
}

#[test]
fn a_missing_check_of_the_length_is_noticed() {
    is_noticed(Guard::LengthCheck);
}

#[test]
fn a_missing_check_of_the_crc_is_noticed() {
    is_noticed(Guard::CrcCheck);
}

#[test]
fn a_missing_silence_is_noticed() {
    is_noticed(Guard::Silence);
}

#[test]
fn a_join_across_a_write_is_noticed() {
    is_noticed(Guard::JoinAcrossWrite);
}

#[test]
fn a_write_sent_twice_is_noticed() {
    is_noticed(Guard::WriteOnce);
}

#[test]
fn a_write_before_the_echo_is_known_is_noticed() {
    is_noticed(Guard::EchoCheck);
}

#[test]
fn a_snapshot_kept_by_registers_is_noticed() {
    is_noticed(Guard::WholeBlocks);
}

#[test]
fn a_reply_stitched_from_two_blocks_is_noticed() {
    is_noticed(Guard::OneBlock);
}

#[test]
fn a_write_that_leaves_the_snapshot_is_noticed() {
    is_noticed(Guard::WriteDrops);
}

#[test]
fn a_forgotten_epoch_is_noticed() {
    is_noticed(Guard::Epoch);
}

#[test]
fn an_age_measured_from_the_wrong_end_is_noticed() {
    is_noticed(Guard::AgeFromTheStart);
}

/// So many seeds are enough for each of them.
const SEEDS: u64 = 3_000;
