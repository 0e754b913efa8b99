//! `read --raw`: registers by their number, as they are.
//!
//! Owns the ranges and their bounds. It knows no profile, so it never joins two registers into a value: each range
//! is one transaction, and what belongs together is together. Numbers count from 1, as they are printed.

use std::time::SystemTime;

use serde::Serialize;

use super::args::meter::Read;
use super::command_error::CommandError;
use super::exit::Exit;
use super::export::{self, csv};
use super::point_selection::registers;
use super::shown::{Shown, Style};
use super::{screen, table};
use crate::client::{Client, Failure};
use crate::modbus::pdu::{FunctionCode, ReadRange};
use crate::runtime::timestamp::utc;

/// Which registers of which unit.
#[derive(Debug)]
pub struct Job {
    target: String,
    unit: u8,
    table: u8,
    ranges: Vec<ReadRange>,
}

/// What one reading brought: for each register its number and what it holds, and what is missing.
struct Found {
    time: String,
    values: Vec<(u32, Option<u16>)>,
    missed: Vec<(String, Failure)>,
}

impl Job {
    /// Checks the ranges.
    ///
    /// # Errors
    /// Wrong usage.
    pub fn new(args: &Read, unit: u8, target: String, words: &[String]) -> Result<Self, CommandError> {
        if words.is_empty() {
            return Err(CommandError::usage("--raw needs register numbers, such as 257-262"));
        }
        let function = if args.table == INPUT_TABLE {
            FunctionCode::READ_INPUT_REGISTERS
        } else {
            FunctionCode::READ_HOLDING_REGISTERS
        };
        let range = |word: &String| range(word, function).map_err(CommandError::usage);
        let ranges = words.iter().map(range).collect::<Result<_, _>>()?;
        Ok(Self { target, unit, table: args.table, ranges })
    }

    /// The names of the columns of a CSV line.
    #[must_use]
    pub fn csv_head(&self) -> String {
        let numbers = self.ranges.iter().flat_map(numbers).map(|number| number.to_string());
        let fixed = ["time", "target", "unit"].map(str::to_owned);
        csv(fixed.into_iter().chain(numbers).chain(["error".to_owned()]))
    }

    /// Reads all ranges once.
    pub async fn once(&self, client: &mut Client, style: Style) -> Shown {
        let mut found = Found { time: utc(SystemTime::now()), values: Vec::new(), missed: Vec::new() };
        for range in &self.ranges {
            let nothing = found.values.iter().all(|(_, value)| value.is_none());
            if nothing && found.missed.last().is_some_and(|(_, failure)| !failure.refuses_range()) {
                // The unit is silent: the rest would only take as long again.
                found.values.extend(numbers(range).map(|number| (number, None)));
                continue;
            }
            let words: Vec<Option<u16>> = match client.read(self.unit, *range).await {
                Ok(answered) => {
                    let pairs = answered.reply[2..].chunks_exact(2);
                    pairs.map(|pair| Some(u16::from_be_bytes([pair[0], pair[1]]))).collect()
                }
                Err(failure) => {
                    found.missed.push((printed(range), failure));
                    vec![None; usize::from(range.quantity)]
                }
            };
            found.values.extend(numbers(range).zip(words));
        }
        let nothing = found.values.iter().all(|(_, value)| value.is_none());
        let complaint = found
            .missed
            .first()
            .filter(|_| nothing)
            .map(|(_, failure)| format!("unit {} at {}: {failure}", self.unit, self.target));
        let text = match style {
            Style::Table if nothing => String::new(),
            Style::Table => self.table(&found),
            Style::Json => self.json(&found),
            Style::Csv => self.csv_line(&found),
        };
        let exit = if found.missed.is_empty() { Exit::Ok } else { Exit::Fault };
        Shown { text, complaint, exit }
    }

