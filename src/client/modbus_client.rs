//! Requests to a meter, over TCP or a serial line.
//!
//! Owns the requests and the check of their answers: function, length, byte count and, for writes, the echoed address
//! and value. It never repeats a write. Source: MODBUS Application Protocol Specification V1.1b3, chapter 6.

use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};

use super::failure::Failure;
use super::serial::SerialClient;
use super::tcp::TcpClient;
use crate::modbus::pdu::{EXCEPTION_BIT, ExceptionCode, FunctionCode, ReadRange, RequestPdu};
use crate::modbus::reply;

/// The connection to some meters.
#[derive(Debug)]
pub enum Client {
    /// Modbus TCP: a gateway, or a meter with a socket of its own.
    Tcp(TcpClient),
    /// The serial line itself.
    Serial(SerialClient),
}

/// A good reply.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The reply PDU, function code first; it fits its request and is no exception.
    pub reply: Bytes,
    /// When the call was made; its request began to be sent no earlier.
    pub asked_at: Instant,
    /// From then to the reply, waiting for the line included.
    pub took: Duration,
}

/// A unit's reply to 0x11.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerId {
    /// The identifier.
    pub id: u8,
    /// The run indicator: FF on, 00 off.
    pub run: u8,
    /// The rest, as far as it is text.
    pub text: String,
}

/// One object of the reply to 0x2B with MEI type 0x0E.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceObject {
    /// 0 vendor, 1 product, 2 version, and more.
    pub id: u8,
    /// As far as it is text.
    pub text: String,
}

impl Client {
    /// Reads a range of any of the four tables in one transaction.
    ///
    /// # Errors
    /// Why there is no usable answer.
    pub async fn read(&mut self, unit: u8, range: ReadRange) -> Result<Answered, Failure> {
        self.call(unit, range.request()).await
    }

    /// Writes registers in one transaction: 0x06 for one, 0x10 for up to 123. Never repeated.
    ///
    /// # Errors
    /// Why there is no usable answer. Only after [a refusal](Failure::is_refusal) is it certain that nothing was
    /// written.
    pub async fn write_registers(&mut self, unit: u8, start: u16, values: &[u16]) -> Result<(), Failure> {
        let mut pdu = BytesMut::new();
        if let [value] = values {
            pdu.put_u8(FunctionCode::WRITE_SINGLE_REGISTER.0);
            pdu.put_u16(start);
            pdu.put_u16(*value);
        } else {
            let too_many = |_| Failure::Malformed("too many registers for one write".to_owned());
            pdu.put_u8(FunctionCode::WRITE_MULTIPLE_REGISTERS.0);
            pdu.put_u16(start);
            pdu.put_u16(u16::try_from(values.len()).map_err(too_many)?);
            pdu.put_u8(u8::try_from(values.len() * 2).map_err(too_many)?);
            values.iter().for_each(|value| pdu.put_u16(*value));
        }
        self.call(unit, pdu.freeze()).await.map(|_echo| ())
    }

    /// Reads the identifier of a unit (0x11).
    ///
    /// # Errors
    /// Why there is no usable answer.
    pub async fn report_server_id(&mut self, unit: u8) -> Result<ServerId, Failure> {
        let pdu = Bytes::copy_from_slice(&[FunctionCode::REPORT_SERVER_ID.0]);
        let answered = self.call(unit, pdu).await?;
        match answered.reply.as_ref() {
            [_, _, id, run, text @ ..] => Ok(ServerId { id: *id, run: *run, text: words(text) }),
            [..] => Err(Failure::Malformed("it ends before the run indicator".to_owned())),
        }
    }

    /// Reads the basic identification of a unit (0x2B with MEI type 0x0E), in as many transactions as needed.
    ///
    /// # Errors
    /// Why there is no usable answer.
    pub async fn device_identification(&mut self, unit: u8) -> Result<Vec<DeviceObject>, Failure> {
        let mut objects = Vec::new();
        let mut next = 0;
        for _ in 0..MOST_PARTS {
            let pdu = [FunctionCode::ENCAPSULATED_INTERFACE.0, 0x0E, BASIC, next];
            let reply = self.call(unit, Bytes::copy_from_slice(&pdu)).await?.reply;
            let short = || Failure::Malformed("it ends inside an object".to_owned());
            let head = reply.get(..7).ok_or_else(short)?;
            let mut rest = &reply[7..];
            for _ in 0..head[6] {
                let (object, after) = rest.split_at_checked(2).ok_or_else(short)?;
                let (text, after) = after.split_at_checked(usize::from(object[1])).ok_or_else(short)?;
                objects.push(DeviceObject { id: object[0], text: words(text) });
                rest = after;
            }
            // Some devices announce more and name an object they have already sent.
            if head[4] != MORE_FOLLOWS || head[5] <= next {
                return Ok(objects);
            }
            next = head[5];
        }
        Ok(objects)
    }

    /// Ends the connection, or frees the port.
    pub async fn close(self) {
        match self {
            Self::Tcp(client) => drop(client),
            Self::Serial(client) => client.close().await,
        }
    }

    async fn call(&mut self, unit: u8, pdu: Bytes) -> Result<Answered, Failure> {
        let request = RequestPdu::decode(pdu).map_err(|code: ExceptionCode| {
            Failure::Malformed(format!("the standard forbids the request: {code}"))
        })?;
        let asked_at = Instant::now();
        let reply = match self {
            Self::Tcp(client) => client.call(unit, &request).await?,
            Self::Serial(client) => client.call(unit, &request).await?,
        };
        let took = asked_at.elapsed();
        if !reply::answers(&request, &reply) {
            return Err(Failure::Malformed(
                "its length, address or value is not what was asked for".to_owned(),
            ));
        }
        match reply.as_ref() {
            [function, code] if function & EXCEPTION_BIT != 0 => {
                Err(Failure::Exception(ExceptionCode(*code)))
            }
            [..] => Ok(Answered { reply, asked_at, took }),
        }
    }
}

/// Text of a meter, sanitised for display: bytes that are not text or would control a terminal are replaced.
fn words(bytes: &[u8]) -> String {
    let shown = |letter: char| if letter.is_control() { char::REPLACEMENT_CHARACTER } else { letter };
    String::from_utf8_lossy(bytes).trim_end_matches('\0').chars().map(shown).collect()
}

/// The read device id code of the basic objects.
const BASIC: u8 = 0x01;

/// More answers follow.
const MORE_FOLLOWS: u8 = 0xFF;

/// Largest number of answers of one identification.
const MOST_PARTS: usize = 8;
