"""mbpoll (libmodbus) as a client that only speaks serial: a pseudo terminal of socat, at whose other end the gateway
serves as an RTU server (`listeners: - device:`).

A pseudo terminal has no rate and no silence of its own; mbpoll keeps the pauses of a client.
"""

import contextlib
import re

from report import expect, expect_equal
from stage import end, output

UNITS = range(1, 4)
SILENT_UNIT = 9
UNROUTED_UNIT = 77
MAPPED_UNIT = 33
FREQUENCY = 26
PULSE_SCRATCH = 142
RATE = 19200

CONFIGURATION = """\
listeners:
  - device: {client}
    writes: {writes}
    answer_within: 2s
    unit_map: {{1: 1, 2: 2, 9: 9, {mapped}: 3}}
buses:
  - name: riser
    device: {line}
    units:
      - id: 1-3
      - id: {silent_unit}
status: "off"
"""


def reads(stage):
    """registers of each meter are read, one of them under the identifier of unit_map"""
    with _gateway(stage, "deny") as port:
        for unit in (1, 2, MAPPED_UNIT):
            for _ in range(3):
                frequency = _read(port, "-a", unit, "-r", FREQUENCY, "-t", 4)[FREQUENCY]
                expect(4500 <= frequency <= 6500, f"unit {unit}: frequency expected, found {frequency}")
        values = _read(port, "-a", 1, "-r", 257, "-c", 45, "-t", "3:float", "-B")
        expect_equal(sorted(values), list(range(257, 347, 2)), "register numbers")


def writes(stage):
    """function 06 and 10 write, the next read shows it, and the same write may follow at once"""
    with _gateway(stage, "allow") as port:
        for values in ((17,), (17,), (42,), (21, 22)):
            code, printed = _mbpoll(port, "-a", 1, "-r", PULSE_SCRATCH, "-t", 4, values=values)
            expect(code == 0 and f"Written {len(values)} references" in printed, f"exit code {code}\n{printed}")
            found = _read(port, "-a", 1, "-r", PULSE_SCRATCH, "-c", len(values), "-t", 4)
            expect_equal(list(found.values()), list(values), "read back")


def refusals(stage):
    """what is refused is told with the code, and a unit that is not routed here is not answered"""
    with _gateway(stage, "deny") as port:
        _refused(port, "Illegal function", "-a", 1, "-r", PULSE_SCRATCH, "-t", 4, values=[77])
        _refused(port, "Illegal data address", "-a", 1, "-r", 60, "-t", 4)
        _refused(port, "Target device failed to respond", "-a", SILENT_UNIT, "-r", 1, "-t", 4)
        _refused(port, "Connection timed out", "-a", UNROUTED_UNIT, "-r", 1, "-t", 4)
        _read(port, "-a", 2, "-r", FREQUENCY, "-t", 4)


@contextlib.contextmanager
def _gateway(stage, writes_are):
    """The client's port of a gateway with meters of its own."""
    line, client, far = (stage.directory / f"serial-client-{name}" for name in ("line", "near", "far"))
    running = []
    try:
        meters = ("simulate", "--link", str(line), "--units", "1-3", "--baud", RATE)
        simulator = stage.start_process("client-meters", stage.program, *map(str, meters))
        running.append(simulator)
        stage.wait_for("a device", line.exists, "client-meters", simulator)
        ends = (f"pty,raw,echo=0,link={path}" for path in (client, far))
        wire = stage.start_process("client-wire", "socat", *ends)
        running.append(wire)
        stage.wait_for("a wire", lambda: client.exists() and far.exists(), "client-wire", wire)
        configuration = stage.directory / "serial-client.yaml"
        configuration.write_text(
            CONFIGURATION.format(
                client=client, line=line, writes=writes_are, silent_unit=SILENT_UNIT, mapped=MAPPED_UNIT
            )
        )
        gateway = stage.start_process("serial-client", stage.program, "run", str(configuration))
        running.append(gateway)
        for said in ("serving a serial client", "port open"):
            stage.wait_for(said, lambda said=said: said in stage.logged("serial-client"), "serial-client", gateway)
        yield far
    finally:
        for process in reversed(running):
            end(process)


def _mbpoll(port, *arguments, values=()):
    # -o: the client's own timeout, longer than answer_within.
    return output("mbpoll", "-m", "rtu", "-b", RATE, "-P", "none", "-1", "-o", 3, *arguments, port, *values)


def _read(port, *arguments):
    code, printed = _mbpoll(port, *arguments)
    expect_equal(code, 0, f"exit code of mbpoll {arguments}; it printed:\n{printed}\nexit code")
    found = re.findall(r"^\[(\d+)\]:\s+(\S+)", printed, re.MULTILINE)
    return {int(number): float(value) for number, value in found}


def _refused(port, words, *arguments, values=()):
    code, printed = _mbpoll(port, *arguments, values=values)
    expect(code != 0 and words in printed, f"`{words}` expected; exit code {code}\n{printed}")


CHECKS = [reads, writes, refusals]
