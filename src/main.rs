//! The process: arguments, logging, signals, exit codes.

fn main() {}
