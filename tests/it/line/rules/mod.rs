//! The decisions of a line, one rule each, with instants by hand: 19200 baud, 8N1, instants in milliseconds
//! from the opening of the port. A request of eight bytes takes 4.2 ms, the silence before it 2.0 ms.

mod answers;
pub(crate) mod bench;
mod echo;
mod fairness;
mod gaps;
mod health;
mod health_rules;
mod limits;
mod misfits;
mod modbus_tcp;
mod records;
mod reload;
mod sharing;
