//! The configuration: no text makes it panic, and every accepted one can be printed.
//!
//! Input: the text of a file.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match metergate::config::parse(text, "metergate.yaml") {
        Ok(loaded) => {
            assert!(!loaded.config.listeners.is_empty(), "a configuration has a listener");
            assert!(!loaded.config.buses.is_empty(), "a configuration has a bus");
            let again = metergate::config::parse(text, "metergate.yaml").expect("what was accepted once");
            assert_eq!(format!("{:?}", again.config), format!("{:?}", loaded.config));
        }
        Err(problems) => {
            let text = problems.to_string();
            assert!(text.contains("metergate.yaml"), "a problem names its file: {text}");
        }
    }
});
