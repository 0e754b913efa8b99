//! What is to be kept by a broker for Home Assistant, and what of it is left over from earlier.

use super::home_assistant;
use super::plan::Plan;
use crate::mqtt::{Announcements, Message};

impl Announcements for Plan {
    fn get(&self, index: usize) -> Option<Message> {
        let prefix = self.publication.home_assistant.as_ref()?;
        if index == 0 {
            return Some(home_assistant::gateway(self, prefix));
        }
        let (unit, block, point) = self.entity(index)?;
        Some(home_assistant::entity(self, prefix, unit, block, point))
    }

    fn count(&self) -> usize {
        self.entities
    }

    fn is_announced(&self, topic: &str) -> bool {
        let prefix = self.publication.home_assistant.as_ref();
        prefix.is_some_and(|prefix| home_assistant::is_announced(self, prefix, topic))
    }

    fn is_left_over(&self, topic: &str, payload: &[u8]) -> bool {
        let below =
            topic.strip_prefix(self.publication.topic.as_str()).and_then(|rest| rest.strip_prefix('/'));
        if below.is_some_and(|rest| rest.ends_with("/state") && rest.split('/').count() == STATE_LEVELS) {
            return !self.has_state(topic);
        }
        topic.ends_with("/config") && !self.is_announced(topic) && home_assistant::is_own(self, payload)
    }

    fn filters(&self) -> Vec<String> {
        let prefix = self.publication.home_assistant.as_ref();
        let discovery = prefix.map(|prefix| home_assistant::filters(self, prefix));
        let states = format!("{}/+/+/state", self.publication.topic);
        std::iter::once(states).chain(discovery.into_iter().flatten()).collect()
    }
}

/// The levels below the topic of the gateway of a unit's state.
const STATE_LEVELS: usize = 3;
