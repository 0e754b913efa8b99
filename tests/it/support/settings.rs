//! The settings of a line as a test begins with: the contract's defaults, but that no echo is looked for.

use std::time::Duration;

use metergate::line::{Echo, Framing, LineSettings, OfflineAfter, Parity, Protocol, UnitId, UnitSettings};

pub(crate) const FRAMING: Framing = Framing { baud_rate: 19_200, parity: Parity::None, stop_bits: 1 };

/// 19200 8N1 with these units, none of them polled, and with the echo off.
pub(crate) fn line(units: &[u8]) -> LineSettings {
    LineSettings {
        name: String::from("riser"),
        protocol: Protocol::Rtu(FRAMING),
        response_timeout: RESPONSE_TIMEOUT,
        request_gap: Duration::ZERO,
        turnaround_delay: Duration::from_millis(100),
        late_guard: RESPONSE_TIMEOUT,
        retries: 1,
        queue_limit: 1024,
        poll_share: 0.6,
        learn_limit: 256,
        failure_share: 0.02,
        offline_after: OfflineAfter { failures: 3, time: Duration::from_secs(3) },
        probe_max: Duration::from_secs(60),
        echo: Echo::Off,
        units: units.iter().map(|&id| unit(id)).collect(),
    }
}

/// A unit without a profile.
pub(crate) fn unit(id: u8) -> UnitSettings {
    UnitSettings::new(UnitId::new(id).expect("not 0"), RESPONSE_TIMEOUT)
}

const RESPONSE_TIMEOUT: Duration = Duration::from_millis(500);
