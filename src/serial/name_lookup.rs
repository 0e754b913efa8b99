//! The addresses of a server's name, looked up without holding up a line.
//!
//! The system's resolver blocks, for half a minute and more without a name server, and cannot be called off. So each
//! lookup has a thread of its own, which neither the runtime's threads nor the end of the program wait for, and a
//! port never has more than one: the next attempt to open it waits for the same answer.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::serial::settings::ServerAddress;

/// The lookups of one port. Clones share them.
#[derive(Clone, Debug)]
pub struct NameLookup {
    under_way: Arc<Mutex<Option<UnderWay>>>,
    resolve: fn(&ServerAddress) -> io::Result<Vec<SocketAddr>>,
}

/// A lookup whose thread has not answered yet.
#[derive(Debug)]
struct UnderWay {
    server: ServerAddress,
    answer: oneshot::Receiver<io::Result<Vec<SocketAddr>>>,
}

/// Why a name has no address.
#[derive(Debug)]
pub enum LookupError {
    /// The resolver knows none.
    NotFound(io::Error),
    /// The resolver has not answered within this time.
    NoAnswer(Duration),
}

impl fmt::Display for LookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(error) => {
                let text = error.to_string();
                f.write_str(text.strip_prefix("failed to lookup address information: ").unwrap_or(&text))
            }
            Self::NoAnswer(within) => write!(f, "the name server has not answered for {within:?}"),
        }
    }
}

impl Default for NameLookup {
    fn default() -> Self {
        Self { under_way: Arc::default(), resolve: addresses }
    }
}

impl NameLookup {
    /// The addresses of the server, in the resolver's order; its own if it has one for a name.
    ///
    /// # Errors
    /// If there is none, or the resolver does not answer `within` this time.
    pub async fn resolve(
        &self,
        server: &ServerAddress,
        within: Duration,
    ) -> Result<Vec<SocketAddr>, LookupError> {
        if let Ok(address) = server.host().parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, server.port())]);
        }
        let earlier = self.slot().take().filter(|earlier| earlier.server == *server);
        let mut under_way = match earlier {
            Some(earlier) => earlier,
            None => self.start(server).map_err(LookupError::NotFound)?,
        };
        match timeout(within, &mut under_way.answer).await {
            Ok(Ok(found)) => found.map_err(LookupError::NotFound),
            Ok(Err(_)) => Err(LookupError::NotFound(io::Error::other("the resolver gave up"))),
            Err(_) => {
                *self.slot() = Some(under_way);
                Err(LookupError::NoAnswer(within))
            }
        }
    }

    fn start(&self, server: &ServerAddress) -> io::Result<UnderWay> {
        let (sender, answer) = oneshot::channel();
        let (resolve, asked) = (self.resolve, server.clone());
        thread::Builder::new().name("name lookup".to_owned()).spawn(move || {
            // Without a receiver the attempt is over, and with it the interest in the answer.
            let _unread = sender.send(resolve(&asked));
        })?;
        Ok(UnderWay { server: server.clone(), answer })
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<UnderWay>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn addresses(server: &ServerAddress) -> io::Result<Vec<SocketAddr>> {
    (server.host(), server.port()).to_socket_addrs().map(Iterator::collect)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    use super::*;

    fn server(text: &str) -> ServerAddress {
        ServerAddress::parse(text).expect("host and port")
    }

    static LOOKUPS: AtomicU32 = AtomicU32::new(0);
    static ANSWERS: AtomicBool = AtomicBool::new(false);

    /// A resolver that does not answer before it is released.
    fn resolve_late(_: &ServerAddress) -> io::Result<Vec<SocketAddr>> {
        LOOKUPS.fetch_add(1, Ordering::SeqCst);
        while !ANSWERS.load(Ordering::SeqCst) {
            thread::yield_now();
        }
        Ok(vec![([10, 0, 0, 7], 4001).into()])
    }

    #[tokio::test]
    async fn a_slow_resolver_is_asked_once_and_its_late_answer_counts() {
        let lookup = NameLookup { resolve: resolve_late, ..NameLookup::default() };
        let slow = server("slow:4001");
        for _ in 0..3 {
            let waited = lookup.resolve(&slow, Duration::from_millis(10)).await;
            assert!(matches!(waited, Err(LookupError::NoAnswer(_))), "{waited:?}");
        }
        assert_eq!(LOOKUPS.load(Ordering::SeqCst), 1);
        ANSWERS.store(true, Ordering::SeqCst);
        let found = lookup.resolve(&slow, Duration::from_secs(60)).await.expect("an answer");
        assert_eq!(found, [([10, 0, 0, 7], 4001).into()]);
        let again = lookup.resolve(&slow, Duration::from_secs(60)).await;
        assert!(again.is_ok() && LOOKUPS.load(Ordering::SeqCst) == 2, "an answer is good for one attempt");
    }

    #[tokio::test]
    async fn an_address_is_not_looked_up() {
        let lookup = NameLookup { resolve: |_| Err(io::ErrorKind::NotFound.into()), ..NameLookup::default() };
        let found = lookup.resolve(&server("[fd00::7]:4001"), Duration::ZERO).await;
        assert_eq!(found.expect("an address"), ["[fd00::7]:4001".parse().expect("an address")]);
        let unknown = lookup.resolve(&server("moxa:4001"), Duration::from_secs(60)).await;
        assert!(matches!(unknown, Err(LookupError::NotFound(_))), "{unknown:?}");
    }
}
