//! The bytes of a line: a serial device, or the connection to a server.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_serial::{ClearBuffer, SerialPort, SerialStream};

use crate::serial::ioctl::LineErrors;
use crate::serial::own_connections::OwnConnection;
use crate::serial::{connection, ioctl};

/// An open way to a line.
#[derive(Debug)]
pub enum Transport {
    /// A serial device.
    Device(SerialStream),
    /// A server.
    Connection(Connection),
}

/// A connection to a server.
#[derive(Debug)]
pub struct Connection {
    pub(super) stream: TcpStream,
    /// Keeps it among the gateway's own.
    pub(super) _own: OwnConnection,
}

impl Transport {
    /// The error counters of the driver, if there is one and it has any.
    pub(super) fn line_errors(&self) -> Option<LineErrors> {
        match self {
            Self::Device(stream) => ioctl::line_errors(stream).ok(),
            Self::Connection(_) => None,
        }
    }

    /// Discards bytes that have not been sent.
    pub(super) fn discard(&self) {
        match self {
            // A device that is gone has nothing left to discard.
            Self::Device(stream) => drop(stream.clear(ClearBuffer::Output)),
            Self::Connection(connection) => connection::discard(&connection.stream),
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Device(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Connection(connection) => Pin::new(&mut connection.stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Device(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Connection(connection) => Pin::new(&mut connection.stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Device(stream) => Pin::new(stream).poll_flush(context),
            Self::Connection(connection) => Pin::new(&mut connection.stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Device(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Connection(connection) => Pin::new(&mut connection.stream).poll_shutdown(context),
        }
    }
}
