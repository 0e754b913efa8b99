//! The switching of an RS-485 driver between sending and receiving.
//!
//! Owns the decision, by what the kernel driver offers and what the configuration requests. An RS-485 mode enabled for
//! this board is left unchanged unless the kernel driver is requested by name, and a mode that reads back differently
//! is reverted. It touches no port: `get` and `set` are the two ioctls, TIOCGRS485 and TIOCSRS485.

use std::fmt;

use nix::errno::Errno;

use crate::serial::ioctl;
use crate::serial::ioctl::SerialRs485;
use crate::serial::settings::Direction;

/// Why the kernel driver does not switch the direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectionError {
    /// A pseudo terminal has no direction.
    PseudoTerminal,
    /// The driver refuses the RS-485 mode.
    Refused(Errno),
    /// The mode cannot be read back after it was set.
    Unreadable(Errno),
    /// The driver accepted the mode but keeps this one.
    Changed(SerialRs485),
}

impl fmt::Display for DirectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PseudoTerminal => f.write_str("a pseudo terminal has no direction to switch"),
            Self::Refused(errno) => write!(f, "the driver refuses the RS-485 mode ({})", errno.desc()),
            Self::Unreadable(errno) => write!(f, "the RS-485 mode cannot be read back ({})", errno.desc()),
            Self::Changed(mode) => write!(f, "the driver keeps another RS-485 mode ({})", describe(mode)),
        }
    }
}

impl std::error::Error for DirectionError {}

/// Sets up direction switching as `wanted`. Returns what switches it, for the log.
///
/// # Errors
/// If the kernel driver was requested by name and does not switch.
pub(super) fn switch(
    wanted: Direction,
    get: impl Fn() -> nix::Result<SerialRs485>,
    set: impl Fn(&SerialRs485) -> nix::Result<()>,
) -> Result<String, DirectionError> {
    match wanted {
        Direction::None => Ok(String::from("left as it is")),
        Direction::Auto => Ok(switch_if_free(get, set)),
        Direction::Rs485 => enable(get, set).map(|()| String::from(BY_KERNEL)),
    }
}

fn switch_if_free(
    get: impl Fn() -> nix::Result<SerialRs485>,
    set: impl Fn(&SerialRs485) -> nix::Result<()>,
) -> String {
    let before = match get() {
        Err(_) => return String::from("the adapter by itself, the driver offers no RS-485 mode"),
        Ok(mode) if mode.flags & ioctl::SER_RS485_ENABLED != 0 => {
            return format!("the kernel driver, as it was found enabled ({})", describe(&mode));
        }
        Ok(mode) => mode,
    };
    let Err(why) = enable(&get, &set) else { return String::from(BY_KERNEL) };
    if get().is_ok_and(|now| same(&now, &before)) {
        return format!("the adapter by itself, {why}");
    }
    let restored = set(&before).and_then(|()| get()).is_ok_and(|now| same(&now, &before));
    if restored {
        format!("the adapter by itself, {why} and was set back")
    } else {
        format!("unclear, {why} and cannot be set back; `direction: none` leaves it alone")
    }
}

/// RTS high while sending, low while receiving, no delays, nothing received while sending; read back, because a driver
/// may accept a mode it does not keep.
fn enable(
    get: impl Fn() -> nix::Result<SerialRs485>,
    set: impl Fn(&SerialRs485) -> nix::Result<()>,
) -> Result<(), DirectionError> {
    let wanted = SerialRs485 {
        flags: ioctl::SER_RS485_ENABLED | ioctl::SER_RS485_RTS_ON_SEND,
        ..SerialRs485::default()
    };
    set(&wanted).map_err(DirectionError::Refused)?;
    let found = get().map_err(DirectionError::Unreadable)?;
    if same(&found, &wanted) { Ok(()) } else { Err(DirectionError::Changed(found)) }
}

/// Whether two modes have the same effect on the line.
fn same(one: &SerialRs485, other: &SerialRs485) -> bool {
    let judged = ioctl::SER_RS485_ENABLED
        | ioctl::SER_RS485_RTS_ON_SEND
        | ioctl::SER_RS485_RTS_AFTER_SEND
        | ioctl::SER_RS485_RX_DURING_TX;
    one.flags & judged == other.flags & judged
        && one.delay_rts_before_send == other.delay_rts_before_send
        && one.delay_rts_after_send == other.delay_rts_after_send
}

fn describe(mode: &SerialRs485) -> String {
    let is = |flag| if mode.flags & flag != 0 { "on" } else { "off" };
    format!(
        "enabled {}, RTS while sending {}, RTS while receiving {}, receiver while sending {}, delays {} and {} ms",
        is(ioctl::SER_RS485_ENABLED),
        is(ioctl::SER_RS485_RTS_ON_SEND),
        is(ioctl::SER_RS485_RTS_AFTER_SEND),
        is(ioctl::SER_RS485_RX_DURING_TX),
        mode.delay_rts_before_send,
        mode.delay_rts_after_send
    )
}

