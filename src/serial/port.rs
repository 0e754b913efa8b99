//! Opening a port: a serial device exclusively, with its settings read back, direction and latency; or the connection
//! to a server.
//!
//! A driver may silently keep other settings than the requested ones, so on real ports they are read back and a
//! difference keeps the bus down. The same holds for `direction: rs485`. A pseudo terminal has no baud rate and no
//! parity; the report states that.

use std::fmt;
use std::future::{self, Future};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use nix::sys::stat;
use tokio_serial::{
    ClearBuffer, DataBits, FlowControl, SerialPort, SerialPortBuilderExt, SerialStream, StopBits,
};

use crate::line::{Framing, Parity};
use crate::serial::connection::{Acceptance, ConnectError};
use crate::serial::direction::DirectionError;
use crate::serial::ioctl::{LineErrors, SerialRs485};
use crate::serial::name_lookup::NameLookup;
use crate::serial::own_connections::OwnConnections;
use crate::serial::settings::{Direction, PortDevice, PortSettings, ServerAddress};
use crate::serial::transport::{Connection, Transport};
use crate::serial::{connection, direction, ioctl};

/// Why a port could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// An error of the system.
    System(io::Error),
    /// The device exists, and another program has it open.
    Busy,
    /// The driver keeps other settings than the requested ones.
    Settings {
        /// The requested settings.
        wanted: Framing,
        /// The settings the driver reports.
        found: String,
    },
    /// `direction: rs485` was requested, and the driver does not support it.
    Direction(DirectionError),
    /// There is no connection to the server.
    Connection(ConnectError),
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
            Self::Busy => f.write_str("another program has it open, `fuser -v` with its name tells which"),
            Self::Direction(why) => {
                write!(
                    f,
                    "`direction: rs485`: {why}; an adapter that switches by itself wants `direction: auto`"
                )
            }
            Self::Settings { wanted, found } => {
                write!(f, "the driver does not keep {wanted}: it says {found}; choose settings it supports")
            }
            Self::Connection(why) => why.fmt(f),
        }
    }
}

impl std::error::Error for OpenError {}

/// An open port and its properties.
#[derive(Debug)]
pub struct OpenPort<S> {
    /// The byte stream of the line.
    pub stream: S,
    /// What is active, for the log.
    pub report: String,
    /// Reads the driver's error counters, if it has any.
    pub line_errors: fn(&S) -> Option<LineErrors>,
    /// Discards bytes that have not been sent: closing a serial port waits for them, up to half a minute, and closing a
    /// connection leaves them on their way.
    pub discard: fn(&S),
}

/// The opening of a port, under way.
pub type Opening = Pin<Box<dyn Future<Output = Result<OpenPort<Transport>, OpenError>> + Send>>;

/// Opens the port of a bus task each time it has none: the first time by returning `opened`, if there is one.
pub fn opener(
    settings: PortSettings,
    response_timeout: Duration,
    mut opened: Option<OpenPort<Transport>>,
) -> impl FnMut(Acceptance) -> Opening + Send {
    let network = Network::default();
    move |acceptance| match opened.take() {
        Some(port) => Box::pin(future::ready(Ok(port))),
        None => Box::pin(open(settings.clone(), response_timeout, network.clone(), acceptance)),
    }
}

/// What connections to servers share. Clones share it, too.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// The lookups of one port.
    pub lookup: NameLookup,
    /// The connections of one gateway.
    pub own: OwnConnections,
}

/// Opens the port by its name. Must be called inside the runtime. A device is opened at once, without waiting; the
/// connection to a server is given up if nothing sent is acknowledged for 3 s, or two response timeouts if that
/// is longer. `acceptance` is for Modbus TCP servers, whose answers name their requests; that of a serial server is
/// always awaited.
///
/// # Errors
/// If the system refuses, the driver does not keep the settings, or the server cannot be reached.
pub async fn open(
    settings: PortSettings,
    response_timeout: Duration,
    network: Network,
    acceptance: Acceptance,
) -> Result<OpenPort<Transport>, OpenError> {
    let (transport, report) = match &settings.device {
        PortDevice::Path(device) => open_device(device, &settings)?,
        PortDevice::Server(server) => {
            let connected = open_connection(server, Acceptance::Awaited, response_timeout, &network).await?;
            let report = format!(
                "connected to {}; {} is what wire times are estimated with, the serial server has its own settings",
                connected.peer, settings.framing
            );
            (connected.transport, report)
        }
        PortDevice::ModbusTcp(server) => {
            let connected = open_connection(server, acceptance, response_timeout, &network).await?;
            (connected.transport, format!("connected to {}", connected.peer))
        }
    };
    Ok(OpenPort {
        stream: transport,
        report,
        line_errors: Transport::line_errors,
        discard: Transport::discard,
    })
}

