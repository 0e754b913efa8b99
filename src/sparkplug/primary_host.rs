//! The primary host: births wait for it, and the session ends with it.
//!
//! Source: Eclipse Sparkplug 3.0.0, chapters 5.4 and 5.8.

use serde::Deserialize;

/// The host, as the broker describes it in this session.
#[derive(Clone, Debug)]
pub(super) struct PrimaryHost {
    id: String,
    is_online: bool,
    /// The time in its last message that counted.
    timestamp: Option<u64>,
}

/// The content of a STATE message.
#[derive(Deserialize)]
struct State {
    online: bool,
    timestamp: u64,
}

/// What a STATE message changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    CameOnline,
    WentOffline,
    Nothing,
}

impl PrimaryHost {
    pub(super) fn new(id: String) -> Self {
        Self { id, is_online: false, timestamp: None }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn topic(&self) -> String {
        format!("spBv1.0/STATE/{}", self.id)
    }

    pub(super) fn is_online(&self) -> bool {
        self.is_online
    }

    /// A new connection: the broker sends the state that it keeps, which may be older than what an earlier one sent.
    pub(super) fn begin(&mut self) {
        (self.is_online, self.timestamp) = (false, None);
    }

    pub(super) fn handle_state(&mut self, payload: &[u8]) -> Change {
        let Ok(State { online, timestamp }) = serde_json::from_slice(payload) else { return Change::Nothing };
        if self.timestamp.is_some_and(|last| timestamp < last) {
            return Change::Nothing;
        }
        self.timestamp = Some(timestamp);
        match (std::mem::replace(&mut self.is_online, online), online) {
            (false, true) => Change::CameOnline,
            (true, false) => Change::WentOffline,
            (true, true) | (false, false) => Change::Nothing,
        }
    }
}
