//! Requests on their way to the task of a bus.
//!
//! The channel of a bus nearly always has capacity, and nothing waits here. A bus that receives nothing delays only its
//! own requests.

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use tracing::debug;

use crate::line::{Answer, Request};
use crate::modbus::pdu::ExceptionCode;
use crate::serial::{BusHandle, Offer, ReplySender, ReservedSlot};

/// The requests of one connection that do not fit a bus's channel yet. At most as many as are in flight, times the
/// buses for broadcasts.
#[derive(Debug, Default)]
pub(super) struct Handover {
    queues: Vec<BusQueue>,
}

/// The requests that wait for one bus, in order.
struct BusQueue {
    bus: BusHandle,
    waiting: VecDeque<Request<ReplySender>>,
    /// Keeps its place in the order of those that wait for capacity.
    slot: Pin<Box<dyn Future<Output = Option<ReservedSlot>> + Send>>,
}

impl fmt::Debug for BusQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BusQueue")
            .field("bus", &self.bus)
            .field("waiting", &self.waiting)
            .finish_non_exhaustive()
    }
}

impl Handover {
    /// Sends a request to its bus, at once or as soon as its channel has capacity. If the bus is being stopped, it is
    /// answered 0x0A.
    pub(super) fn send(&mut self, bus: &BusHandle, request: Request<ReplySender>) {
        if let Some(queue) = self.queues.iter_mut().find(|queue| queue.bus.is_same(bus)) {
            return queue.waiting.push_back(request);
        }
        match bus.try_send(request) {
            Offer::Taken => {}
            Offer::Stopped(request) => refuse(bus, request),
            Offer::Full(request) => {
                let slot = Box::pin(bus.clone().reserve());
                self.queues.push(BusQueue { bus: bus.clone(), waiting: VecDeque::from([request]), slot });
            }
        }
    }

    /// Waits until a bus accepts a waiting request. Cancel safe: no place in the order is lost.
    pub(super) async fn advance(&mut self) {
        poll_fn(|context| self.poll_advance(context)).await;
    }

    /// Removes the request of this key, if it still waits here.
    pub(super) fn withdraw(&mut self, key: u64) -> Option<Request<ReplySender>> {
        let position = |queue: &BusQueue| queue.waiting.iter().position(|request| request.to.key() == key);
        let (index, at) =
            self.queues.iter().enumerate().find_map(|(index, queue)| Some((index, position(queue)?)))?;
        let request = self.queues[index].waiting.remove(at);
        if self.queues[index].waiting.is_empty() {
            self.queues.swap_remove(index);
        }
        request
    }

    /// Drops all waiting requests.
    pub(super) fn clear(&mut self) {
        self.queues.clear();
    }

    fn poll_advance(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut has_moved = false;
        self.queues.retain_mut(|queue| {
            while let Poll::Ready(slot) = queue.slot.as_mut().poll(context) {
                has_moved = true;
                let Some(slot) = slot else {
                    queue.waiting.drain(..).for_each(|request| refuse(&queue.bus, request));
                    return false;
                };
                if let Some(request) = queue.waiting.pop_front() {
                    slot.send(request);
                }
                if queue.waiting.is_empty() {
                    return false;
                }
                queue.slot = Box::pin(queue.bus.clone().reserve());
            }
            true
        });
        if self.queues.is_empty() {
            self.queues = Vec::new();
        }
        if has_moved { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// Through the request's own channel, as its bus would.
fn refuse(bus: &BusHandle, request: Request<ReplySender>) {
    debug!(bus = bus.name(), "the bus is being stopped");
    request.to.send(Answer::Refused(ExceptionCode::GATEWAY_PATH_UNAVAILABLE));
}
