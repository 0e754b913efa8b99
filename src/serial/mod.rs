//! Serial ports and connections to servers, and the task that drives the line of a bus.
//!
//! Owns the port and the task: opens the device or connects to the server, passes its bytes to the
//! [`Line`](crate::line::Line), performs the line's outputs, and publishes its view. What is sent to a meter is decided
//! in `line`. `handle` is the channel to the task and back, and the way to the published snapshot; `supervision`
//! restarts a task that panicked; `watchdog` checks that it still responds.

pub mod bus_task;
pub mod clock;
mod connection;
mod direction;
mod handle;
mod ioctl;
mod managed_port;
mod name_lookup;
mod own_connections;
pub mod port;
mod port_view;
mod settings;
pub mod supervision;
mod transport;
mod watchdog;

pub use bus_task::{BusParts, BusSettings};
pub use connection::{Acceptance, AddressError, ConnectError};
pub use direction::DirectionError;
pub use handle::{BusHandle, Offer, ReplyChannel, ReplyReceiver, ReplySender, ReservedSlot};
pub use ioctl::{LineErrors, SerialRs485};
pub use managed_port::{ManagedPort, PortActivity, PortChange, READ_SIZE};
pub use name_lookup::{LookupError, NameLookup};
pub use own_connections::OwnConnections;
pub use port::{Network, OpenError, OpenPort};
pub use port_view::PortView;
pub use settings::{Direction, PortDevice, PortSettings, ServerAddress};
pub use supervision::{CALM, RESTART_PAUSE_MAX, RESTART_PAUSE_MIN, Supervised, panic_message};
pub use transport::{Connection, Transport};
pub use watchdog::Watchdog;
