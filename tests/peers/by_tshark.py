"""tshark: what an independent dissector makes of every frame all the other peers and the gateway exchanged."""

import collections
import signal
import time

from report import expect, expect_equal
from stage import DEMO_PORT, PORT, READ_ONLY_PORT, end, output

FUNCTIONS = [0x01, 0x03, 0x04, 0x06, 0x10, 0x11, 0x2B]
EXCEPTIONS = {0x01, 0x02, 0x03, 0x0A, 0x0B}
# A client that leaves may meet it or not.
BUSY = 0x06
FIELDS = ["tcp.stream", "tcp.srcport", "mbtcp.trans_id", "mbtcp.unit_id", "modbus.func_code"]
DISSECT_SECONDS = 80
DRAIN_SECONDS = 20

Adu = collections.namedtuple("Adu", "stream request transaction unit function")


def captured(stage):
    """the capture holds everything up to the end of the gateway"""
    # The gateway has ended, so the last frame of all is known: no more connections are open.
    deadline = time.monotonic() + DRAIN_SECONDS
    while _open_connections(stage):
        expect(time.monotonic() < deadline, "connections still open in the capture after the gateway ended")
        time.sleep(0.1)
    expect_equal(end(stage.capture, signal.SIGINT), 0, f"exit code; it logged:\n{stage.logged('dumpcap')}\nexit code")


def well_formed(stage):
    """no frame is malformed, unclassified or reported as an error"""
    shown = _tshark(stage, "-Y", "_ws.malformed or mbtcp.cannot_classify or _ws.expert.severity == error")
    expect_equal(shown, "", "frames")


def every_function(stage):
    """each function was seen, asked and answered: 01 03 04 06 10 11 2B"""
    adus = _adus(stage)
    for function in FUNCTIONS:
        for asked in (True, False):
            count = sum(adu.function == function and adu.request == asked for adu in adus)
            expect(count > 0, f"function {function:#04x}, {'requests' if asked else 'answers'}: none seen")


def every_exception(stage):
    """each exception was seen, and no other: 01 02 03 0A 0B, 06 at most of a client that left"""
    found = {int(code) for code in _values(_tshark(stage, "-T", "fields", "-e", "modbus.exception_code"))}
    expect_equal(found - {BUSY}, EXCEPTIONS, "exception codes")


def answered_once(stage):
    """there are as many answers as requests, each with a request's connection, transaction, unit and function"""
    adus = _adus(stage)
    asked, answered = (
        collections.Counter((adu.stream, adu.transaction, adu.unit, adu.function) for adu in adus if adu.request == side)
        for side in (True, False)
    )
    print(f"       {asked.total()} requests, {answered.total()} answers")
    expect_equal(asked - answered, collections.Counter(), "requests without an answer")
    # What is left are the answers to requests whose segments were too small for the dissector.
    found = [key[1:] for key in (answered - asked).elements()]
    expect_equal(found, stage.undissected, "answers without a request")


def _adus(stage):
    """Every Modbus TCP ADU of the capture. Several in one frame come as lists in one row."""
    arguments = [part for field in FIELDS for part in ("-e", field)]
    printed = _tshark(stage, "-Y", "mbtcp", "-T", "fields", "-E", "separator=;", "-E", "aggregator=,", *arguments)
    adus = []
    for row in printed.splitlines():
        stream, source, transactions, units, functions = row.split(";")
        rows = [[int(value, 0) for value in values.split(",")] for values in (transactions, units, functions)]
        expect_equal(len({len(values) for values in rows}), 1, f"a whole row expected in `{row}`: lengths")
        request = int(source) not in (PORT, READ_ONLY_PORT, DEMO_PORT)
        adus.extend(Adu(int(stream), request, *values) for values in zip(*rows))
    expect(adus, "not one Modbus TCP frame in the capture")
    return adus


def _values(printed):
    return {value for row in printed.splitlines() for value in row.split(",") if value}


def _open_connections(stage):
    """Connections that began in the capture and have not ended there."""
    printed = _tshark(stage, "-T", "fields", "-e", "tcp.stream", "-e", "tcp.flags.fin", "-e", "tcp.flags.reset")
    rows = [row.split("\t") for row in printed.splitlines()]
    ended = {stream for stream, fin, reset in rows if "1" in (fin, reset)}
    return {stream for stream, _, _ in rows} - ended


def _tshark(stage, *arguments):
    # With the ports as a setting the dissector also knows which side asks.
    ports = f"mbtcp.tcp.port:{PORT},{READ_ONLY_PORT},{DEMO_PORT}"
    code, printed = output("tshark", "-n", "-r", stage.capture_file, "-o", ports, *arguments, seconds=DISSECT_SECONDS)
    # As root tshark says so first; a file still being written may be cut in its last frame.
    lines = [line for line in printed.splitlines() if "This could be dangerous" not in line]
    expect(code == 0 or "cut short" in printed, f"tshark ended with {code}:\n{printed[-2000:]}")
    return "\n".join(line for line in lines if "cut short" not in line)


CHECKS = [captured, well_formed, every_function, every_exception, answered_once]
