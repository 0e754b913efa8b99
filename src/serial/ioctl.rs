//! The serial ioctls no crate offers: RS-485 direction, low latency, error counters.
//!
//! The one file with unsafe code. Each function passes one structure in the kernel's layout
//! (include/uapi/linux/serial.h), which lives on the stack for the call. `port.rs` interprets the results.

#![allow(unsafe_code, reason = "ioctls have no safe form; each passes one repr(C) structure by reference")]

use std::os::fd::AsRawFd;

use nix::Result;
use nix::libc::{c_char, c_int, c_uint, c_ulong, c_ushort, c_void};

/// `struct serial_rs485`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SerialRs485 {
    /// `SER_RS485_*`.
    pub(crate) flags: u32,
    /// In milliseconds.
    pub(crate) delay_rts_before_send: u32,
    /// In milliseconds.
    pub(crate) delay_rts_after_send: u32,
    /// Addresses and reserved words in newer kernels.
    pub(crate) padding: [u32; 5],
}

/// The driver switches the direction.
pub(crate) const SER_RS485_ENABLED: u32 = 1 << 0;
/// RTS is high while sending.
pub(crate) const SER_RS485_RTS_ON_SEND: u32 = 1 << 1;
/// RTS is high while receiving.
pub(crate) const SER_RS485_RTS_AFTER_SEND: u32 = 1 << 2;
/// The receiver stays on while sending.
pub(crate) const SER_RS485_RX_DURING_TX: u32 = 1 << 4;

/// `struct serial_struct`; only `flags` is of interest.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct SerialStruct {
    line_type: c_int,
    line: c_int,
    port: c_uint,
    irq: c_int,
    flags: c_int,
    xmit_fifo_size: c_int,
    custom_divisor: c_int,
    baud_base: c_int,
    close_delay: c_ushort,
    io_type: c_char,
    reserved_char: c_char,
    hub6: c_int,
    closing_wait: c_ushort,
    closing_wait2: c_ushort,
    iomem_base: *mut c_void,
    iomem_reg_shift: c_ushort,
    port_high: c_uint,
    iomap_base: c_ulong,
}

/// `ASYNC_LOW_LATENCY` (include/uapi/linux/tty_flags.h).
const ASYNC_LOW_LATENCY: c_int = 1 << 13;

/// `struct serial_icounter_struct`: the driver's counters since the port was created.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct SerialIcounter {
    cts: c_int,
    dsr: c_int,
    rng: c_int,
    dcd: c_int,
    rx: c_int,
    tx: c_int,
    frame: c_int,
    overrun: c_int,
    parity: c_int,
    brk: c_int,
    buf_overrun: c_int,
    reserved: [c_int; 9],
}

/// A serial driver's error counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineErrors {
    /// Characters without a stop bit.
    pub framing: u32,
    /// Characters with a wrong parity bit.
    pub parity: u32,
    /// Characters lost in the hardware.
    pub overrun: u32,
    /// Breaks: the line low for longer than a character.
    pub breaks: u32,
    /// Characters lost in the driver.
    pub buffer_overrun: u32,
}

impl LineErrors {
    /// The increments since `before`, for the log. The counters wrap.
    #[must_use]
    pub fn since(&self, before: &Self) -> String {
        let added = [
            (self.framing.wrapping_sub(before.framing), "framing"),
            (self.parity.wrapping_sub(before.parity), "parity"),
            (self.overrun.wrapping_sub(before.overrun), "overrun"),
            (self.breaks.wrapping_sub(before.breaks), "break"),
            (self.buffer_overrun.wrapping_sub(before.buffer_overrun), "buffer overrun"),
        ];
        let named =
            added.iter().filter(|(count, _)| *count > 0).map(|(count, name)| format!("{count} {name}"));
        named.collect::<Vec<_>>().join(", ")
    }
}

impl LineErrors {
    /// Adds the increments from `before` to `now`.
    pub fn add(&mut self, before: &Self, now: &Self) {
        let sum = |own: &mut u32, before: u32, now: u32| *own = own.wrapping_add(now.wrapping_sub(before));
        sum(&mut self.framing, before.framing, now.framing);
        sum(&mut self.parity, before.parity, now.parity);
        sum(&mut self.overrun, before.overrun, now.overrun);
        sum(&mut self.breaks, before.breaks, now.breaks);
        sum(&mut self.buffer_overrun, before.buffer_overrun, now.buffer_overrun);
    }
}

