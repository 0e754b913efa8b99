"""tshark on a file the gateway wrote itself: both sides of a run with every function and fault.

tests/it/traffic/capture.rs writes it.
"""

import os
import re

from report import expect, expect_equal
from stage import output

FUNCTIONS = [1, 2, 3, 4, 5, 6, 8, 15, 16, 20, 21, 22, 23, 24, 43, 7, 11, 12, 17]
# Requests of 4 bytes on the line are shorter than this dissector takes; their answers it dissects.
TOO_SHORT = {7, 11, 12, 17}
# The port made up for units, by which the dissector tells a request from an answer that equals it.
UNIT_PORT = "mbrtu.tcp.port:1"
DISSECT_SECONDS = 60


def by_itself(_stage):
    """without any option both sides are dissected, and only what was broken off on the line is out of form"""
    rows = _tshark("-T", "fields", "-e", "frame.protocols")
    known = {"raw:ip:tcp:mbtcp:modbus", "raw:ipv6:tcp:mbtcp:modbus", "exported_pdu:mbrtu:modbus", "exported_pdu:mbrtu"}
    unknown = [row for row in rows if row not in known]
    # Beside the short requests: noise, and the broadcast, whose unit identifier this dissector does not take.
    expect_equal(unknown, ["exported_pdu:data"] * (len(TOO_SHORT) + 2), "protocols of frames not dissected")
    out_of_form = "_ws.malformed or mbtcp.cannot_classify or (mbrtu and not modbus)"
    broken = _tshark("-Y", out_of_form, "-T", "fields", "-e", "frame.comment")
    expect_equal(broken, ["the answer broke off"], "what is said of frames out of form")


def every_function(_stage):
    """each function was asked and answered, on the network and on the line"""
    for side in ("mbtcp", "mbrtu"):
        infos = _tshark("-o", UNIT_PORT, "-Y", f"{side} and modbus", "-T", "fields", "-e", "_ws.col.Info")
        found = {(int(re.search(r"Func: +(\d+)", info)[1]), _kind(info)) for info in infos}
        for function in FUNCTIONS:
            kinds = {"Response"} if side == "mbrtu" and function in TOO_SHORT else {"Query", "Response"}
            for kind in kinds:
                expect((function, kind) in found, f"{side}: no {kind} of function {function}")


def matched(_stage):
    """each answer belongs to a request, but those to what the dissector does not take for one, and exceptions"""
    fields = ["modbus.func_code", "modbus.request_frame", "modbus.exception_code", "frame.comment", "_ws.col.Info"]
    arguments = [part for field in fields for part in ("-e", field)]
    alone = []
    for side in ("mbtcp", "mbrtu"):
        for row in _tshark("-o", UNIT_PORT, "-Y", f"{side} and modbus", "-T", "fields", *arguments):
            function, request, exception, comment, info = row.split("\t")
            short = side == "mbrtu" and int(function) in TOO_SHORT
            if "Response" in info and not request and not exception and not short:
                alone.append((side, function, comment))
            expect("Unable to classify" not in info, f"neither request nor answer: {info}")
    expect_equal(alone, [("mbrtu", "3", "answers nothing asked")], "answers without a request")


def only_the_faults(_stage):
    """with checksums on, what is found wrong is what was made wrong"""
    checks = ["mbrtu.crc_verification:TRUE", "ip.check_checksum:TRUE", "tcp.check_checksum:TRUE", UNIT_PORT]
    arguments = [part for check in checks for part in ("-o", check)]
    rows = _tshark(*arguments, "-Y", "_ws.expert.severity >= note", "-T", "fields", "-e", "frame.comment")
    expect_equal(rows, ["wrong CRC", "the answer broke off"], "comments of frames with a finding")


def _kind(row):
    return re.match(r" *(Query|Response|unknown):", row)[1]


def _tshark(*arguments):
    path = os.environ["METERGATE_CAPTURE"]
    code, printed = output("tshark", "-n", "-r", path, *arguments, seconds=DISSECT_SECONDS)
    expect_equal(code, 0, f"tshark:\n{printed[-2000:]}\nexit code")
    return [line for line in printed.splitlines() if line and "This could be dangerous" not in line]


CHECKS = [by_itself, every_function, matched, only_the_faults]
