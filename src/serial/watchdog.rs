//! Whether the bus tasks are alive: the watchdog requests a heartbeat of each, and each answers from its own loop.
//!
//! Owns requests and answers. It never reads a clock and never decides the consequences of silence. A task that waits
//! for a meter, or for a missing port, still answers; one that is stuck in a driver or in an endless computation does
//! not. One that panicked is restarted by its supervisor, so it counts as silent only if no other bus is running.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::line::BusId;

/// The registered bus tasks.
#[derive(Clone, Debug, Default)]
pub struct Watchdog(Arc<Mutex<Vec<Arc<Shared>>>>);

/// The watchdog's end in a bus task.
#[derive(Debug)]
pub struct Heartbeat(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    bus: BusId,
    name: String,
    question: Notify,
    /// Requested, and not yet answered.
    open: AtomicBool,
    /// The task ended without a panic.
    ended: AtomicBool,
    /// The task panicked.
    panicked: AtomicBool,
}

impl Shared {
    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    fn has_panicked(&self) -> bool {
        self.panicked.load(Ordering::Acquire)
    }
}

impl Watchdog {
    /// Registers the task of a bus. It replaces one that panicked.
    #[must_use]
    pub fn add(&self, bus: BusId, name: &str) -> Heartbeat {
        let shared = Arc::new(Shared {
            bus,
            name: name.to_owned(),
            question: Notify::new(),
            open: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            panicked: AtomicBool::new(false),
        });
        let mut all = self.all();
        all.retain(|other| !(other.bus == bus && other.has_panicked()));
        all.push(Arc::clone(&shared));
        drop(all);
        Heartbeat(shared)
    }

    /// Requests a heartbeat of every task. Each answers in the next round of its loop.
    pub fn request_heartbeats(&self) {
        let mut all = self.all();
        all.retain(|shared| !shared.has_ended());
        for shared in all.iter() {
            shared.open.store(true, Ordering::Release);
            shared.question.notify_one();
        }
    }

    /// The names of the buses whose tasks have not answered the last request; all of them if every task has panicked.
    #[must_use]
    pub fn silent(&self) -> Vec<String> {
        let all = self.all();
        let running = || all.iter().filter(|shared| !shared.has_ended());
        let no_bus_lives = running().all(|shared| shared.has_panicked());
        let is_silent = |shared: &&Arc<Shared>| match shared.has_panicked() {
            true => no_bus_lives,
            false => shared.open.load(Ordering::Acquire),
        };
        running().filter(is_silent).map(|shared| shared.name.clone()).collect()
    }

    fn all(&self) -> MutexGuard<'_, Vec<Arc<Shared>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Heartbeat {
    /// Returns when a heartbeat is requested. Cancel safe.
    pub async fn requested(&self) {
        self.0.question.notified().await;
    }

    /// Answers the request.
    pub fn answer(&self) {
        self.0.open.store(false, Ordering::Release);
    }

    /// The task ends regularly. If it is dropped before, it has panicked.
    pub fn end(self) {
        self.0.ended.store(true, Ordering::Release);
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.0.panicked.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_is_named_until_it_answers() {
        let watchdog = Watchdog::default();
        let (one, other) = (watchdog.add(BusId(0), "one"), watchdog.add(BusId(1), "other"));
        assert_eq!(watchdog.silent(), [""; 0], "nothing has been requested");
        watchdog.request_heartbeats();
        assert_eq!(watchdog.silent(), ["one", "other"]);
        one.requested().await;
        one.answer();
        assert_eq!(watchdog.silent(), ["other"]);
        watchdog.request_heartbeats();
        other.requested().await;
        other.answer();
        assert_eq!(watchdog.silent(), ["one"], "an answer is good for one question");
    }

    #[tokio::test]
    async fn a_question_is_not_lost_with_a_wait_that_is_dropped() {
        let watchdog = Watchdog::default();
        let heartbeat = watchdog.add(BusId(0), "one");
        {
            let waiting = heartbeat.requested();
            watchdog.request_heartbeats();
            drop(waiting);
        }
        heartbeat.requested().await;
    }

    #[test]
    fn a_task_that_ended_as_it_should_is_forgotten_and_one_that_vanished_is_not() {
        let watchdog = Watchdog::default();
        let (stopped, panicked) = (watchdog.add(BusId(2), "stopped"), watchdog.add(BusId(3), "panicked"));
        watchdog.request_heartbeats();
        stopped.end();
        drop(panicked);
        assert_eq!(watchdog.silent(), ["panicked"]);
        watchdog.request_heartbeats();
        assert_eq!(watchdog.silent(), ["panicked"]);
    }

    #[test]
    fn a_task_that_panicked_is_silent_only_while_no_other_lives_and_until_another_takes_its_place() {
        let watchdog = Watchdog::default();
        let (panicked, lives) = (watchdog.add(BusId(3), "panicked"), watchdog.add(BusId(4), "lives"));
        drop(panicked);
        watchdog.request_heartbeats();
        lives.answer();
        assert_eq!(watchdog.silent(), [""; 0]);
        drop(lives);
        assert_eq!(watchdog.silent(), ["panicked", "lives"]);
        let again = watchdog.add(BusId(3), "panicked");
        assert_eq!(watchdog.silent(), [""; 0]);
        watchdog.request_heartbeats();
        assert_eq!(watchdog.silent(), ["panicked"], "the new task is watched like any other");
        again.answer();
        assert_eq!(watchdog.silent(), [""; 0]);
    }
}
