//! Opening a serial port: exclusively, with the settings asked for, read back; direction and latency.
//!
//! A driver may take settings it cannot keep without a word, so on real ports they are read back and a
//! difference keeps the bus down. The same holds for an RS-485 mode that was asked for by name. A pseudo terminal has no baud rate and no parity; that is noted.

use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sys::stat;
use tokio_serial::{
    ClearBuffer, DataBits, FlowControl, SerialPort, SerialPortBuilderExt, SerialStream, StopBits,
};

use super::ioctl::{self, LineErrors, SerialRs485};
use super::settings::{Direction, PortSettings};
use crate::bus::settings::{Framing, Parity};

/// Why a port could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// The system refused.
    System(io::Error),
    /// The driver keeps other settings than those asked for.
    Settings {
        /// What was asked for.
        wanted: Framing,
        /// What the driver says it does.
        found: String,
    },
    /// `direction: rs485` was asked for, and the driver does not do it.
    Direction(String),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(error) => {
                let remedy = if error.kind() == io::ErrorKind::NotFound {
                    "; is the adapter plugged in? `ls -l /dev/serial/by-id` shows what is there"
                } else if error.kind() == io::ErrorKind::PermissionDenied {
                    "; the user this runs as must be in the group that owns the device (dialout)"
                } else {
                    ""
                };
                write!(f, "{error}{remedy}")
            }
            Self::Direction(why) => {
                write!(
                    f,
                    "`direction: rs485`: {why}; an adapter that switches by itself wants `direction: auto`"
                )
            }
            Self::Settings { wanted, found } => {
                write!(f, "the driver does not keep {wanted}: it says {found}; choose settings it supports")
            }
        }
    }
}

impl std::error::Error for OpenError {}

/// An open port and what is worth knowing about it.
#[derive(Debug)]
pub struct OpenPort<S> {
    /// The way to the line.
    pub stream: S,
    /// What is active, for the log.
    pub report: String,
    /// Reads what the driver has counted of the line's faults, where it counts them.
    pub line_errors: fn(&S) -> Option<LineErrors>,
}

/// Opens the port by its name. Must be called inside the runtime.
///
/// # Errors
/// When the system refuses, or the driver does not keep the settings.
pub fn open(settings: &PortSettings) -> Result<OpenPort<SerialStream>, OpenError> {
    let framing = settings.framing;
    let name = settings.device.to_string_lossy();
    let parity = match framing.parity {
        Parity::None => tokio_serial::Parity::None,
        Parity::Even => tokio_serial::Parity::Even,
        Parity::Odd => tokio_serial::Parity::Odd,
    };
    let stop_bits = if framing.stop_bits == 2 { StopBits::Two } else { StopBits::One };
    let stream = tokio_serial::new(name, framing.baud_rate)
        .data_bits(DataBits::Eight)
        .parity(parity)
        .stop_bits(stop_bits)
        .flow_control(FlowControl::None)
        .open_native_async()
        .map_err(system)?;
    let pseudo = is_pseudo_terminal(&settings.device).map_err(OpenError::System)?;
    if !pseudo {
        read_back(&stream, framing, parity, stop_bits)?;
    }
    // What an earlier program left in the buffers is no answer to anything of ours.
    stream.clear(ClearBuffer::All).map_err(system)?;
    let report = if pseudo {
        if settings.direction == Direction::Rs485 {
            return Err(OpenError::Direction(String::from("a pseudo terminal has no direction to switch")));
        }
        format!("{framing}; a pseudo terminal: baud rate and parity mean nothing here")
    } else {
        let direction = switch_direction(&stream, settings.direction)?;
        format!("{framing}, read back; direction: {direction}; low latency: {}", lower_latency(&stream))
    };
    Ok(OpenPort { stream, report, line_errors: |stream| ioctl::line_errors(stream).ok() })
}

/// Has the kernel driver switch between sending and receiving, where that is wanted and it can. Says who does.
fn switch_direction(stream: &SerialStream, wanted: Direction) -> Result<&'static str, OpenError> {
    match (wanted, drive_by_kernel(stream)) {
        (Direction::None, _) => Ok("left as it is"),
        (Direction::Auto | Direction::Rs485, Ok(())) => Ok("the kernel driver (TIOCSRS485, read back)"),
        (Direction::Auto, Err(_)) => Ok("the adapter by itself, the driver offers no RS-485 mode"),
        (Direction::Rs485, Err(why)) => Err(OpenError::Direction(why)),
    }
}

/// RTS high while sending, low while receiving, no delays, nothing received while sending; read back, because
/// a driver may take a mode it does not keep.
fn drive_by_kernel(stream: &SerialStream) -> Result<(), String> {
    let wanted = SerialRs485 {
        flags: ioctl::SER_RS485_ENABLED | ioctl::SER_RS485_RTS_ON_SEND,
        ..SerialRs485::default()
    };
    ioctl::set_rs485(stream, &wanted)
        .map_err(|errno| format!("the driver refuses the RS-485 mode ({})", errno.desc()))?;
    let found = ioctl::rs485(stream).map_err(|errno| format!("it cannot be read back ({})", errno.desc()))?;
    let judged = ioctl::SER_RS485_ENABLED
        | ioctl::SER_RS485_RTS_ON_SEND
        | ioctl::SER_RS485_RTS_AFTER_SEND
        | ioctl::SER_RS485_RX_DURING_TX;
    let same = found.flags & judged == wanted.flags
        && found.delay_rts_before_send == wanted.delay_rts_before_send
        && found.delay_rts_after_send == wanted.delay_rts_after_send;
    if same { Ok(()) } else { Err(format!("the driver keeps another mode: {found:?}")) }
}

/// Asks for short waits between the adapter and the kernel: USB adapters collect bytes for up to 16 ms else.
fn lower_latency(stream: &SerialStream) -> &'static str {
    match ioctl::set_low_latency(stream) {
        Ok(true) => "on",
        Ok(false) => "refused by the driver",
        Err(_) => "not offered by the driver",
    }
}

fn read_back(
    stream: &SerialStream,
    wanted: Framing,
    parity: tokio_serial::Parity,
    stop_bits: StopBits,
) -> Result<(), OpenError> {
    let baud_rate = stream.baud_rate().map_err(system)?;
    let found_parity = stream.parity().map_err(system)?;
    let found_stop_bits = stream.stop_bits().map_err(system)?;
    let data_bits = stream.data_bits().map_err(system)?;
    // A driver reports the rate its divisor gives; two percent is what an asynchronous character bears.
    let close = baud_rate.abs_diff(wanted.baud_rate) <= wanted.baud_rate / 50;
    if close && found_parity == parity && found_stop_bits == stop_bits && data_bits == DataBits::Eight {
        return Ok(());
    }
    let found = format!(
        "{baud_rate} baud, {data_bits} data bits, parity {found_parity}, {found_stop_bits} stop bits"
    );
    Err(OpenError::Settings { wanted, found })
}

/// Whether the device is the end of a pseudo terminal, which has no line settings (Linux: majors 136 to 143).
fn is_pseudo_terminal(device: &Path) -> io::Result<bool> {
    let metadata = std::fs::metadata(device)?;
    Ok((136..=143).contains(&stat::major(metadata.rdev())))
}

fn system(error: tokio_serial::Error) -> OpenError {
    OpenError::System(error.into())
}
