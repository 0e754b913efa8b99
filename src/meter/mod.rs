//! What registers mean: the profile of a meter, and its registers into values with units.
//!
//! Owns points, blocks, scales and word orders, and how a profile is read from a file. It never reads a register.

mod builtin;
mod checks;
pub mod decimal;
pub mod decode;
pub mod profile;
mod read;
pub mod section;
mod value;
pub mod vocabulary;
