//! Bytes in hexadecimal digits, as every Modbus tool prints them.

use std::fmt::{self, Display, UpperHex};

/// Displayed with spaces, `01 0B FF`; as `{:X}` without, `010BFF`.
#[derive(Clone, Copy, Debug)]
pub struct Hex<'a>(pub &'a [u8]);

impl Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            let gap = if index == 0 { "" } else { " " };
            write!(f, "{gap}{byte:02X}")?;
        }
        Ok(())
    }
}

impl UpperHex for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_printed_as_every_modbus_tool_prints_them() {
        let bytes = Hex(&[0x01, 0x0b, 0xff]);
        assert_eq!((bytes.to_string(), format!("{bytes:X}")), ("01 0B FF".to_owned(), "010BFF".to_owned()));
        assert_eq!(Hex(&[]).to_string(), "");
    }
}
