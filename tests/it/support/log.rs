//! What is logged on the thread of a test.
//!
//! Each logging call site caches whether any subscriber is interested, for all threads. A subscriber that a test sets
//! for its own thread would miss a call site that the thread of another test reaches first. So one subscriber receives
//! the events of all threads, and keeps those of threads on which a test requested them.

use std::cell::RefCell;
use std::io;
use std::marker::PhantomData;
use std::sync::Once;

thread_local! {
    static BOOK: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// The lines logged on this thread from now on; forgotten when dropped.
pub(crate) struct Log(PhantomData<*const ()>);

impl Log {
    pub(crate) fn start() -> Self {
        static SUBSCRIBER: Once = Once::new();
        SUBSCRIBER.call_once(|| {
            let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(|| Book).finish();
            tracing::subscriber::set_global_default(subscriber).unwrap();
        });
        let before = BOOK.replace(Some(Vec::new()));
        assert_eq!(before, None, "one log a thread");
        Self(PhantomData)
    }

    pub(crate) fn text(&self) -> String {
        BOOK.with_borrow(|book| String::from_utf8(book.clone().unwrap_or_default()).unwrap())
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        BOOK.set(None);
    }
}

/// Writes into the list of the thread that logs, if it has one.
struct Book;

impl io::Write for Book {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        BOOK.with_borrow_mut(|book| {
            if let Some(book) = book {
                book.extend_from_slice(bytes);
            }
        });
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
