//! The role in a certificate: never a panic, and a role is what a second reading of the bytes finds.
//!
//! Input: one byte; if it is even, the rest is the value of the extension, else a whole certificate in DER.

#![no_main]

use libfuzzer_sys::fuzz_target;
use metergate::tls::certificate::Certificate;
use metergate::tls::role::{LONGEST_ROLE, role_from};
use metergate::tls::role_in;

fuzz_target!(|data: &[u8]| {
    let Some((&kind, rest)) = data.split_first() else { return };
    if kind % 2 == 1 {
        let role = role_in(rest);
        if let Some(read) = Certificate::read(rest) {
            assert_eq!(read.role, role);
            assert!(!read.subject.chars().any(char::is_control), "a subject for a log line");
        }
        return;
    }
    let Ok(role) = role_from(rest) else { return };
    assert!((1..=LONGEST_ROLE).contains(&role.len()) && !role.chars().any(char::is_control));
    // DER has one way to write a string.
    let length = u8::try_from(role.len()).expect("at most 255");
    let head: &[u8] = if length < 0x80 { &[0x0C, length] } else { &[0x0C, 0x81, length] };
    assert_eq!([head, role.as_bytes()].concat(), rest);
});
