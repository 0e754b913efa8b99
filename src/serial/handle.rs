//! The channels of a request: to the task of a bus, and back to its connection. Each request is answered, even if the
//! task panics.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc};

use crate::line::{Answer, BusId, ListenerId, Now, Request, UnitId, View};
use crate::modbus::pdu::{ExceptionCode, ReadRange};

/// Where a reply goes: the channel of one connection, and the connection's own key for the request.
///
/// Sends exactly one answer. Dropped without one, it sends one itself. A bus drops requests that are not on its wire
/// once the client [is gone](Self::is_gone): those were never sent, which only matters for the record of a write. In
/// every other case the task of the bus panicked or ended: the answer is 0x0A, and whether the request was sent is
/// unknown.
#[derive(Debug)]
pub struct ReplySender {
    channel: Arc<ReplyChannel>,
    key: u64,
    is_answered: bool,
    outlives_next: bool,
}

/// The channel of answers to one connection, and the state of its client.
///
/// It never holds more answers than the connection has requests in flight, so it needs no bound of its own and a bus
/// never waits for a client. A channel of tokio would do the same with 2 KiB more for each connection.
#[derive(Debug, Default)]
pub struct ReplyChannel {
    answers: Mutex<VecDeque<(u64, Answer)>>,
    arrived: Notify,
    half_closed: AtomicBool,
    gone: AtomicBool,
    /// The client has given up on the requests with smaller keys.
    superseded: AtomicU64,
}

/// The receiving end of a [`ReplyChannel`], held by the connection. Once it is dropped the client counts as gone.
#[derive(Debug)]
pub struct ReplyReceiver(Arc<ReplyChannel>);

impl ReplyChannel {
    /// A channel and its receiving end.
    #[must_use]
    pub fn new() -> (Arc<Self>, ReplyReceiver) {
        let channel = Arc::new(Self::default());
        (Arc::clone(&channel), ReplyReceiver(channel))
    }

    /// The client closed its sending side: it may still wait for answers, or have left.
    pub fn half_close(&self) {
        self.half_closed.store(true, Ordering::Relaxed);
        DEPARTURES.fetch_add(1, Ordering::Release);
    }

    /// The client cannot be answered any more: requests not on a wire yet need not be sent.
    pub fn leave(&self) {
        self.gone.store(true, Ordering::Relaxed);
        DEPARTURES.fetch_add(1, Ordering::Release);
    }

    /// The client waits no more for the answers to requests with keys smaller than `key`: those not on a wire yet need
    /// not be sent.
    pub fn supersede(&self, key: u64) {
        self.superseded.store(key, Ordering::Relaxed);
        DEPARTURES.fetch_add(1, Ordering::Release);
    }

    fn push(&self, key: u64, answer: Answer) {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).push_back((key, answer));
        self.arrived.notify_one();
    }

    fn pop(&self) -> Option<(u64, Answer)> {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = answers.pop_front();
        if answers.is_empty() && answers.capacity() > IDLE_ANSWERS {
            // With hundreds of connections the capacity left by a burst adds up.
            *answers = VecDeque::new();
        }
        answer
    }
}

