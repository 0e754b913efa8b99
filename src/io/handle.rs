//! The two ends of a request's way: to the task of a bus, and back to the connection that asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;

use crate::bus::request::{Answer, Request};

/// Where a reply goes: the channel of one connection, and the connection's own key for the request.
#[derive(Clone, Debug)]
pub struct ReplyTo {
    back: Arc<WayBack>,
    key: u64,
}

/// The way back to one connection.
#[derive(Debug)]
pub struct WayBack {
    answers: mpsc::UnboundedSender<(u64, Answer)>,
    left: AtomicBool,
}

impl WayBack {
    /// A way back into `answers`. The channel never holds more than its connection has in flight, which is
    /// why it needs no bound of its own and a bus never waits for a client.
    #[must_use]
    pub fn new(answers: mpsc::UnboundedSender<(u64, Answer)>) -> Arc<Self> {
        Arc::new(Self { answers, left: AtomicBool::new(false) })
    }

    /// The client asks nothing more and most likely has gone: what is not on a wire yet need not go there.
    pub fn leave(&self) {
        self.left.store(true, Ordering::Relaxed);
    }
}

impl ReplyTo {
    /// The way back for the request with the connection's `key`.
    #[must_use]
    pub fn new(back: &Arc<WayBack>, key: u64) -> Self {
        Self { back: Arc::clone(back), key }
    }

    /// Delivers the answer. A client that left in the meantime is no error.
    pub fn send(self, answer: Answer) {
        let _ = self.back.answers.send((self.key, answer));
    }

    /// Whether nobody is left who would take the answer.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.back.left.load(Ordering::Relaxed) || self.back.answers.is_closed()
    }
}

/// The way to the task of one bus. Clones lead to the same task; it ends when the last of them is dropped.
#[derive(Clone, Debug)]
pub struct BusHandle {
    name: Arc<str>,
    requests: mpsc::Sender<Request<ReplyTo>>,
}

impl BusHandle {
    /// A handle and the end that the bus task reads.
    #[must_use]
    pub fn new(name: &str) -> (Self, mpsc::Receiver<Request<ReplyTo>>) {
        let (requests, receiver) = mpsc::channel(BORDER);
        (Self { name: name.into(), requests }, receiver)
    }

    /// The bus's name, for logs.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Hands the request to the bus task.
    ///
    /// # Errors
    /// The request itself, if the task has ended.
    pub async fn send(&self, request: Request<ReplyTo>) -> Result<(), Request<ReplyTo>> {
        self.requests.send(request).await.map_err(|error| error.0)
    }
}

/// Requests between two tasks: only a border, emptied at once. The limit users feel is `queue_limit`.
const BORDER: usize = 64;
