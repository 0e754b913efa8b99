//! What is known of the gateway: one model, collected from what buses and listeners publish.
//!
//! Owns the [`model`] and how it is collected, the history of the last hours, which of a point and its copies stands
//! for a quantity, two views of the model, metrics and the report of `doctor`, and the `conditions` from which events
//! are made. The JSON is the model itself, `page` lays it out for people, `web` serves it. It never waits, never reads
//! a clock, and decides no fault: the module `findings` does.

mod collect;
mod conditions;
mod current_findings;
mod doctor_report;
mod exposition;
mod history;
pub mod metrics;
mod model;
mod number;
mod published;
mod reading_metrics;
mod readings;
mod recent;
mod spans;
mod transactions;

pub use collect::{
    Depth, broker, bus, bus_history, clients, findings, listener, status, status_for_pages, unit,
    unit_history,
};
pub use conditions::conditions;
pub use doctor_report::{BrokerReport, BusReport, DoctorReport, ReportedFinding, UnitReport};
pub use history::{HEALTH_MINUTES, History, MINUTE, READING_MINUTES};
pub use model::{
    Alert, Broker, Bus, BusHistory, BusMinute, Client, Clients, Decoded, DecodedAnswer, DecodedValue,
    DepartedClient, DriverErrors, ErrorBody, ExceptionCount, LineShares, ListedEvent, Listener, ListenerTls,
    LocatedFinding, Point, Port, PortState, ReadingHistory, RecordFilter, RequestCounts, RoleCount, Status,
    TransactionRecord, Unit, UnitDetail, UnitHistory, UnitMinute, UnitState, ValueProblem, WireBreak,
};
pub use number::Number;
pub use published::{Published, PublishedBroker, PublishedBus, PublishedListener, PublishedUnit};
pub use readings::standing_points;
