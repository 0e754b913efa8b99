//! A page without an end that is known: bytes handed on as they come to be.
//!
//! Owns the way from whoever makes them to the one viewer, and how much may wait on it. It is opened only once
//! there is a place for the viewer; one that reads slowly holds up nobody but the maker, who notices.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

/// A page that is made while it is read.
#[derive(Clone)]
pub struct Feed(Arc<dyn Fn() -> mpsc::Receiver<Bytes> + Send + Sync>);

impl Feed {
    /// What `open` makes. It is called within the runtime, once for each viewer. The page ends when all senders
    /// of the channel are gone; the viewer has left when it is closed.
    #[must_use]
    pub fn new(open: impl Fn() -> mpsc::Receiver<Bytes> + Send + Sync + 'static) -> Self {
        Self(Arc::new(open))
    }

    /// Begins it.
    #[must_use]
    pub fn open(&self) -> mpsc::Receiver<Bytes> {
        self.0()
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Feed")
    }
}

impl PartialEq for Feed {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Feed {}

/// Pieces of a page that may wait for their viewer.
pub const FEED_PIECES: usize = 4;
