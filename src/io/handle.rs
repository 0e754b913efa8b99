//! The two ends of a request's way: to the task of a bus, and back to the connection that asked.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::sync::{Notify, mpsc};

use crate::bus::request::{Answer, Request};
use crate::bus::settings::UnitId;
use crate::bus::view::View;
use crate::modbus::pdu::ReadRange;

/// Where a reply goes: the way back to one connection, and the connection's own key for the request.
#[derive(Clone, Debug)]
pub struct ReplySender {
    back: Arc<ReplyChannel>,
    key: u64,
}

/// The way back to one connection.
///
/// It never holds more than the connection has in flight, which is why it needs no bound of its own and a bus
/// never waits for a client. A channel of the runtime would do the same with 2 KiB more for each connection.
#[derive(Debug, Default)]
pub struct ReplyChannel {
    answers: Mutex<VecDeque<(u64, Answer)>>,
    arrived: Notify,
    left: AtomicBool,
}

/// The end of the way back that the connection holds. Once it is dropped nobody takes answers any more.
#[derive(Debug)]
pub struct ReplyReceiver(Arc<ReplyChannel>);

impl ReplyChannel {
    /// A way back and its end.
    #[must_use]
    pub fn new() -> (Arc<Self>, ReplyReceiver) {
        let back = Arc::new(Self::default());
        (Arc::clone(&back), ReplyReceiver(back))
    }

    /// The client asks nothing more and most likely has gone: what is not on a wire yet need not go there.
    pub fn leave(&self) {
        self.left.store(true, Ordering::Relaxed);
    }

    fn push(&self, key: u64, answer: Answer) {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).push_back((key, answer));
        self.arrived.notify_one();
    }

    fn pop(&self) -> Option<(u64, Answer)> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

impl ReplyReceiver {
    /// The next answer and the key of its request. Nothing is lost when the wait is given up.
    pub async fn next(&mut self) -> (u64, Answer) {
        loop {
            if let Some(answer) = self.0.pop() {
                return answer;
            }
            // An answer that comes between the look and the wait leaves its notice behind.
            self.0.arrived.notified().await;
        }
    }
}

impl Drop for ReplyReceiver {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl ReplySender {
    /// The way back for the request with the connection's `key`.
    #[must_use]
    pub fn new(back: &Arc<ReplyChannel>, key: u64) -> Self {
        Self { back: Arc::clone(back), key }
    }

    /// Delivers the answer. A client that left in the meantime is no error.
    pub fn send(self, answer: Answer) {
        self.back.push(self.key, answer);
    }

    /// Whether nobody is left who would take the answer.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.back.left.load(Ordering::Relaxed)
    }
}

/// The way to the task of one bus. Clones lead to the same task; it ends when the last of them is dropped.
#[derive(Clone, Debug)]
pub struct BusHandle {
    name: Arc<str>,
    requests: mpsc::Sender<Request<ReplySender>>,
    view: Arc<ArcSwap<View>>,
}

impl BusHandle {
    /// A handle and the end that the bus task reads.
    #[must_use]
    pub fn new(name: &str) -> (Self, mpsc::Receiver<Request<ReplySender>>) {
        let (requests, receiver) = mpsc::channel(BORDER);
        (Self { name: name.into(), requests, view: Arc::default() }, receiver)
    }

    /// Where the bus task publishes. Reading it never delays the task, nor the other way round.
    #[must_use]
    pub fn view(&self) -> &Arc<ArcSwap<View>> {
        &self.view
    }

    /// The reply to a read of `unit` from the snapshot, if what is known is no older than `max_age`. Never
    /// with a `max_age` of zero.
    #[must_use]
    pub fn answer_from_snapshot(
        &self,
        unit: UnitId,
        range: &ReadRange,
        max_age: Duration,
        now: Instant,
    ) -> Option<Bytes> {
        self.view.load().unit(unit)?.snapshot.answer(range, max_age, now)
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
    pub async fn send(&self, request: Request<ReplySender>) -> Result<(), Request<ReplySender>> {
        self.requests.send(request).await.map_err(|error| error.0)
    }
}

/// Requests between two tasks: only a border, emptied at once. The limit users feel is `queue_limit`.
const BORDER: usize = 64;
