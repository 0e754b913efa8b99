//! Remedies for a closed port, a silent line and a silent meter, the likeliest cause first.

use super::evidence::Evidence;
use super::remedy::Remedy;

/// The port is closed.
pub(super) fn port_closed() -> Remedy {
    let steps = [
        "check that the adapter is plugged in and has this name (`ls -l /dev/serial/by-id`)",
        "check that no other program uses it",
        "check that metergate's user may open it (group dialout)",
    ];
    Remedy::steps(steps).with_context("The gateway tries again by itself")
}

/// No unit has ever answered.
pub(super) fn never_answered(evidence: &Evidence<'_>) -> Remedy {
    let scan = evidence.scan_command();
    Remedy::steps([
        "A and B swapped: swap the two wires at the adapter, it does no harm".to_owned(),
        format!(
            "wrong baud rate or parity: compare with a meter's own menu, or stop the gateway meanwhile and run \
             `{scan} --try-settings`"
        ),
        "the wrong adapter or no connection to the first meter".to_owned(),
        "meters without power".to_owned(),
        format!("identifiers that are not those of the meters: `{scan}` lists the meters that answer"),
        "no bias or termination: 120 ohms at both ends".to_owned(),
    ])
}

/// Units have answered before, and none answers now.
pub(super) fn answered_once() -> Remedy {
    let steps = [
        "the cable between the adapter and the first meter",
        "the meters' power",
        "the adapter itself: unplug it and plug it in again",
        "a meter or wire that shorts the line: take meters off from the far end until the others answer",
    ];
    Remedy::steps(steps).with_context("Meters have answered before, so settings and identifiers are right")
}

/// A meter has never answered, while others answer.
pub(super) fn never(evidence: &Evidence<'_>) -> Remedy {
    let scan = evidence.scan_command();
    let steps = [
        format!(
            "this meter's address and baud rate in its own menu (`{scan} --try-settings` finds a meter at another \
             rate; stop the gateway meanwhile)"
        ),
        "its power".to_owned(),
        "its two wires: A and B swapped at this meter, or loose".to_owned(),
    ];
    Remedy::steps(steps).with_context("Other meters on this line answer, so its settings are right")
}

/// A meter answers no more, while others answer.
pub(super) fn gone() -> Remedy {
    let steps = ["its power", "its plug and wires", "its display: a menu that is open, or a fault it shows"];
    Remedy::steps(steps).with_context("Other meters on this line answer")
}
