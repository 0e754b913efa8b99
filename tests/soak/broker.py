"""The broker of the soak, which does what a broker may do: serves, falls silent, hangs up, goes away and comes back.

Speaks as much of MQTT 3.1.1 as the gateway does. None of what it gets is believed unseen: `Readings` judges what comes as
JSON, `edge_node` what comes as Sparkplug.
"""

import json
import re
import socket
import struct
import threading
import time

import edge_node

READING = re.compile(r"soak/(one|two)/(\d+)/\w+")
STATE = re.compile(r"soak/(one|two)/(\d+)/state")
CONNACK, PUBACK, SUBACK, UNSUBACK, PINGRESP = b"\x20\x02\x00\x00", 0x40, 0x90, 0xB0, b"\xd0\x00"
CONNECT, PUBLISH, SUBSCRIBE, UNSUBSCRIBE, PINGREQ, DISCONNECT = 1, 3, 8, 10, 12, 14


class Readings:
    """What comes as JSON over one connection: a reading is whole, is of the configured units, and no newer one of its block
    came before it."""

    def __init__(self):
        self.newest = {}

    def connect(self, will):
        """The content of the will."""
        if will != b"offline":
            raise ValueError(f"a will that says {will}")

    def judge(self, topic, payload, is_retained, qos):
        """A message; how many readings it is."""
        if qos != 1:
            raise ValueError(f"QoS {qos} at {topic}")
        if is_retained:
            if topic != "soak/status" and not STATE.fullmatch(topic):
                raise ValueError(f"retained at {topic}")
            return 0
        if not READING.fullmatch(topic):
            raise ValueError(f"a reading at {topic}")
        message = json.loads(payload)
        begun, values = message["time"], message["values"]
        if not values:
            raise ValueError(f"a reading without values at {topic}")
        if begun < self.newest.get(topic, ""):
            raise ValueError(f"{begun} after {self.newest[topic]} at {topic}")
        self.newest[topic] = begun
        return 1


class Broker:
    """A broker that has what comes over each connection judged by one of these."""

    def __init__(self, port, judge):
        self.port = port
        self.new_judge = judge
        self.readings = self.connections = 0
        self.wrong = []
        self.silent_until = 0.0
        self.listener = None
        self.open = set()
        self.lock = threading.Lock()
        self.come()

    def come(self):
        self.listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def go(self):
        """Ends with all its connections; the next attempts are refused."""
        # Closing alone would leave it open for as long as the thread waits in accept.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.hang_up()

    def fall_silent(self, seconds):
        """For so long everything is read and nothing answered."""
        self.silent_until = time.monotonic() + seconds

    def hang_up(self):
        with self.lock:
            for connection in self.open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def request_births(self):
        """What a host of Sparkplug may send at any time."""
        topic, payload = edge_node.NCMD.encode(), edge_node.rebirth()
        body = struct.pack(">H", len(topic)) + topic + payload
        with self.lock:
            for connection in self.open:
                try:
                    connection.sendall(bytes([PUBLISH << 4, len(body)]) + body)
                except OSError:
                    pass

    def accept(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self.guard, args=(connection,), daemon=True).start()

    def guard(self, connection):
        with self.lock:
            self.open.add(connection)
            self.connections += 1
        try:
            with connection, connection.makefile("rb") as stream:
                self.serve(connection, stream)
        except (OSError, EOFError):
            pass
        except (ValueError, KeyError, IndexError, struct.error) as wrong:
            self.wrong.append(f"to the broker: {type(wrong).__name__}: {wrong}")
        finally:
            with self.lock:
                self.open.discard(connection)

    def serve(self, connection, stream):
        judge = self.new_judge()
        while True:
            first, body = packet(stream)
            kind, is_silent = first >> 4, time.monotonic() < self.silent_until
            if kind == CONNECT:
                judge.connect(will(body))
                answer = CONNACK
            elif kind == PUBLISH:
                length = struct.unpack(">H", body[:2])[0]
                topic, rest = body[2 : 2 + length].decode(), body[2 + length :]
                qos = first >> 1 & 3
                count = judge.judge(topic, rest[2 if qos else 0 :], first & 1, qos)
                with self.lock:
                    self.readings += count
                answer = bytes([PUBACK, 2]) + rest[:2] if qos else b""
            elif kind == SUBSCRIBE:
                answer = bytes([SUBACK, 2 + filters(body[2:], 1)]) + body[:2] + bytes(filters(body[2:], 1))
            elif kind == UNSUBSCRIBE:
                answer = bytes([UNSUBACK, 2]) + body[:2]
            elif kind == PINGREQ:
                answer = PINGRESP
            elif kind == DISCONNECT:
                return
            else:
                raise ValueError(f"a packet of type {kind}")
            if answer and not is_silent:
                connection.sendall(answer)


def will(connect):
    """The content of the will of a CONNECT."""
    # The name of the protocol, its level, the flags, the keep-alive; then the client's identifier and the will's topic.
    place = 10
    for _ in range(2):
        place += 2 + struct.unpack_from(">H", connect, place)[0]
    length = struct.unpack_from(">H", connect, place)[0]
    return connect[place + 2 : place + 2 + length]


def packet(stream):
    first = exactly(stream, 1)[0]
    length = shift = 0
    while True:
        byte = exactly(stream, 1)[0]
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return first, exactly(stream, length)


def exactly(stream, length):
    got = stream.read(length)
    if len(got) < length:
        raise EOFError
    return got


def filters(body, between):
    """How many filters there are, each followed by so many bytes."""
    count = 0
    while body:
        count += 1
        body = body[2 + struct.unpack(">H", body[:2])[0] + between :]
    return count
