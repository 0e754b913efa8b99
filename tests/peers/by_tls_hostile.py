"""Hostile TLS clients: slow, half and silent handshakes, a thousand of them at once, renegotiation, bad records.

A plain client of the same gateway gets right answers meanwhile. Beside the thousand its times are printed, with those of
a quiet moment before each round. They depend on what else the machine does, so they are not judged here but by
`cargo bench --bench tls`.
"""

import contextlib
import selectors
import socket
import ssl
import statistics
import struct
import subprocess
import time

from report import expect, expect_equal
from stage import HOST, end
from tls_site import EC_PORT, PLAIN_PORT, secured

ROUNDS = 3
ROUND_SECONDS = 1.5
# The bounds in docs/tls.md.
HELLO_SECONDS = 2
HANDSHAKE_SECONDS = 10
HANDSHAKES_MAX = 64
AT_ONCE = 1000
SILENT = 8
ADDRESSES = [f"127.0.1.{host}" for host in range(1, 126)]
READ = struct.pack(">HHHBBHH", 1, 0, 6, 1, 3, 128, 10)
OVERSIZED = bytes([22, 3, 1]) + struct.pack(">H", 0x4000 + 0x0801) + bytes(0x4000 + 0x0801)


def silent(stage):
    """silent connections are closed after 2 s, and counted as timed out"""
    with secured(stage) as site:
        begun = time.monotonic()
        with _connections(SILENT) as streams:
            for stream in streams:
                expect_equal(_until_closed(stream), b"", "sent to a client that sends nothing")
        waited = time.monotonic() - begun
        expect(waited >= HELLO_SECONDS * 0.9, f"closed after {waited:.1f} s")
        expect(waited < HANDSHAKE_SECONDS, f"closed after {waited:.1f} s")
        _expect_failures(site, "timed_out", SILENT)
        _expect_a_client(site)


def half_and_slow(stage):
    """a ClientHello without more, and one that comes byte by byte: bounded, counted as timed out, and clients are served"""
    with secured(stage) as site:
        hello = _client_hello()
        begun = time.monotonic()
        with _connections(2) as half, _connections(2) as slow:
            for stream in half:
                stream.sendall(hello)
            alive, sent = list(slow), 0
            while alive and sent < len(hello) - 1:
                for stream in list(alive):
                    try:
                        stream.sendall(hello[sent : sent + 1])
                    except OSError:
                        alive.remove(stream)
                sent += 1
                time.sleep(0.1)
                _expect_plain()
            slow_seconds = time.monotonic() - begun
            expect(not alive, f"{len(alive)} connections are still open after {sent} bytes in {slow_seconds:.1f} s")
            expect(slow_seconds < HANDSHAKE_SECONDS, f"a byte now and then was waited for for {slow_seconds:.1f} s")
            _expect_a_client(site)
            for stream in half:
                _until_closed(stream)
            half_seconds = time.monotonic() - begun
        expect(half_seconds >= HANDSHAKE_SECONDS * 0.9, f"a half handshake was closed after {half_seconds:.1f} s")
        _expect_failures(site, "timed_out", 4)


def a_thousand_at_once(stage):
    """1,000 half handshakes at once: bounded, counted, plain clients and one with a certificate are served meanwhile"""
    hello = _client_hello()
    with secured(stage) as site:
        quiet, attacked = [], []
        for _ in range(ROUNDS):
            quiet.append(_plain_p99(lambda: None))
            with contextlib.closing(_Flood(hello)) as flood:
                attacked.append(_plain_p99(flood.renew))
                begun = flood.begun
                _expect_a_client(site)
        failures = site.failures()
        beside, alone = statistics.median(attacked), statistics.median(quiet)
        print(
            f"       p99 of a plain client's reads from the snapshot, medians of {ROUNDS} rounds: {beside:.0f} µs beside "
            f"{AT_ONCE} handshakes, {alone:.0f} without; {begun} begun in the last round; failed: {failures}"
        )
        expect(failures.get("too_many", 0) >= AT_ONCE - HANDSHAKES_MAX, f"handshakes that failed: {failures}")
        _expect_a_client(site)


def bad_records(stage):
    """oversized records, plain Modbus, HTTP and garbage end at once, are counted as not TLS, and disturb no client"""
    with secured(stage) as site:
        bad = [OVERSIZED, READ, b"GET / HTTP/1.1\r\n\r\n", bytes(range(256)) * 4, b"\xff" * 4096]
        for sent in bad:
            with _connections(1) as (stream,):
                with contextlib.suppress(OSError):
                    stream.sendall(sent)
                begun = time.monotonic()
                _until_closed(stream)
                expect(time.monotonic() - begun < HELLO_SECONDS, f"{sent[:12]!r}: not refused at once")
            _expect_plain()
        _expect_failures(site, "not_tls", len(bad))
        # After the handshake, in the middle of a session: that connection ends, and no other.
        with _connections(1) as (stream,):
            with site.context("engineer").wrap_socket(stream, server_hostname="localhost") as client:
                client.sendall(READ)
                client.recv(300)
                with socket.socket(fileno=client.detach()) as bare:
                    bare.settimeout(10)
                    with contextlib.suppress(OSError):
                        bare.sendall(bytes([23, 3, 3]) + OVERSIZED[3:])
                    _until_closed(bare)
        _expect_a_client(site)