impl ReplyReceiver {
    /// The next answer and the key of its request. Cancel safe.
    pub async fn next(&mut self) -> (u64, Answer) {
        loop {
            if let Some(answer) = self.0.pop() {
                return answer;
            }
            // `notify_one` stores a permit, so an answer that arrives before this line is not missed.
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
    /// For the request with the connection's `key`.
    #[must_use]
    pub fn new(channel: &Arc<ReplyChannel>, key: u64) -> Self {
        Self { channel: Arc::clone(channel), key, is_answered: false, outlives_next: false }
    }

    /// The same, for a broadcast: no client waits for its answer, so its next request does not supersede it.
    #[must_use]
    pub fn outliving_next(mut self) -> Self {
        self.outlives_next = true;
        self
    }

    /// Delivers the answer. A client that left in the meantime is no error.
    pub fn send(mut self, answer: Answer) {
        self.deliver(answer);
    }

    /// The connection's key for the request.
    #[must_use]
    pub fn key(&self) -> u64 {
        self.key
    }

    /// Whether the client does not wait for this answer any more: the connection was reset, a reply could not be written,
    /// or its next request [superseded](ReplyChannel::supersede) this one. Requests not on the wire are dropped then.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        let is_superseded =
            || !self.outlives_next && self.key < self.channel.superseded.load(Ordering::Relaxed);
        self.channel.gone.load(Ordering::Relaxed) || is_superseded()
    }

    /// Whether the client closed its sending side. It may still wait for its answers.
    #[must_use]
    pub fn is_half_closed(&self) -> bool {
        self.channel.half_closed.load(Ordering::Relaxed)
    }

    fn deliver(&mut self, answer: Answer) {
        self.is_answered = true;
        self.channel.push(self.key, answer);
    }
}

impl Drop for ReplySender {
    fn drop(&mut self) {
        if self.is_answered {
            return;
        }
        let was_discarded = self.is_gone() && !thread::panicking();
        self.deliver(if was_discarded {
            Answer::NotSent(ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND)
        } else {
            Answer::NoAnswer(ExceptionCode::GATEWAY_PATH_UNAVAILABLE)
        });
    }
}

/// How many clients of this process have left or closed their sending side so far. A bus searches its queue only when
/// this has changed.
pub(super) fn departures() -> u64 {
    DEPARTURES.load(Ordering::Acquire)
}

static DEPARTURES: AtomicU64 = AtomicU64::new(0);

/// The channel to the task of one bus. Clones lead to the same task; it ends when the last of them is dropped.
#[derive(Clone, Debug)]
pub struct BusHandle {
    id: BusId,
    name: Arc<str>,
    requests: Arc<ArcSwap<Requests>>,
    view: Arc<ArcSwap<View>>,
}

type Requests = mpsc::Sender<Request<ReplySender>>;

/// Connects the handles of a bus to the task that replaces one that panicked.
#[derive(Debug)]
pub struct Reconnect(Weak<ArcSwap<Requests>>);

impl Reconnect {
    /// The receiving end of what the handles send from now on. `None` if no handle is left.
    #[must_use]
    pub fn reconnect(&self) -> Option<mpsc::Receiver<Request<ReplySender>>> {
        let handles = self.0.upgrade()?;
        let (requests, receiver) = mpsc::channel(BORDER);
        handles.store(Arc::new(requests));
        Some(receiver)
    }
}

impl BusHandle {
    /// A handle and the end that the bus task reads.
    #[must_use]
    pub fn new(id: BusId, name: &str) -> (Self, mpsc::Receiver<Request<ReplySender>>) {
        let (requests, receiver) = mpsc::channel(BORDER);
        let requests = Arc::new(ArcSwap::from_pointee(requests));
        (Self { id, name: name.into(), requests, view: Arc::default() }, receiver)
    }

    /// For the supervisor that restarts the task.
    #[must_use]
    pub fn reconnect(&self) -> Reconnect {
        Reconnect(Arc::downgrade(&self.requests))
    }

    /// The view the bus task publishes. Reading it never delays the task, nor the other way round.
    #[must_use]
    pub fn view(&self) -> &Arc<ArcSwap<View>> {
        &self.view
    }

    /// The reply to a read of `unit` from the snapshot, if its data is no older than `max_age`. Never with a `max_age`
    /// of zero. `listener` is the one at which the read arrived.
    #[must_use]
    pub fn answer_from_snapshot(
        &self,
        unit: UnitId,
        range: &ReadRange,
        listener: ListenerId,
        max_age: Duration,
        now: Now,
    ) -> Option<Bytes> {
        self.view.load().unit(unit)?.snapshot.answer(range, max_age, listener, now)
    }

    /// The same bus under another name.
    #[must_use]
    pub fn renamed(&self, name: &str) -> Self {
        Self { name: name.into(), ..self.clone() }
    }

    /// Which bus.
    #[must_use]
    pub fn id(&self) -> BusId {
        self.id
    }

    /// The bus's name, for logs.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sends the request to the bus task.
    ///
    /// # Errors
    /// The request itself, if the task has ended.
    pub async fn send(&self, request: Request<ReplySender>) -> Result<(), Request<ReplySender>> {
        self.requests.load_full().send(request).await.map_err(|error| error.0)
    }

    /// Sends the request to the bus task if its channel has capacity, without waiting.
    #[must_use]
    pub fn try_send(&self, request: Request<ReplySender>) -> Offer {
        match self.requests.load().try_send(request) {
            Ok(()) => Offer::Taken,
            Err(TrySendError::Full(request)) => Offer::Full(request),
            Err(TrySendError::Closed(request)) => Offer::Stopped(request),
        }
    }

    /// Waits for capacity for one request, in the order of the calls; `None` if the task has ended.
    pub async fn reserve(self) -> Option<ReservedSlot> {
        let requests = Requests::clone(&self.requests.load());
        requests.reserve_owned().await.ok().map(ReservedSlot)
    }

    /// Whether both lead to the same bus.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.requests, &other.requests)
    }
}

/// The outcome of a request that was offered to a bus task.
#[derive(Debug)]
pub enum Offer {
    /// The task has accepted it.
    Taken,
    /// The channel is full at the moment.
    Full(Request<ReplySender>),
    /// The task has ended.
    Stopped(Request<ReplySender>),
}

/// Capacity for one request.
#[derive(Debug)]
pub struct ReservedSlot(mpsc::OwnedPermit<Request<ReplySender>>);

impl ReservedSlot {
    /// Hands the request to the bus task.
    pub fn send(self, request: Request<ReplySender>) {
        self.0.send(request);
    }
}

/// Capacity of the channel between two tasks, which is emptied at once. The limit users notice is `queue_limit`.
const BORDER: usize = 64;

/// A list of answers with a larger capacity is freed once it is empty.
const IDLE_ANSWERS: usize = 4;
