//! The two ends of a request's way: to the task of a bus, and back to the connection that asked. Also where the task
//! panics, each request gets an answer.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::sync::{Notify, mpsc};

use crate::bus::request::{Answer, Request};
use crate::bus::settings::UnitId;
use crate::bus::view::View;
use crate::modbus::pdu::{ExceptionCode, ReadRange};

/// Where a reply goes: the way back to one connection, and the connection's own key for the request.
///
/// A request is always answered: when the last clone is dropped without an answer, as by a bus task that panics,
/// the answer is 0x0A.
#[derive(Clone, Debug)]
pub struct ReplyTo(Arc<OpenReply>);

/// One answer that is owed to a connection.
#[derive(Debug)]
struct OpenReply {
    back: Arc<WayBack>,
    key: u64,
    is_settled: AtomicBool,
}

/// The way back to one connection.
///
/// It never holds more than the connection has in flight, which is why it needs no bound of its own and a bus
/// never waits for a client. A channel of the runtime would do the same with 2 KiB more for each connection.
#[derive(Debug, Default)]
pub struct WayBack {
    answers: Mutex<VecDeque<(u64, Answer)>>,
    arrived: Notify,
    left: AtomicBool,
}

/// The end of the way back that the connection holds. Once it is dropped nobody takes answers any more.
#[derive(Debug)]
pub struct Answers(Arc<WayBack>);

impl WayBack {
    /// A way back and its end.
    #[must_use]
    pub fn new() -> (Arc<Self>, Answers) {
        let back = Arc::new(Self::default());
        (Arc::clone(&back), Answers(back))
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

impl Answers {
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

impl Drop for Answers {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl ReplyTo {
    /// The way back for the request with the connection's `key`.
    #[must_use]
    pub fn new(back: &Arc<WayBack>, key: u64) -> Self {
        Self(Arc::new(OpenReply { back: Arc::clone(back), key, is_settled: AtomicBool::new(false) }))
    }

    /// Delivers the answer. A client that left in the meantime is no error.
    pub fn send(self, answer: Answer) {
        if !self.0.is_settled.swap(true, Ordering::Relaxed) {
            self.0.back.push(self.0.key, answer);
        }
    }

    /// Whether nobody is left who would take the answer.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.0.back.left.load(Ordering::Relaxed)
    }

    /// The connection answers the request itself.
    fn settle(&self) {
        self.0.is_settled.store(true, Ordering::Relaxed);
    }
}

impl Drop for OpenReply {
    fn drop(&mut self) {
        if !*self.is_settled.get_mut() {
            // Whether it was sent is not known.
            self.back.push(self.key, Answer::NoAnswer(ExceptionCode::GATEWAY_PATH_UNAVAILABLE));
        }
    }
}

/// The way to the task of one bus. Clones lead to the same task; it ends when the last of them is dropped.
#[derive(Clone, Debug)]
pub struct BusHandle {
    name: Arc<str>,
    requests: Arc<ArcSwap<Requests>>,
    view: Arc<ArcSwap<View>>,
}

type Requests = mpsc::Sender<Request<ReplyTo>>;

/// Connects the handles of a bus to a task that takes the place of one that panicked.
#[derive(Debug)]
pub struct Reconnect(Weak<ArcSwap<Requests>>);

impl Reconnect {
    /// What the handles send from now on. `None` if there is no handle left.
    #[must_use]
    pub fn reconnect(&self) -> Option<mpsc::Receiver<Request<ReplyTo>>> {
        let handles = self.0.upgrade()?;
        let (requests, receiver) = mpsc::channel(BORDER);
        handles.store(Arc::new(requests));
        Some(receiver)
    }
}

impl BusHandle {
    /// A handle and the end that the bus task reads.
    #[must_use]
    pub fn new(name: &str) -> (Self, mpsc::Receiver<Request<ReplyTo>>) {
        let (requests, receiver) = mpsc::channel(BORDER);
        let requests = Arc::new(ArcSwap::from_pointee(requests));
        (Self { name: name.into(), requests, view: Arc::default() }, receiver)
    }

    /// For whoever starts the task anew.
    #[must_use]
    pub fn reconnect(&self) -> Reconnect {
        Reconnect(Arc::downgrade(&self.requests))
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
    /// The request itself, if the task has ended; it is then for the caller to answer.
    pub async fn send(&self, request: Request<ReplyTo>) -> Result<(), Request<ReplyTo>> {
        let sent = self.requests.load_full().send(request).await;
        sent.map_err(|error| error.0).inspect_err(|request| request.to.settle())
    }
}

/// Requests between two tasks: only a border, emptied at once. The limit users feel is `queue_limit`.
const BORDER: usize = 64;
