//! The status pages as they are drawn.

mod content;
mod markup;
mod style;