/// The driver's RS-485 mode. ENOTTY if the driver has none.
pub(crate) fn rs485(port: &impl AsRawFd) -> Result<SerialRs485> {
    let mut mode = SerialRs485::default();
    // SAFETY: the kernel fills one `struct serial_rs485`, whose layout `SerialRs485` has.
    unsafe { call::tiocgrs485(port.as_raw_fd(), &raw mut mode) }.map(|_| mode)
}

/// Sets the driver's RS-485 mode. A driver may keep other values than the requested ones: read it back.
pub(crate) fn set_rs485(port: &impl AsRawFd, mode: &SerialRs485) -> Result<()> {
    // SAFETY: the kernel reads one `struct serial_rs485`, whose layout `SerialRs485` has.
    unsafe { call::tiocsrs485(port.as_raw_fd(), mode) }.map(|_| ())
}

/// Requests low latency, and reads back whether it is on.
pub(crate) fn set_low_latency(port: &impl AsRawFd) -> Result<bool> {
    let mut serial = serial_struct(port)?;
    if serial.flags & ASYNC_LOW_LATENCY == 0 {
        serial.flags |= ASYNC_LOW_LATENCY;
        // SAFETY: the kernel reads one `struct serial_struct`, which it has just filled itself.
        unsafe { call::tiocsserial(port.as_raw_fd(), &raw const serial) }?;
        serial = serial_struct(port)?;
    }
    Ok(serial.flags & ASYNC_LOW_LATENCY != 0)
}

/// The driver's counters since the port was created.
pub(crate) fn line_errors(port: &impl AsRawFd) -> Result<LineErrors> {
    let mut counters = SerialIcounter::default();
    // SAFETY: the kernel fills one `struct serial_icounter_struct`, whose layout `SerialIcounter` has.
    unsafe { call::tiocgicount(port.as_raw_fd(), &raw mut counters) }?;
    // The kernel counts in ints that wrap; only differences matter.
    Ok(LineErrors {
        framing: counters.frame.cast_unsigned(),
        parity: counters.parity.cast_unsigned(),
        overrun: counters.overrun.cast_unsigned(),
        breaks: counters.brk.cast_unsigned(),
        buffer_overrun: counters.buf_overrun.cast_unsigned(),
    })
}

fn serial_struct(port: &impl AsRawFd) -> Result<SerialStruct> {
    let mut serial = SerialStruct {
        line_type: 0,
        line: 0,
        port: 0,
        irq: 0,
        flags: 0,
        xmit_fifo_size: 0,
        custom_divisor: 0,
        baud_base: 0,
        close_delay: 0,
        io_type: 0,
        reserved_char: 0,
        hub6: 0,
        closing_wait: 0,
        closing_wait2: 0,
        iomem_base: std::ptr::null_mut(),
        iomem_reg_shift: 0,
        port_high: 0,
        iomap_base: 0,
    };
    // SAFETY: the kernel fills one `struct serial_struct`, whose layout `SerialStruct` has.
    unsafe { call::tiocgserial(port.as_raw_fd(), &raw mut serial) }.map(|_| serial)
}

/// The bare calls, with the kernel's numbers.
#[allow(
    missing_docs,
    reason = "the macros take no documentation; include/uapi/asm-generic/ioctls.h names them"
)]
mod call {
    use nix::libc;

    use super::{SerialIcounter, SerialRs485, SerialStruct};

    nix::ioctl_read_bad!(tiocgrs485, libc::TIOCGRS485, SerialRs485);
    nix::ioctl_write_ptr_bad!(tiocsrs485, libc::TIOCSRS485, SerialRs485);
    nix::ioctl_read_bad!(tiocgserial, libc::TIOCGSERIAL, SerialStruct);
    nix::ioctl_write_ptr_bad!(tiocsserial, libc::TIOCSSERIAL, SerialStruct);
    nix::ioctl_read_bad!(tiocgicount, libc::TIOCGICOUNT, SerialIcounter);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_added_since_is_named() {
        let before = LineErrors { framing: 3, parity: 1, ..LineErrors::default() };
        let now = LineErrors { framing: 5, breaks: 1, ..before };
        assert_eq!(now.since(&before), "2 framing, 1 break");
        assert_eq!(now.since(&now), "");
    }

    #[test]
    fn counters_that_wrapped_are_still_counted_from() {
        let before = LineErrors { overrun: u32::MAX, ..LineErrors::default() };
        let now = LineErrors { overrun: 1, ..LineErrors::default() };
        assert_eq!(now.since(&before), "2 overrun");
    }
}
