//! One serial line as a state machine: which request to send, which request a frame answers, what clients receive.
//!
//! Owns every decision about a line; [`Line`] is its interface. Time and bytes are arguments: it never reads a clock,
//! never waits, never touches a port and never logs. Reasons: docs/design.md, "The parts of a line".
//!
//! - `request`: what comes in and goes out.
//! - `state_machine`: [`Line`]; routes events between the parts, answers a full queue, applies a reload.
//! - `queue`: what waits; `scheduler` (`allowance`): what is sent next.
//! - `wire`: the transaction in flight, in two forms: `rtu_wire` (`receive`, `echo`, `occupation`) and `mbap_wire`;
//!   `attempt`: what both are given and what they report.
//! - `unit`: one unit, and how long a probe waits; its parts are `health`, `probing` (which read, when), `ignored`,
//!   `owed`, `snapshot` (`tables`). `silent_line`: the whole line.
//! - `cache` (`poll`, `ranges`, `shares`, `overload`, `budget`): background reading.
//! - `record`, `recorder`, `statistics`, `incidents`, `event`, `view`, `availability`, `diagnostics`: what others see.

mod allowance;
mod attempt;
mod availability;
mod budget;
mod cache;
pub mod diagnostics;
mod echo;
mod event;
mod health;
mod ignored;
mod incidents;
mod mbap_wire;
mod now;
mod occupation;
mod overload;
mod owed;
mod poll;
mod probing;
mod queue;
mod ranges;
mod receive;
mod record;
mod recorder;
mod request;
mod rtu_wire;
mod scheduler;
pub mod settings;
mod shares;
mod silent_line;
mod snapshot;
mod state_machine;
pub mod statistics;
mod tables;
mod unit;
pub mod view;
mod wire;

pub use attempt::Disconnection;
pub use availability::Availability;
pub use budget::{Adjustment, Budget, COMFORTABLE, Planned};
pub use diagnostics::{ClientCounters, DiagnosticsView};
pub use event::{Described, EventLevel, LineEvent};
pub use health::UnitState;
pub use ignored::NeverAnswered;
pub use incidents::{Incidents, LateAnswerTimes, RequestSummary};
pub use now::Now;
pub use poll::{Due, INTERVAL_MIN, PollBlock, PollPlan};
pub use ranges::Conflict;
pub use receive::{Expected, Finality, Frame, Receiver};
pub use record::{
    Cause, Misfit, Outcome, RECEIVED_MAX, Received, ReceivedPart, Record, RxSegment, SegmentKind, Stray,
    Transaction,
};
pub use request::{Answer, BusId, ListenerId, Request, Source, Target};
pub use settings::{
    DemandedBlock, Echo, Framing, LineSettings, OfflineAfter, Pace, Parity, PolledBlock, Polling, Protocol,
    Replies, UnitId, UnitSettings,
};
pub use snapshot::{Block, Snapshot};
pub use state_machine::{Line, Output, PortEvent, PortSettingsChange};
pub use statistics::{LineStatistics, UnitStatistics};
pub use tables::Tables;
pub use view::{LineCounters, PollingView, PortState, UnitCounters, UnitView, View};
