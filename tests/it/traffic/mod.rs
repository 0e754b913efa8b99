//! Traffic as people and programs follow it: captured, traced, and too slowly.

mod capture;
mod readers;
mod slow_follower;
mod trace;