struct Connected {
    transport: Transport,
    peer: SocketAddr,
}

async fn open_connection(
    server: &ServerAddress,
    acceptance: Acceptance,
    response_timeout: Duration,
    network: &Network,
) -> Result<Connected, OpenError> {
    let connected = connection::connect(server, acceptance, response_timeout, &network.lookup).await;
    let stream = connected.map_err(OpenError::Connection)?;
    let peer = stream.peer_addr().map_err(OpenError::System)?;
    let local = stream.local_addr().map_err(OpenError::System)?;
    let own = network.own.add(local, peer);
    Ok(Connected { transport: Transport::Connection(Connection { stream, _own: own }), peer })
}

fn open_device(device: &Path, settings: &PortSettings) -> Result<(Transport, String), OpenError> {
    let framing = settings.framing;
    let stream = tokio_serial::new(device.to_string_lossy(), framing.baud_rate)
        .data_bits(DataBits::Eight)
        .parity(parity(framing))
        .stop_bits(stop_bits(framing))
        .flow_control(FlowControl::None)
        .open_native_async()
        .map_err(|error| cannot_open(error, device))?;
    let pseudo = is_pseudo_terminal(device).map_err(OpenError::System)?;
    if !pseudo {
        check_kept(framing, &ActualSettings::read(&stream).map_err(system)?)?;
    }
    // Bytes left in the buffers by an earlier program answer no request of ours.
    stream.clear(ClearBuffer::All).map_err(system)?;
    let report = if pseudo {
        if settings.direction == Direction::Rs485 {
            return Err(OpenError::Direction(DirectionError::PseudoTerminal));
        }
        format!("{framing}; a pseudo terminal: baud rate and parity mean nothing here")
    } else {
        let get = || ioctl::rs485(&stream);
        let set = |mode: &SerialRs485| ioctl::set_rs485(&stream, mode);
        let direction = direction::switch(settings.direction, get, set).map_err(OpenError::Direction)?;
        format!("{framing}, read back; direction: {direction}; low latency: {}", lower_latency(&stream))
    };
    Ok((Transport::Device(stream), report))
}

/// Why an open port was lost, in words.
pub(super) fn describe_loss(device: &PortDevice, error: &io::Error) -> String {
    match device {
        PortDevice::Path(_) if error.kind() == io::ErrorKind::UnexpectedEof => {
            "the device has gone".to_owned()
        }
        PortDevice::Path(_) => error.to_string(),
        PortDevice::Server(_) => connection::describe_loss("the serial server", error),
        PortDevice::ModbusTcp(_) => connection::describe_loss("the Modbus TCP server", error),
    }
}

/// Requests low latency between the adapter and the kernel: USB adapters otherwise collect bytes for up to 16 ms.
fn lower_latency(stream: &SerialStream) -> &'static str {
    match ioctl::set_low_latency(stream) {
        Ok(true) => "on",
        Ok(false) => "refused by the driver",
        Err(_) => "not offered by the driver",
    }
}

/// The settings the driver reports.
struct ActualSettings {
    baud_rate: u32,
    data_bits: DataBits,
    parity: tokio_serial::Parity,
    stop_bits: StopBits,
}

impl ActualSettings {
    fn read(stream: &SerialStream) -> tokio_serial::Result<Self> {
        Ok(Self {
            baud_rate: stream.baud_rate()?,
            data_bits: stream.data_bits()?,
            parity: stream.parity()?,
            stop_bits: stream.stop_bits()?,
        })
    }
}

