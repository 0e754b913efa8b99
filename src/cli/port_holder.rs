//! A port that another program holds: what a command says before it ends.
//!
//! Owns the words, the same for every command that opens a port. Who holds it, `target` finds out as far as it can.

use std::fmt;

/// Who holds a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PortHolder {
    /// The gateway, by its configuration.
    Gateway,
    /// Unknown; the gateway is likely.
    Unknown,
}

/// Why `device` cannot be had, with both ways out: the command that asks the gateway instead, and how to stop it.
pub(super) fn held(device: impl fmt::Display, holder: PortHolder, instead: &str) -> String {
    let who = match holder {
        PortHolder::Gateway => "the gateway holds it;".to_owned(),
        PortHolder::Unknown => {
            format!("another program holds it, `fuser -v {device}` tells which; if it is the gateway,")
        }
    };
    format!(
        "{device}: {who} ask the gateway instead (`{instead}`) or stop it meanwhile (`systemctl stop metergate`, on \
         OpenWrt `/etc/init.d/metergate stop`)"
    )
}
