//! Modbus TCP through tokio-modbus, a library that the gateway's own listener does not use.
//!
//! Owns one connection: opened on demand, and closed after anything but an answer, because a late reply would be taken
//! for the next one. A request PDU in, a reply PDU out; `modbus_client` handles them. Source: MODBUS Messaging on
//! TCP/IP Implementation Guide V1.0b.

use std::fmt;
use std::io;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_modbus::client::{Client as _, Context, tcp};
use tokio_modbus::prelude::{Slave, SlaveContext};
use tokio_modbus::{Request, Response};

use super::failure::Failure;
use crate::modbus::pdu::{ExceptionCode, RequestPdu, exception_reply};

/// Units behind one address.
pub struct TcpClient {
    host: String,
    port: u16,
    timeout: Duration,
    connection: Option<Context>,
}

impl fmt::Debug for TcpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TcpClient({}:{})", self.host, self.port)
    }
}

impl TcpClient {
    /// Connects, within `timeout`; each request then has the same timeout.
    ///
    /// # Errors
    /// [`Failure::Unreachable`] if the name cannot be resolved or no connection is accepted.
    pub async fn open(host: &str, port: u16, timeout: Duration) -> Result<Self, Failure> {
        let mut client = Self { host: host.to_owned(), port, timeout, connection: None };
        client.connection = Some(client.connect(Instant::now() + timeout).await?);
        Ok(client)
    }

    /// The reply PDU to a request, an exception included.
    pub(super) async fn call(&mut self, unit: u8, pdu: &RequestPdu) -> Result<Bytes, Failure> {
        let deadline = Instant::now() + self.timeout;
        let reused = self.connection.is_some();
        match self.call_once(unit, pdu, deadline).await {
            // A server may have closed an idle connection; only a read may be repeated.
            Err(Failure::Unreachable(_)) if reused && pdu.is_read() => {
                self.call_once(unit, pdu, deadline).await
            }
            answered => answered,
        }
    }

    async fn call_once(&mut self, unit: u8, pdu: &RequestPdu, deadline: Instant) -> Result<Bytes, Failure> {
        let request = Request::try_from(pdu.bytes().clone())
            .map_err(|error| Failure::Malformed(format!("the request cannot be sent: {error}")))?;
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect(deadline).await?,
        };
        connection.set_slave(Slave(unit));
        let answered = timeout_at(deadline, connection.call(request)).await;
        let reply = match answered {
            Err(_) => return Err(Failure::Silent),
            Ok(Err(tokio_modbus::Error::Transport(error))) => return Err(self.broken(&error)),
            Ok(Err(tokio_modbus::Error::Protocol(error))) => {
                return Err(Failure::Malformed(error.to_string()));
            }
            Ok(Ok(Err(code))) => Ok(exception_reply(pdu.function(), ExceptionCode(code.into()))),
            Ok(Ok(Ok(response))) => encode(&response),
        };
        self.connection = Some(connection);
        reply
    }

    async fn connect(&self, deadline: Instant) -> Result<Context, Failure> {
        let address = (self.host.as_str(), self.port);
        let connected = timeout_at(deadline, TcpStream::connect(address)).await;
        let stream = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(|error| {
            let hint = if error.kind() == io::ErrorKind::ConnectionRefused {
                "; nobody listens there"
            } else if error.kind() == io::ErrorKind::TimedOut {
                "; is the address right, and does a firewall let this through?"
            } else {
                ""
            };
            Failure::Unreachable(format!("cannot connect to {}:{}: {error}{hint}", self.host, self.port))
        })?;
        // Requests are small and sent one by one. A system without the option is slower and no worse.
        let _slower = stream.set_nodelay(true);
        Ok(tcp::attach_slave(stream, Slave::tcp_device()))
    }

    /// The failure of a connection that ended, or of bytes that are not Modbus.
    fn broken(&self, error: &io::Error) -> Failure {
        // The end of a connection has other kinds.
        let about_bytes =
            [io::ErrorKind::InvalidData, io::ErrorKind::InvalidInput, io::ErrorKind::UnexpectedEof];
        if about_bytes.contains(&error.kind()) {
            return Failure::Malformed(error.to_string());
        }
        Failure::Unreachable(format!(
            "{}:{} closed the connection without an answer; a gateway may allow only some addresses",
            self.host, self.port
        ))
    }
}

/// The reply PDU, encoded again: the library has no call that returns a PDU as received. It has checked only the
/// function code.
fn encode(response: &Response) -> Result<Bytes, Failure> {
    let mut pdu = BytesMut::new();
    pdu.put_u8(response.function_code().value());
    match response {
        Response::ReadHoldingRegisters(words) | Response::ReadInputRegisters(words) => {
            put_count(&mut pdu, words.len() * 2)?;
            words.iter().for_each(|word| pdu.put_u16(*word));
        }
        Response::ReadCoils(bits) | Response::ReadDiscreteInputs(bits) => {
            put_count(&mut pdu, bits.len() / 8)?;
            let pack = |byte: &[bool]| byte.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
            bits.chunks(8).for_each(|byte| pdu.put_u8(pack(byte)));
        }
        Response::WriteSingleRegister(start, second) | Response::WriteMultipleRegisters(start, second) => {
            pdu.put_u16(*start);
            pdu.put_u16(*second);
        }
        Response::ReportServerId(id, running, data) => {
            put_count(&mut pdu, 2 + data.len())?;
            pdu.put_slice(&[*id, if *running { 0xFF } else { 0 }]);
            pdu.put_slice(data);
        }
        Response::ReadDeviceIdentification(found) => {
            let more = if found.more_follows { 0xFF } else { 0 };
            let level = found.conformity_level.value();
            pdu.put_slice(&[0x0E, found.read_code.value(), level, more, found.next_object_id]);
            put_count(&mut pdu, found.device_id_objects.len())?;
            for object in &found.device_id_objects {
                pdu.put_u8(object.id);
                put_count(&mut pdu, object.value.len())?;
                pdu.put_slice(&object.value);
            }
        }
        Response::WriteSingleCoil(..)
        | Response::WriteMultipleCoils(..)
        | Response::MaskWriteRegister(..)
        | Response::ReadWriteMultipleRegisters(_)
        | Response::Custom(..) => return Err(Failure::Malformed("it is of no kind asked for".to_owned())),
    }
    Ok(pdu.freeze())
}

fn put_count(pdu: &mut BytesMut, count: usize) -> Result<(), Failure> {
    let count = u8::try_from(count).map_err(|_| Failure::Malformed("it is too long".to_owned()))?;
    pdu.put_u8(count);
    Ok(())
}
