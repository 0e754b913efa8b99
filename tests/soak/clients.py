"""The clients of the soak: some stay, some come anew each time, some are out of order. None believes a reply unseen."""

import http.client
import json
import random
import socket
import struct
import threading
import time

# Every request is answered within the listener's request_deadline; the rest is the machine's.
DEADLINE = 3.0 + 1.5
UNITS = (1, 2, 3, 4, 11, 12, 13, 14, 30, 247)
RANGES = ((256, 60), (256, 2), (290, 20), (128, 26))
PAGES = ("/", "/units/1", "/units/11", "/metrics", "/api/v1/status", "/api/v1/checkup", "/api/v1/report", "/capture.pcapng")
# A page waits for lines and clients, so it may take longer than they do.
PAGE_DEADLINE = 20


class Wrong(Exception):
    """A reply that must not be."""


class Connection:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)
        self.number = 0

    def exactly(self, length):
        got = b""
        while len(got) < length:
            more = self.socket.recv(length - len(got))
            if not more:
                if got:
                    raise Wrong(f"a reply was cut after {got.hex()}")
                raise ConnectionError
            got += more
        return got

    def read(self, unit, start, quantity):
        """Whether the reply has data. The diagnostics unit is asked for what it has."""
        self.number = (self.number + 1) % 65536
        if unit == 247:
            start, quantity = 0, 20
        self.socket.sendall(struct.pack(">HHHBBHH", self.number, 0, 6, unit, 3, start, quantity))
        try:
            number, protocol, length, answering = struct.unpack(">HHHB", self.exactly(7))
            body = self.exactly(length - 1)
        except TimeoutError:
            raise Wrong(f"no reply about unit {unit} within {DEADLINE} s") from None
        if (number, protocol, answering) != (self.number, 0, unit):
            raise Wrong(f"asked {self.number} of unit {unit}, told {number} of unit {answering}")
        if body[0] == 0x83 and len(body) == 2 and body[1] in (0x06, 0x0A, 0x0B):
            return False
        if body[0] != 3 or body[1] != 2 * quantity or len(body) != 2 + body[1]:
            raise Wrong(f"asked {quantity} registers of unit {unit}, told {body.hex()}")
        return True

    def close(self):
        self.socket.close()


class Clients:
    def __init__(self, ports, page, draw):
        self.ports, self.page, self.draw = ports, page, draw
        self.replies = self.exceptions = self.connections = self.nonsense = self.pages = self.followed = 0
        self.wrong = []
        self.times = []
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        kinds = [self.stay] * 6 + [self.come_anew] * 3 + [self.misbehave] * 2 + [self.look] * 2 + [self.follow]
        seeds = [draw.random() for _ in kinds]
        self.threads = [threading.Thread(target=self.guard, args=pair) for pair in zip(kinds, seeds)]

    def start(self):
        for port in self.ports:
            until = time.monotonic() + 20
            while True:
                try:
                    Connection(port).close()
                    break
                except OSError:
                    if time.monotonic() > until:
                        raise
                    time.sleep(0.05)
        for thread in self.threads:
            thread.start()

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            if thread.ident is not None:
                thread.join()

    def take_times(self):
        with self.lock:
            times, self.times = self.times, []
        return times

    def guard(self, kind, seed):
        draw = random.Random(seed)
        while not self.stopping.is_set():
            try:
                kind(draw)
            except OSError:
                # The gateway closes what idles or is nonsense; at the end it closes everything.
                time.sleep(0.05)
            except (Wrong, http.client.HTTPException, ValueError) as wrong:
                self.wrong.append(f"{type(wrong).__name__}: {wrong}")
                return

    def connect(self, draw):
        connection = Connection(draw.choice(self.ports))
        with self.lock:
            self.connections += 1
        return connection

    def read(self, connection, draw):
        begun = time.monotonic()
        has_data = connection.read(draw.choice(UNITS), *draw.choice(RANGES))
        took = time.monotonic() - begun
        with self.lock:
            self.replies += has_data
            self.exceptions += not has_data
            if has_data:
                self.times.append(took)

    def stay(self, draw):
        connection = self.connect(draw)
        try:
            while not self.stopping.is_set():
                self.read(connection, draw)
                time.sleep(0.01)
        finally:
            connection.close()

    def come_anew(self, draw):
        connection = self.connect(draw)
        try:
            self.read(connection, draw)
        finally:
            connection.close()
        time.sleep(0.02)

    def misbehave(self, draw):
        connection = self.connect(draw)
        with self.lock:
            self.nonsense += 1
        try:
            deed = draw.randrange(4)
            if deed == 0:
                connection.socket.sendall(draw.randbytes(draw.randrange(1, 600)))
            elif deed == 1:
                connection.socket.sendall(struct.pack(">HHHBB", 1, 0, 6, 1, 3))
            elif deed == 2:
                # Asks much, hears nothing, and resets.
                for number in range(40):
                    connection.socket.sendall(struct.pack(">HHHBBHH", number, 0, 6, 1 + number % 4, 3, 256, 60))
                connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            time.sleep(draw.uniform(0, 0.3))
        finally:
            connection.close()

    def ask_page(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.page, timeout=PAGE_DEADLINE)
        connection.request("GET", path)
        return connection, connection.getresponse()

    def look(self, draw):
        """One page, whole."""
        path = draw.choice(PAGES)
        try:
            connection, response = self.ask_page(path)
            try:
                body = response.read()
            finally:
                connection.close()
        except TimeoutError:
            raise Wrong(f"{path} was not whole within {PAGE_DEADLINE} s") from None
        if response.status != 200 or not body:
            raise Wrong(f"{path}: {response.status} with {len(body)} bytes")
        with self.lock:
            self.pages += 1
        time.sleep(0.3)

    def follow(self, draw):
        """The trace for some seconds; now and then it is not read for a while, and then it is cut."""
        connection, response = self.ask_page("/api/v1/trace")
        try:
            if response.status != 200:
                raise Wrong(f"the trace: {response.status}")
            until = time.monotonic() + draw.uniform(1, 20)
            while time.monotonic() < until and not self.stopping.is_set():
                try:
                    json.loads(response.readline())
                except TimeoutError:
                    raise Wrong(f"nothing on the trace for {PAGE_DEADLINE} s") from None
                with self.lock:
                    self.followed += 1
                if draw.random() < 0.001:
                    time.sleep(draw.uniform(0, 3))
        finally:
            connection.close()
