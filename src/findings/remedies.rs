//! Remedies for a closed port, a silent line and a silent meter, the likeliest cause first.

use super::evidence::Evidence;
use super::remedy::Remedy;
use crate::serial::PortDevice;

/// The port is closed.
pub(super) fn port_closed(evidence: &Evidence<'_>) -> Remedy {
    let steps = match evidence.device {
        PortDevice::Path(_) => vec![
            "check that the adapter is plugged in and has this name (`ls -l /dev/serial/by-id`)".to_owned(),
            "check that no other program uses it".to_owned(),
            "check that metergate's user may open it (group dialout)".to_owned(),
        ],
        PortDevice::Server(server) => vec![
            "check that the serial server has power and network".to_owned(),
            format!("check that it can be reached from here (`nc -vz {} {}`)", server.host(), server.port()),
            "check that this port of it is a raw TCP server, not a virtual COM port, telnet or RFC 2217"
                .to_owned(),
            "check that no other program is connected to it: most take one connection".to_owned(),
        ],
        PortDevice::ModbusTcp(server) => vec![
            "check that the server has power and network".to_owned(),
            format!("check that it can be reached from here (`nc -vz {} {}`)", server.host(), server.port()),
            "check its address and port, and whether it admits this gateway's address".to_owned(),
            "check how many connections it takes: some serve only one or two".to_owned(),
        ],
    };
    Remedy::steps(steps).with_context("The gateway tries again by itself")
}

/// No unit has ever answered.
pub(super) fn never_answered(evidence: &Evidence<'_>) -> Remedy {
    let scan = evidence.scan_command();
    if let PortDevice::ModbusTcp(server) = evidence.device {
        let steps = [
            format!("identifiers that are not those of the units: `{scan}` lists the units that answer"),
            format!("whether {server} is what was meant: another device may have this address"),
            ITS_OWN_LINE.to_owned(),
        ];
        return Remedy::steps(steps).with_context("The server takes the connection, so the network is right");
    }
    let answered_before = "If they answered before the start, begin with the meters' power and the cable";
    let (adapter, rate) = match evidence.device {
        PortDevice::Path(_) => (
            "adapter",
            format!(
                "wrong baud rate or parity: compare with a meter's own menu, or stop the gateway meanwhile and run \
                 `{scan} --try-settings`"
            ),
        ),
        PortDevice::Server(_) | PortDevice::ModbusTcp(_) => (
            "serial server",
            "wrong baud rate or parity in the serial server's own settings: compare with a meter's own menu"
                .to_owned(),
        ),
    };
    Remedy::steps([
        format!("A and B swapped: swap the two wires at the {adapter}, it does no harm"),
        rate,
        format!("the wrong {adapter} or no connection to the first meter"),
        "meters without power".to_owned(),
        format!(
            "identifiers that are not those of the meters: with the gateway stopped, `{scan}` lists the meters that \
             answer"
        ),
        "no bias or termination: 120 ohms at both ends".to_owned(),
    ])
    .with_context(answered_before)
}

/// Units have answered before, and none answers now.
pub(super) fn answered_once(evidence: &Evidence<'_>) -> Remedy {
    if matches!(evidence.device, PortDevice::ModbusTcp(_)) {
        let steps = [ITS_OWN_LINE, "the server itself: whether a restart helps"];
        return Remedy::steps(steps)
            .with_context("The server takes the connection, and units have answered before");
    }
    let [cable, adapter] = match evidence.device {
        PortDevice::Path(_) => [
            "the cable between the adapter and the first meter",
            "the adapter itself: unplug it and plug it in again",
        ],
        PortDevice::Server(_) | PortDevice::ModbusTcp(_) => [
            "the cable between the serial server and the first meter",
            "the serial server itself: its settings, and whether a restart helps",
        ],
    };
    let steps = [
        cable,
        "the meters' power",
        adapter,
        "a meter or wire that shorts the line: take meters off from the far end until the others answer",
    ];
    Remedy::steps(steps).with_context(
        "Meters have answered before, so settings and identifiers are right, unless they were changed since",
    )
}

/// A meter has never answered, while others answer.
pub(super) fn never(evidence: &Evidence<'_>) -> Remedy {
    if matches!(evidence.device, PortDevice::ModbusTcp(_)) {
        let steps = [
            "its identifier: whether the server has a unit of this one".to_owned(),
            "its power, and its wires behind the server".to_owned(),
        ];
        return Remedy::steps(steps).with_context("Other units of this server answer");
    }
    let steps = [
        own_settings(evidence, "this meter's address and baud rate in its own menu"),
        "its power".to_owned(),
        "its two wires: A and B swapped at this meter, or loose".to_owned(),
    ];
    Remedy::steps(steps).with_context(
        "Other meters on this line answer, so the line's settings are right; if this one answered before the start, begin \
         with its power",
    )
}

/// Answers come with the right head and break off.
pub(super) fn truncated(evidence: &Evidence<'_>) -> Remedy {
    let (switching, drops) = match evidence.device {
        PortDevice::Path(_) => (
            "what switches between sending and receiving by a timer: an adapter, repeater or converter that switches too \
             early cuts off the last bytes; set its delay for this baud rate, or try another",
            "an adapter that drops bytes: another USB port or adapter",
        ),
        PortDevice::Server(_) | PortDevice::ModbusTcp(_) => (
            "what switches between sending and receiving by a timer: a serial server, repeater or converter that \
             switches too early cuts off the last bytes; set its delay for this baud rate",
            "the serial server's packing of bytes: its delimiters off, its delay short",
        ),
    };
    Remedy::steps([
        "pauses inside the answers, as converters, radio links and serial servers make them: set a longer \
         `byte_timeout`, such as `250ms`",
        switching,
        drops,
    ])
    .with_context("The heads of the answers come intact, so power, address, baud rate and parity are right")
}

/// What to compare in the meter's menu, with the command that finds a meter at another rate; a serial server has a rate of
/// its own, which no command can change.
pub(super) fn own_settings(evidence: &Evidence<'_>, what: &str) -> String {
    match evidence.device {
        PortDevice::Path(_) => {
            let scan = evidence.scan_command();
            format!(
                "{what} (`{scan} --try-settings` finds a meter at another rate; stop the gateway meanwhile)"
            )
        }
        PortDevice::Server(_) | PortDevice::ModbusTcp(_) => what.to_owned(),
    }
}

/// A meter answers no more, while others answer.
pub(super) fn gone(evidence: &Evidence<'_>) -> Remedy {
    if matches!(evidence.device, PortDevice::ModbusTcp(_)) {
        let steps = ["its power", "its wires behind the server", "what the server itself says of it"];
        return Remedy::steps(steps).with_context("Other units of this server answer");
    }
    let steps = ["its power", "its plug and wires", "its display: a menu that is open, or a fault it shows"];
    Remedy::steps(steps).with_context("Other meters on this line answer")
}

const ITS_OWN_LINE: &str = "the line behind the server, if it is a gateway: what its own page or log says of the meters, \
    their power and wires";

/// What comes instead of answers may be the rest of them.
pub(super) const UNFRAMED_ANSWERS: &str = "what the bytes are: `metergate trace --failures` shows them. The ends of answers \
    point to an adapter or converter that begins to listen too late, other bytes to a wrong baud rate or parity, to A and B \
    swapped, or to a line without bias, on which noise is received";