/// Whether the driver keeps the requested settings.
fn check_kept(wanted: Framing, found: &ActualSettings) -> Result<(), OpenError> {
    let ActualSettings { baud_rate, data_bits, parity: found_parity, stop_bits: found_stop_bits } = *found;
    // A driver reports the rate its divisor yields; an asynchronous character tolerates two percent.
    let close = baud_rate.abs_diff(wanted.baud_rate) <= wanted.baud_rate / 50;
    let same = found_parity == parity(wanted)
        && found_stop_bits == stop_bits(wanted)
        && data_bits == DataBits::Eight;
    if close && same {
        return Ok(());
    }
    let found = format!(
        "{baud_rate} baud, {} data bits, parity {found_parity}, {} stop bits",
        u8::from(data_bits),
        u8::from(found_stop_bits)
    );
    Err(OpenError::Settings { wanted, found })
}

fn parity(framing: Framing) -> tokio_serial::Parity {
    match framing.parity {
        Parity::None => tokio_serial::Parity::None,
        Parity::Even => tokio_serial::Parity::Even,
        Parity::Odd => tokio_serial::Parity::Odd,
    }
}

fn stop_bits(framing: Framing) -> StopBits {
    if framing.stop_bits == 2 { StopBits::Two } else { StopBits::One }
}

/// Whether the device is one end of a pseudo terminal, which has no line settings (Linux: majors 136 to 143).
fn is_pseudo_terminal(device: &Path) -> io::Result<bool> {
    let metadata = std::fs::metadata(device)?;
    Ok((136..=143).contains(&stat::major(metadata.rdev())))
}

fn system(error: tokio_serial::Error) -> OpenError {
    OpenError::System(error.into())
}

/// The library reports a device that another program has locked or opened exclusively as missing.
fn cannot_open(error: tokio_serial::Error, device: &Path) -> OpenError {
    if error.kind == tokio_serial::ErrorKind::NoDevice && device.exists() {
        OpenError::Busy
    } else {
        system(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: Framing = Framing { baud_rate: 19200, parity: Parity::Even, stop_bits: 1 };

    fn found() -> ActualSettings {
        ActualSettings {
            baud_rate: 19200,
            data_bits: DataBits::Eight,
            parity: tokio_serial::Parity::Even,
            stop_bits: StopBits::One,
        }
    }

    #[test]
    fn a_baud_rate_within_two_percent_is_kept_and_one_beyond_is_not() {
        for (baud_rate, keeps) in [(19200, true), (19584, true), (18816, true), (19585, false), (9600, false)]
        {
            let judged = check_kept(WANTED, &ActualSettings { baud_rate, ..found() });
            assert_eq!(judged.is_ok(), keeps, "{baud_rate}");
        }
    }

    #[test]
    fn each_setting_that_is_not_kept_keeps_the_bus_down_and_is_named() {
        let others = [
            (ActualSettings { parity: tokio_serial::Parity::None, ..found() }, "parity None"),
            (ActualSettings { stop_bits: StopBits::Two, ..found() }, "2 stop bits"),
            (ActualSettings { data_bits: DataBits::Seven, ..found() }, "7 data bits"),
        ];
        for (other, named) in others {
            let said = check_kept(WANTED, &other).unwrap_err().to_string();
            assert!(said.contains("does not keep 19200 8E1") && said.contains(named), "{said}");
        }
    }

    #[test]
    fn a_device_that_is_there_but_locked_is_told_from_one_that_is_not_there() {
        let locked = || {
            tokio_serial::Error::new(tokio_serial::ErrorKind::NoDevice, "Unable to acquire exclusive lock")
        };
        let (there, gone) = (Path::new("/dev/null"), Path::new("/dev/ttyUSB-gone"));
        assert!(cannot_open(locked(), there).to_string().contains("another program has it open"));
        assert!(cannot_open(locked(), gone).to_string().contains("plugged in"));
        let absent = tokio_serial::ErrorKind::Io(io::ErrorKind::NotFound);
        let absent = cannot_open(tokio_serial::Error::new(absent, "No such file or directory"), gone);
        assert!(absent.to_string().contains("plugged in"), "{absent}");
    }
}