/// The kernel driver switches.
const BY_KERNEL: &str = "the kernel driver (TIOCSRS485, read back)";

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    /// A driver with this `mode`, which stores `keep` of each mode it is set to.
    struct Driver {
        mode: Cell<Option<SerialRs485>>,
        keep: fn(SerialRs485) -> nix::Result<SerialRs485>,
        set_to: RefCell<Vec<SerialRs485>>,
    }

    impl Driver {
        fn new(mode: Option<SerialRs485>, keep: fn(SerialRs485) -> nix::Result<SerialRs485>) -> Self {
            Self { mode: Cell::new(mode), keep, set_to: RefCell::default() }
        }

        fn switch(&self, wanted: Direction) -> Result<String, DirectionError> {
            let get = || self.mode.get().ok_or(Errno::ENOTTY);
            let set = |mode: &SerialRs485| {
                self.set_to.borrow_mut().push(*mode);
                self.mode.set(Some((self.keep)(*mode)?));
                Ok(())
            };
            switch(wanted, get, set)
        }
    }

    const ENABLED: u32 = ioctl::SER_RS485_ENABLED;
    const ON_SEND: u32 = ioctl::SER_RS485_RTS_ON_SEND;
    const AFTER_SEND: u32 = ioctl::SER_RS485_RTS_AFTER_SEND;

    fn mode(flags: u32) -> SerialRs485 {
        SerialRs485 { flags, ..SerialRs485::default() }
    }

    /// Inverts RTS when the mode is enabled.
    fn turn_around(mut mode: SerialRs485) -> nix::Result<SerialRs485> {
        if mode.flags & ENABLED != 0 {
            mode.flags = ENABLED | AFTER_SEND;
        }
        Ok(mode)
    }

    #[test]
    fn auto_leaves_an_enabled_mode_alone_and_reports_it() {
        let board = SerialRs485 { delay_rts_after_send: 2, ..mode(ENABLED | AFTER_SEND) };
        let driver = Driver::new(Some(board), Ok);
        let said = driver.switch(Direction::Auto).unwrap();
        assert!(said.contains("found enabled") && said.contains("delays 0 and 2 ms"), "{said}");
        assert_eq!((driver.mode.get(), driver.set_to.borrow().len()), (Some(board), 0));
    }

    #[test]
    fn auto_enables_a_mode_that_is_supported_and_off() {
        let driver = Driver::new(Some(mode(0)), Ok);
        assert_eq!(driver.switch(Direction::Auto).unwrap(), BY_KERNEL);
        assert_eq!(driver.mode.get(), Some(mode(ENABLED | ON_SEND)));
    }

    #[test]
    fn auto_sets_nothing_where_the_driver_knows_no_mode() {
        let driver = Driver::new(None, Ok);
        let said = driver.switch(Direction::Auto).unwrap();
        assert!(said.contains("the adapter by itself"), "{said}");
        assert!(driver.set_to.borrow().is_empty());
    }

    #[test]
    fn auto_sets_the_old_mode_back_when_the_driver_keeps_another() {
        let before = SerialRs485 { delay_rts_before_send: 1, ..mode(ON_SEND) };
        let driver = Driver::new(Some(before), turn_around);
        let said = driver.switch(Direction::Auto).unwrap();
        assert!(said.contains("the adapter by itself") && said.contains("set back"), "{said}");
        assert_eq!(driver.mode.get(), Some(before));
    }

    #[test]
    fn auto_does_not_claim_to_know_a_mode_that_cannot_be_set_back() {
        let driver = Driver::new(Some(mode(0)), |_| Ok(mode(ENABLED | AFTER_SEND)));
        let said = driver.switch(Direction::Auto).unwrap();
        assert!(said.starts_with("unclear"), "{said}");
    }

    #[test]
    fn auto_goes_on_with_a_driver_that_refuses_the_mode() {
        let driver = Driver::new(Some(mode(0)), |_| Err(Errno::EINVAL));
        let said = driver.switch(Direction::Auto).unwrap();
        assert!(said.contains("the adapter by itself") && said.contains("refuses"), "{said}");
        assert_eq!(driver.set_to.borrow().len(), 1, "nothing changed, so nothing is set back");
    }

    #[test]
    fn rs485_asked_for_by_name_fails_when_refused_or_not_kept() {
        let refusing = Driver::new(None, |_| Err(Errno::ENOTTY));
        assert_eq!(refusing.switch(Direction::Rs485), Err(DirectionError::Refused(Errno::ENOTTY)));
        let bending = Driver::new(Some(mode(0)), turn_around);
        let kept = bending.switch(Direction::Rs485).unwrap_err();
        assert_eq!(kept, DirectionError::Changed(mode(ENABLED | AFTER_SEND)));
        assert!(kept.to_string().starts_with("the driver keeps another RS-485 mode (enabled on"), "{kept}");
        let keeping = Driver::new(Some(mode(0)), Ok);
        assert_eq!(keeping.switch(Direction::Rs485).unwrap(), BY_KERNEL);
    }

    #[test]
    fn none_touches_nothing() {
        let get = || -> nix::Result<SerialRs485> { panic!("read") };
        let set = |_: &SerialRs485| -> nix::Result<()> { panic!("set") };
        assert_eq!(switch(Direction::None, get, set).unwrap(), "left as it is");
    }
}
