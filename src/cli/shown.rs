//! One result of `read`, and the forms it may be written in.
//!
//! What `read` and `raw` hand over to be printed. Prints nothing.

use super::exit::Exit;

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// For people.
    Table,
    /// One object a reading.
    Json,
    /// One line a reading.
    Csv,
}

/// One reading, ready to be written.
#[derive(Debug)]
pub struct Shown {
    /// The result.
    pub text: String,
    /// What to say of a reading that brought nothing.
    pub complaint: Option<String>,
    /// Whether everything was read.
    pub exit: Exit,
}
