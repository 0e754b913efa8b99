//! The client of an MQTT broker: connects, delivers what is in its outbox, connects again.
//!
//! Owns the session (MQTT 3.1.1, by `mqtt-protocol-core`), the outbox with its bounds, the task that drives both over a
//! socket, and what is counted. It has no knowledge of meters: `publisher` decides what is published and when. Nothing a
//! broker sends changes anything but what it holds of this gateway: retained messages that nothing here publishes any
//! more are removed, and an edge node of Sparkplug sends its births when a host requests them.
//!
//! `session` has no clock and no input or output; `client` has both. `delivery` is one of two: `outbox` for messages of
//! JSON, `sparkplug_outbox` for an edge node. `wall_clock` has the times of what is kept while the clock is set, `loss` the
//! reasons why there is no connection.

mod backoff;
mod broker_metrics;
pub mod client;
mod delivery;
mod loss;
mod outbox;
mod session;
mod settings;
mod sparkplug_outbox;
mod wall_clock;

pub use broker_metrics::{BrokerMetrics, BrokerView, Link};
pub use delivery::Delivery;
pub use loss::{Loss, LossCause};
pub use outbox::{Announcements, Message, Outbox, OutboxCounts, Reading};
pub use session::{Qos, Session, SessionEvent};
pub use settings::{BrokerAddress, BrokerSettings, Credentials, NotAPassword, Password, Scheme};
pub use sparkplug_outbox::SparkplugOutbox;
pub use wall_clock::WallClock;
