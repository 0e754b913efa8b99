//! Addresses to listen on: which get in each other's way, and binding one that is about to be free.
//!
//! Owns the patience for an old listener. It never closes one, and knows nothing of what is answered there.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;

use super::StartError;
use crate::io::tcp;

/// Whether only one of two addresses can be listened on. The families stand side by side, see `tcp::bind`.
pub(super) fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let alike = one.port() == other.port() && one.is_ipv4() == other.is_ipv4();
    alike && (one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified())
}

/// Binds an address that is free.
pub(super) fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    tcp::bind(address).map_err(|error| StartError::Bind { address, error })
}

/// Binds an address whose old listener is about to close.
pub(super) async fn bind_patiently(address: SocketAddr) -> Result<TcpListener, StartError> {
    let mut bound = bind(address);
    for _ in 0..REBIND_TRIES {
        if bound.is_ok() {
            break;
        }
        tokio::time::sleep(REBIND_PAUSE).await;
        bound = bind(address);
    }
    bound
}

/// How often an address is tried again while its old listener closes.
const REBIND_TRIES: u32 = 100;

/// Pause between two tries.
const REBIND_PAUSE: Duration = Duration::from_millis(20);
