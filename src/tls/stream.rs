//! A connection after its handshake, in two halves as the connection task wants them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::rustls::HandshakeKind;
use tokio_rustls::rustls::server::Acceptor;
use tokio_rustls::{LazyConfigAcceptor, server};

use super::failure::HandshakeFailure;
use super::server::{ClientIdentity, TlsServer};

/// A connection after its handshake.
#[derive(Debug)]
pub struct TlsStream {
    stream: server::TlsStream<SharedSocket>,
    socket: Arc<TcpStream>,
}

/// The receiving half.
#[derive(Debug)]
pub struct TlsReader {
    half: ReadHalf<TlsStream>,
    socket: Arc<TcpStream>,
}

/// The sending half. What it has accepted is with the kernel.
#[derive(Debug)]
pub struct TlsWriter {
    half: WriteHalf<TlsStream>,
    /// Bytes that are encrypted, and not yet all with the kernel.
    encrypted: usize,
}

/// A socket that the TLS stream reads and writes, and that can be observed beside it.
#[derive(Debug)]
struct SharedSocket(Arc<TcpStream>);

/// Does the server's part of a handshake. Returns the connection, and the client's certificate where the server asks for
/// one. The caller bounds the time of the whole.
///
/// # Errors
/// The handshake failed, or its first message did not come within [`CLIENT_HELLO_TIMEOUT`].
pub async fn accept(
    server: &TlsServer,
    stream: TcpStream,
) -> Result<(TlsStream, Option<ClientIdentity>), HandshakeFailure> {
    let socket = Arc::new(stream);
    let hello = LazyConfigAcceptor::new(Acceptor::default(), SharedSocket(Arc::clone(&socket)));
    let hello = timeout(CLIENT_HELLO_TIMEOUT, hello).await.map_err(|_| HandshakeFailure::TimedOut)?;
    let accepted = match hello {
        Ok(hello) => hello.into_stream(server.config()).await,
        Err(error) => Err(error),
    };
    let mut stream = accepted.map_err(|error| HandshakeFailure::from(&error))?;
    let identity = TlsServer::identify(stream.get_ref().1);
    // A resumed session shows its certificate without comparing it with anything.
    if let Some(identity) = &identity
        && stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed)
        && let Err(failure) = server.verify(identity, SystemTime::now())
    {
        // The client learns that it was no failure of the network, and begins anew.
        let _closed_either_way = stream.shutdown().await;
        return Err(failure);
    }
    Ok((TlsStream { stream, socket }, identity))
}

/// The two halves of a connection.
#[must_use]
pub fn split(stream: TlsStream) -> (TlsReader, TlsWriter) {
    let socket = Arc::clone(&stream.socket);
    let (reader, writer) = tokio::io::split(stream);
    (TlsReader { half: reader, socket }, TlsWriter { half: writer, encrypted: 0 })
}

impl TlsStream {
    /// The socket below.
    #[must_use]
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }
}

impl AsyncRead for TlsStream {
    /// Also sends what the client's records call for, such as the warning to one that asks for renegotiation: it would
    /// wait for the next reply otherwise.
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if self.stream.get_ref().1.wants_write()
            && let Poll::Ready(Err(error)) = Pin::new(&mut self.stream).poll_flush(context)
        {
            // What was read first is more telling.
            return if matches!(read, Poll::Ready(_)) { read } else { Poll::Ready(Err(error)) };
        }
        read
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl TlsReader {
    /// The socket below.
    #[must_use]
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }
}

impl AsyncRead for TlsReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.half).poll_read(context, buffer)
    }
}

impl AsyncWrite for TlsWriter {
    /// Reports bytes as written when the kernel has them all: nothing else would send the rest. The caller offers the
    /// same bytes again until then, and more behind them.
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.encrypted == 0 {
            self.encrypted = ready!(Pin::new(&mut self.half).poll_write(context, bytes))?;
        }
        ready!(Pin::new(&mut self.half).poll_flush(context))?;
        Poll::Ready(Ok(std::mem::take(&mut self.encrypted)))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.half).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.half).poll_shutdown(context)
    }
}

impl AsyncRead for SharedSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(context))?;
            match self.0.try_read(buffer.initialize_unfilled()) {
                Ok(length) => {
                    buffer.advance(length);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for SharedSocket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(context))?;
            match self.0.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match socket2::SockRef::from(&*self.0).shutdown(std::net::Shutdown::Write) {
            Err(error) if error.kind() != io::ErrorKind::NotConnected => Poll::Ready(Err(error)),
            Ok(()) | Err(_) => Poll::Ready(Ok(())),
        }
    }
}

/// How long a client may take for its first message, which needs no answer before it: a silent connection, such as a
/// probe of the port, gives its place to a client. Time for one segment that is lost and sent again.
pub const CLIENT_HELLO_TIMEOUT: Duration = Duration::from_secs(2);
