//! Counts of writes by client, since they were last read.

use std::collections::BTreeMap;

use crossbeam_queue::ArrayQueue;

use crate::endpoint::ClientAddress;
use crate::events::Writes;

/// Counts writes without a lock: connections never wait for the thread that reads the counts, which has a lower
/// priority. Writes that do not fit the queue between two readings are not counted.
#[derive(Debug)]
pub struct WriteCounter(ArrayQueue<(ClientAddress, Writes)>);

/// Writes between two readings, which are about a second apart: more than a line carries in a minute.
const WRITES_MAX: usize = 4_096;

impl Default for WriteCounter {
    fn default() -> Self {
        Self(ArrayQueue::new(WRITES_MAX))
    }
}

impl WriteCounter {
    /// A client sent a write; `refused` is 1 if the gateway refused it unsent, else 0.
    pub(super) fn note(&self, client: ClientAddress, refused: u64) {
        let _beyond_what_fits = self.0.push((client, Writes { total: 1, refused }));
    }

    /// The writes that each client has sent since the last call.
    #[must_use]
    pub fn take(&self) -> BTreeMap<ClientAddress, Writes> {
        let mut counts = BTreeMap::<ClientAddress, Writes>::new();
        for _ in 0..self.0.len() {
            let Some((client, writes)) = self.0.pop() else { break };
            let counted = counts.entry(client).or_default();
            counted.total += writes.total;
            counted.refused += writes.refused;
        }
        counts
    }
}
