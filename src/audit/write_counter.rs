//! Writes since they were last counted, by client.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crossbeam_queue::ArrayQueue;

/// Takes note of each write without a lock: connections never wait for the thread that counts, which has a lower
/// priority. More than fit between two counts are counted as so many only.
#[derive(Debug)]
pub struct WriteCounter(ArrayQueue<IpAddr>);

/// Writes between two counts, which are about a second apart: more than a line carries in a minute.
const WRITES_MAX: usize = 4_096;

impl Default for WriteCounter {
    fn default() -> Self {
        Self(ArrayQueue::new(WRITES_MAX))
    }
}

impl WriteCounter {
    /// A client sent a write.
    pub(super) fn note(&self, client: IpAddr) {
        let _beyond_what_fits = self.0.push(client);
    }

    /// How many writes each client has sent since the last call.
    #[must_use]
    pub fn take(&self) -> BTreeMap<IpAddr, u64> {
        let mut counts = BTreeMap::new();
        for _ in 0..self.0.len() {
            let Some(client) = self.0.pop() else { break };
            *counts.entry(client).or_default() += 1;
        }
        counts
    }
}