    fn table(&self, found: &Found) -> String {
        let head = ["register", "address", "hex", "decimal"].map(str::to_owned).to_vec();
        let row = |(number, value): &(u32, Option<u16>)| {
            let hex = value.map_or("not read".to_owned(), |value| format!("0x{value:04X}"));
            let decimal = value.map_or(String::new(), |value| value.to_string());
            vec![number.to_string(), (number - FIRST_NUMBER).to_string(), hex, decimal]
        };
        let rows: Vec<_> = [head].into_iter().chain(found.values.iter().map(row)).collect();
        let missed = found.missed.iter().map(|(range, failure)| format!("Not read: {range}: {failure}\n"));
        format!(
            "unit {} at {}, table {}, {}\n\n{}{}",
            self.unit,
            self.target,
            self.table,
            found.time,
            table::plain(&rows, screen::width()),
            missed.collect::<String>()
        )
    }

    fn json(&self, found: &Found) -> String {
        let missed = found
            .missed
            .iter()
            .map(|(registers, failure)| JsonMissed { registers, why: failure.to_string() });
        let registers =
            found.values.iter().map(|(register, value)| JsonRegister { register: *register, value: *value });
        export::line(&JsonRaw {
            time: &found.time,
            target: &self.target,
            unit: self.unit,
            table: self.table,
            registers: registers.collect(),
            missed: missed.collect(),
        })
    }

    fn csv_line(&self, found: &Found) -> String {
        let fixed = [found.time.clone(), self.target.clone(), self.unit.to_string()];
        let values =
            found.values.iter().map(|(_, value)| value.map_or(String::new(), |value| value.to_string()));
        let missed = found.missed.iter().map(|(range, failure)| format!("{range}: {failure}"));
        csv(fixed.into_iter().chain(values).chain([missed.collect::<Vec<_>>().join("; ")]))
    }
}

#[derive(Serialize)]
struct JsonRaw<'a> {
    time: &'a str,
    target: &'a str,
    unit: u8,
    table: u8,
    registers: Vec<JsonRegister>,
    missed: Vec<JsonMissed<'a>>,
}

#[derive(Serialize)]
struct JsonRegister {
    register: u32,
    value: Option<u16>,
}

#[derive(Serialize)]
struct JsonMissed<'a> {
    registers: &'a str,
    why: String,
}

fn range(word: &str, function: FunctionCode) -> Result<ReadRange, String> {
    let (first, last) = registers(word)?;
    let start = first.checked_sub(FIRST_NUMBER).and_then(|start| u16::try_from(start).ok());
    let (Some(start), true) = (start, last <= LAST_NUMBER) else {
        return Err(format!(
            "'{word}': register numbers are {FIRST_NUMBER} to {LAST_NUMBER}, one more than addresses"
        ));
    };
    match u16::try_from(last - first + 1) {
        Ok(quantity) if quantity <= MOST_REGISTERS => Ok(ReadRange { function, start, quantity }),
        Ok(_) | Err(_) => Err(format!(
            "'{word}': one read has {MOST_REGISTERS} registers at most; name several ranges, and keep together what \
             belongs together"
        )),
    }
}

fn numbers(range: &ReadRange) -> impl Iterator<Item = u32> + use<> {
    let first = u32::from(range.start) + FIRST_NUMBER;
    first..first + u32::from(range.quantity)
}

fn printed(range: &ReadRange) -> String {
    let first = u32::from(range.start) + FIRST_NUMBER;
    match range.quantity {
        1 => first.to_string(),
        more => format!("{first}-{}", first + u32::from(more) - 1),
    }
}

/// The number of the register at wire address 0.
const FIRST_NUMBER: u32 = 1;

/// The number of the last register there is.
const LAST_NUMBER: u32 = 65_536;

/// Registers of one read (MODBUS Application Protocol V1.1b3, chapters 6.3 and 6.4).
const MOST_REGISTERS: u16 = 125;

/// The table of input registers; the other one is that of holding registers.
const INPUT_TABLE: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_stand_within_the_table_and_one_read() {
        let read = |word| {
            range(word, FunctionCode::READ_HOLDING_REGISTERS).map(|found| (found.start, found.quantity))
        };
        assert_eq!(read("1"), Ok((0, 1)));
        assert_eq!(read("257-262"), Ok((256, 6)));
        assert_eq!(read("65536"), Ok((65535, 1)));
        assert_eq!(read("65412-65536"), Ok((65411, 125)));
        for wrong in ["0", "65537", "65536-65537", "1-126", "5-4", "x", ""] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
