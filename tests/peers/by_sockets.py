"""Plain sockets, for what no client library does: several requests in one segment, one in many, and bad requests.

Addresses are as on the wire, from 0.
"""

import socket
import struct

from report import expect, expect_equal
from stage import DEAD_UNIT, HOST, PORT, READ_ONLY_PORT, UNITS, UNROUTED_UNIT

READ_HOLDING_REGISTERS = 0x03
WRITE_SINGLE_REGISTER = 0x06
SCRATCH = 141
FLOATS = 256
ANSWER_SECONDS = 10


class Connection:
    """One connection, its transaction identifiers counted."""

    def __init__(self, port=PORT):
        self.socket = socket.create_connection((HOST, port), timeout=ANSWER_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.transaction = 0x4000
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def adu(self, unit, pdu):
        """The bytes of a request, and its transaction identifier."""
        self.transaction += 1
        return struct.pack(">HHHB", self.transaction, 0, len(pdu) + 1, unit) + pdu, self.transaction

    def answer(self):
        """The next whole ADU: transaction identifier, unit, PDU."""
        while len(self.buffer) < 7 or len(self.buffer) < self._length():
            received = self.socket.recv(4096)
            expect(received, "the gateway closed the connection")
            self.buffer += received
        length = self._length()
        adu, self.buffer = self.buffer[:length], self.buffer[length:]
        transaction, protocol, _, unit = struct.unpack(">HHHB", adu[:7])
        expect_equal(protocol, 0, "protocol identifier")
        return transaction, unit, adu[7:]

    def ask(self, unit, pdu):
        """One request and its answer's PDU."""
        adu, transaction = self.adu(unit, pdu)
        self.socket.sendall(adu)
        found = self.answer()
        expect_equal(found[:2], (transaction, unit), "transaction and unit")
        return found[2]

    def answers(self, expected):
        """Takes as many answers as `expected` has, in any order; each once, each what was asked for."""
        waiting = dict(expected)
        while waiting:
            transaction, unit, pdu = self.answer()
            expect(transaction in waiting, f"an answer without a request: transaction {transaction:#06x}")
            expect_equal((unit, pdu), waiting.pop(transaction), f"unit and PDU of transaction {transaction:#06x}")
        expect_equal(self.buffer, b"", "bytes after the last answer")

    def _length(self):
        return 6 + struct.unpack(">H", self.buffer[4:6])[0]


def read(address, quantity, function=READ_HOLDING_REGISTERS):
    """The PDU that asks for registers."""
    return struct.pack(">BHH", function, address, quantity)


def two_in_one_segment(_stage):
    """two requests in one segment, to two units: two answers"""
    _in_one_segment([1, 2])


def sixteen_in_one_segment(_stage):
    """sixteen requests in one segment, to eight units: sixteen answers, none lost, doubled or mixed up"""
    _in_one_segment([*UNITS, *reversed(UNITS)])


def sixty_four_in_one_segment(_stage):
    """sixty-four requests in one segment, four times what may be in flight: sixty-four answers"""
    _in_one_segment([*UNITS] * 8)


def byte_by_byte(stage):
    """a request that arrives byte by byte is answered"""
    with Connection() as connection:
        _mark_units(connection, [5])
        adu, transaction = connection.adu(5, read(SCRATCH, 1))
        for byte in adu:
            connection.socket.sendall(bytes([byte]))
        stage.undissected.append((transaction, 5, READ_HOLDING_REGISTERS))
        connection.answers({transaction: (5, _mark_reply(5))})


def one_and_a_half(_stage):
    """one and a half requests in the first segment, the rest in the second: two answers"""
    with Connection() as connection:
        _mark_units(connection, [1, 2])
        first, one = connection.adu(1, read(SCRATCH, 1))
        second, two = connection.adu(2, read(SCRATCH, 1))
        connection.socket.sendall(first + second[:5])
        expect_equal(connection.answer(), (one, 1, _mark_reply(1)), "the first answer")
        connection.socket.sendall(second[5:])
        expect_equal(connection.answer(), (two, 2, _mark_reply(2)), "the second answer")


def mixed_fates(_stage):
    """good, unrouted and dead units asked in one segment: each gets its own answer"""
    with Connection() as connection:
        _mark_units(connection, [3])
        expected = {}
        segment = b""
        for unit, reply in [(DEAD_UNIT, b"\x83\x0b"), (UNROUTED_UNIT, b"\x83\x0a"), (3, _mark_reply(3))]:
            adu, transaction = connection.adu(unit, read(SCRATCH, 1))
            segment += adu
            expected[transaction] = (unit, reply)
        connection.socket.sendall(segment)
        connection.answers(expected)


def exceptions(_stage):
    """what breaks the standard's limits or leads nowhere gets its code: 01, 02, 03, 0A, 0B"""
    with Connection() as connection:
        for unit, pdu, reply, what in [
            (1, b"\x01\x00\x00\x00\x08", b"\x81\x01", "coils, which the meter has not"),
            (1, read(0xFFFF, 2), b"\x83\x02", "beyond the last address"),
            (1, read(60, 1), b"\x83\x02", "a gap of the meter"),
            (1, read(0, 0), b"\x83\x03", "quantity 0"),
            (1, read(0, 126), b"\x83\x03", "quantity 126"),
            (1, b"\x10\x00\x8d\x00\x00\x00", b"\x90\x03", "a write of nothing"),
            (0, read(0, 1), b"\x83\x0a", "unit 0"),
            (255, read(0, 1), b"\x83\x0a", "unit 255"),
            (UNROUTED_UNIT, read(0, 1), b"\x83\x0a", "an unconfigured unit"),
            (DEAD_UNIT, read(0, 1), b"\x83\x0b", "a unit that is not there"),
        ]:
            expect_equal(connection.ask(unit, pdu), reply, what)


def refused_write(_stage):
    """where writes are denied, 06 and 10 get 01 and reads go on"""
    with Connection() as writer, Connection(READ_ONLY_PORT) as reader:
        _mark_units(writer, [8])
        expect_equal(reader.ask(8, struct.pack(">BHH", WRITE_SINGLE_REGISTER, SCRATCH, 9)), b"\x86\x01", "06")
        expect_equal(reader.ask(8, b"\x10\x00\x8d\x00\x01\x02\x00\x09"), b"\x90\x01", "10")
        expect_equal(reader.ask(8, read(SCRATCH, 1)), _mark_reply(8), "the register after it")


def half_closed(_stage):
    """a client that has finished sending still gets its answer, then the end"""
    with Connection() as connection:
        adu, transaction = connection.adu(4, read(FLOATS, 90))
        connection.socket.sendall(adu)
        connection.socket.shutdown(socket.SHUT_WR)
        found, unit, pdu = connection.answer()
        expect_equal((found, unit), (transaction, 4), "transaction and unit")
        # A request that was not on the line yet when the client closed its side is not sent any more.
        expect(pdu == b"\x83\x06" or len(pdu) == 182, f"90 registers or exception 06 expected, found {pdu!r}")
        expect_equal(connection.socket.recv(1), b"", "what comes after it")


def _in_one_segment(units):
    with Connection() as connection:
        _mark_units(connection, sorted(set(units)))
        expected = {}
        segment = b""
        for unit in units:
            adu, transaction = connection.adu(unit, read(SCRATCH, 1))
            segment += adu
            expected[transaction] = (unit, _mark_reply(unit))
        connection.socket.sendall(segment)
        connection.answers(expected)


def _mark_units(connection, units):
    """Gives each unit a value of its own, so that a mixed-up reply is seen."""
    for unit in units:
        pdu = struct.pack(">BHH", WRITE_SINGLE_REGISTER, SCRATCH, 30 + unit)
        expect_equal(connection.ask(unit, pdu), pdu, f"echo of the write to unit {unit}")


def _mark_reply(unit):
    return struct.pack(">BBH", READ_HOLDING_REGISTERS, 2, 30 + unit)


CHECKS = [
    two_in_one_segment,
    sixteen_in_one_segment,
    sixty_four_in_one_segment,
    byte_by_byte,
    one_and_a_half,
    mixed_fates,
    exceptions,
    refused_write,
    half_closed,
]
