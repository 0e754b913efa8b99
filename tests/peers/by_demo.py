"""tshark on what `metergate capture` writes while a demo has one fault after the other and clients ask for everything.

The scenario is the shipped one, five times as fast. The demo refuses writes, so those are seen on the clients' side.
"""

import contextlib
import pathlib
import re
import signal
import socket
import struct
import time

from report import expect, expect_equal
from stage import DEMO_PORT, HOST, end, listens, output

STATUS_PORT = 18502
SCENARIO = pathlib.Path(__file__).parents[2] / "config" / "scenarios" / "demo-faults.yaml"
FASTER = 5
# The last fault of the scenario ends at 300 s.
RUN_SECONDS = 300 / FASTER + 2
ANSWER_SECONDS = 10
DISSECT_SECONDS = 60
UNITS = range(1, 9)
# Each function with a request that keeps to the standard.
REQUESTS = {
    0x01: struct.pack(">HH", 0, 8),
    0x02: struct.pack(">HH", 0, 8),
    0x03: struct.pack(">HH", 256, 90),
    0x04: struct.pack(">HH", 256, 2),
    0x05: struct.pack(">HH", 0, 0xFF00),
    0x06: struct.pack(">HH", 141, 1),
    0x07: b"",
    0x08: struct.pack(">HH", 0, 0x1234),
    0x0F: struct.pack(">HHBB", 0, 8, 1, 0x55),
    0x10: struct.pack(">HHBH", 141, 1, 2, 1),
    0x11: b"",
    0x16: struct.pack(">HHH", 141, 0xFFFF, 0),
    0x17: struct.pack(">HHHHBH", 256, 2, 141, 1, 2, 1),
    0x2B: bytes([0x0E, 1, 0]),
}
# What the comment of a packet has where the line went wrong.
FAULTS = re.compile("wrong CRC|broke off|noise|no answer|answers nothing asked|late answer|handed back")


def every_fault_and_function(stage):
    """tshark reads a capture of a demo with all functions and faults: matched, and out of form only what is a fault"""
    scenario = stage.directory / "faults.yaml"
    faster = re.sub(r"(at|for): (\d+)s", lambda time: f"{time[1]}: {int(time[2]) // FASTER}s", SCENARIO.read_text())
    scenario.write_text(faster)
    capture = stage.directory / "demo.pcapng"
    where = f"{HOST}:{STATUS_PORT}"
    signal.alarm(int(RUN_SECONDS) + 120)
    demo = stage.start_process(
        "faults", stage.program, "demo", "--listen", f"{HOST}:{DEMO_PORT}", "--status", where, "--scenario", scenario
    )
    writer = None
    try:
        stage.wait_for("demo listener", lambda: listens(DEMO_PORT), "faults", demo)
        writer = stage.start_process("capture", stage.program, "capture", capture, "--for", "10m", "--status", where)
        stage.wait_for("a capture", capture.exists, "capture", writer)
        _ask_everything()
        expect_equal(end(writer, signal.SIGINT), 0, "exit code of capture")
    finally:
        for process in [writer, demo]:
            if process:
                end(process)
    _judge(capture)


def _ask_everything():
    until = time.monotonic() + RUN_SECONDS
    transaction = 0
    with contextlib.closing(socket.create_connection((HOST, DEMO_PORT), timeout=ANSWER_SECONDS)) as client:
        while time.monotonic() < until:
            for unit in UNITS:
                for function, data in REQUESTS.items():
                    transaction = transaction % 0xFFFF + 1
                    client.sendall(struct.pack(">HHHBB", transaction, 0, len(data) + 2, unit, function) + data)
                    head = _exactly(client, 6)
                    expect_equal(head[:2], struct.pack(">H", transaction), "transaction")
                    _exactly(client, struct.unpack(">H", head[4:])[0])


def _exactly(client, length):
    data = b""
    while len(data) < length:
        piece = client.recv(length - len(data))
        expect(piece, "the gateway closed the connection")
        data += piece
    return data


def _judge(capture):
    fields = ["frame.protocols", "modbus.func_code", "modbus.request_frame", "modbus.exception_code"]
    fields += ["frame.comment", "_ws.col.Info", "_ws.malformed", "_ws.expert.severity"]
    arguments = [part for field in fields for part in ("-e", field)]
    options = ["mbrtu.tcp.port:1", "mbrtu.crc_verification:TRUE", "ip.check_checksum:TRUE", "tcp.check_checksum:TRUE"]
    preferences = [part for option in options for part in ("-o", option)]
    code, printed = output(
        "tshark", "-n", "-r", capture, *preferences, "-T", "fields", *arguments, seconds=DISSECT_SECONDS
    )
    expect_equal(code, 0, f"tshark:\n{printed[-2000:]}\nexit code")
    found, faults, wrong = set(), set(), []
    for row in printed.splitlines():
        if row.count("\t") != len(fields) - 1:
            continue
        protocols, function, request, exception, comment, info, malformed, severity = row.split("\t")
        fault = FAULTS.search(comment)
        faults.update([fault[0]] if fault else [])
        kind = re.match(r" *(Query|Response)", info)
        on_network = "mbtcp" in protocols
        if function and kind:
            # An event log's entries have the field as well; the function comes first.
            found.add((on_network, int(function.split(",")[0]), kind[1]))
        # Requests of four bytes this dissector does not take on a line, and what it takes for one it cannot match.
        short = not on_network and function in ("", "7", "11", "12", "17")
        unmatched = kind and kind[1] == "Response" and not request and not exception and not short
        # Severity 0x00200000 is a chat, such as that of a connection seen for the first time.
        noted = severity and max(int(part, 0) for part in severity.split(",")) > 0x00200000
        if (malformed or "Unable to classify" in info or unmatched or noted) and not fault:
            wrong.append(row)
    expect_equal(wrong[:5], [], "packets out of form or unmatched that are no fault")
    for function in REQUESTS:
        for kind in ("Query", "Response"):
            expect((True, function, kind) in found, f"no {kind} of function {function} on the network")
    for function in (3, 4, 43):
        for kind in ("Query", "Response"):
            expect((False, function, kind) in found, f"no {kind} of function {function} on the line")
    # What is late on a line this busy comes into the answer of another unit, and is seen as what that does to it.
    wanted = {"no answer", "answers nothing asked", "handed back"}
    expect(wanted <= faults, f"faults missing in the capture: {wanted - faults}; there are {faults}")
    expect(faults & {"wrong CRC", "broke off"}, f"no damaged answer in the capture; there are {faults}")


CHECKS = [every_fault_and_function]