def renegotiation(stage):
    """openssl asks for renegotiation in sessions of TLS 1.2: it is refused at once, and plain clients and others are served"""
    with secured(stage) as site, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(_renegotiating_client(stage, site, number)) for number in range(4)]
        for name, process in clients:
            # Nothing else is sent on these connections: the alert does not wait for the next reply.
            refused = lambda name=name: "no renegotiation" in stage.logged(name)  # noqa: E731
            stage.wait_for("an alert to a request to renegotiate", refused, name, process)
        until = time.monotonic() + HELLO_SECONDS
        while time.monotonic() < until:
            _expect_plain()
        _expect_a_client(site)
        for name, _ in clients:
            # What openssl says of each handshake: of the first, and not of another.
            before, after = stage.logged(name).split("RENEGOTIATING")
            expect("verify return" in before and "verify return" not in after, f"{before[:500]}\n...\n{after}")


CHECKS = [silent, half_and_slow, a_thousand_at_once, bad_records, renegotiation]


class _Flood:
    """Half handshakes, begun anew when the gateway has closed them."""

    def __init__(self, sent):
        self.sent = sent
        self.selector = selectors.DefaultSelector()
        self.begun = 0
        for _ in range(AT_ONCE):
            self._begin()

    def renew(self):
        """Looks for closed connections, and replaces them, at most a few at a time."""
        for key, _ in self.selector.select(timeout=0)[:20]:
            with contextlib.suppress(BlockingIOError):
                try:
                    is_open = key.fileobj.recv(65536)
                except ConnectionError:
                    is_open = b""
                if not is_open:
                    self._end(key.fileobj)
                    self._begin()

    def close(self):
        """Ends all of them."""
        for key in list(self.selector.get_map().values()):
            self._end(key.fileobj)
        self.selector.close()

    def _begin(self):
        stream = socket.socket()
        stream.bind((ADDRESSES[self.begun % len(ADDRESSES)], 0))
        stream.settimeout(10)
        stream.connect((HOST, EC_PORT))
        with contextlib.suppress(ConnectionError):
            stream.sendall(self.sent)
        stream.setblocking(False)
        self.selector.register(stream, selectors.EVENT_READ)
        self.begun += 1

    def _end(self, stream):
        self.selector.unregister(stream)
        stream.close()


@contextlib.contextmanager
def _renegotiating_client(stage, site, number):
    """A client that asks for renegotiation after its handshake: its name and its process."""
    name = f"renegotiating-{number}"
    with open(stage.log(name), "wb") as log:
        process = subprocess.Popen(
            ["openssl", "s_client", "-tls1_2", "-connect", f"{HOST}:{EC_PORT}", "-CAfile", site / "ca.pem",
             "-cert", site / "engineer.pem", "-key", site / "engineer.key"],
            stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT,
        )
    try:
        process.stdin.write(b"R\n")
        process.stdin.flush()
        yield name, process
    finally:
        process.stdin.close()
        end(process)


def _plain_p99(meanwhile):
    """p99 of the reads of a plain client in µs; each answer is compared with the first."""
    times = []
    with socket.create_connection((HOST, PLAIN_PORT), timeout=10) as plain:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain.sendall(READ)
        first = plain.recv(300)
        expect_equal(len(first), 29, "bytes of the answer")
        until = time.monotonic() + ROUND_SECONDS
        while time.monotonic() < until:
            meanwhile()
            begun = time.monotonic()
            plain.sendall(READ)
            answer = plain.recv(300)
            times.append((time.monotonic() - begun) * 1e6)
            expect_equal(answer, first, "the answer to a plain client")
    return statistics.quantiles(times, n=100)[98]


def _expect_plain():
    with socket.create_connection((HOST, PLAIN_PORT), timeout=10) as plain:
        plain.sendall(READ)
        expect_equal(len(plain.recv(300)), 29, "bytes of the answer to a plain client")


def _expect_a_client(site):
    """A client with a certificate is let in and gets its answer."""
    with socket.create_connection((HOST, EC_PORT), timeout=10) as stream:
        with site.context("engineer").wrap_socket(stream, server_hostname="localhost") as client:
            client.sendall(READ)
            expect_equal(len(client.recv(300)), 29, "bytes of the answer to a client with a certificate")


def _expect_failures(site, cause, count):
    """The counter follows the end of a handshake a moment later."""
    until = time.monotonic() + HANDSHAKE_SECONDS
    while site.failures().get(cause, 0) < count and time.monotonic() < until:
        time.sleep(0.1)
    expect_equal(site.failures().get(cause, 0), count, f"handshakes that failed as {cause}")


@contextlib.contextmanager
def _connections(count):
    with contextlib.ExitStack() as stack:
        connect = lambda: socket.create_connection((HOST, EC_PORT), timeout=HANDSHAKE_SECONDS * 2)  # noqa: E731
        yield [stack.enter_context(connect()) for _ in range(count)]


def _until_closed(stream):
    """What comes until the gateway closes the connection."""
    received = b""
    try:
        while more := stream.recv(65536):
            received += more
    except ConnectionError:
        pass
    return received


def _client_hello():
    """The first message of a client's handshake, as OpenSSL writes it."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()
