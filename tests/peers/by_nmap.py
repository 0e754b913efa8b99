"""nmap's modbus-discover script: what a security scanner sees behind port 502."""

import re

from report import expect, expect_equal
from stage import DEAD_UNIT, HOST, PORT, UNITS, UNROUTED_UNIT, output

SCAN_SECONDS = 80


def discovers(_stage):
    """all eight units are listed with their report and device identification, the others with the gateway's answer"""
    code, printed = output(
        *("nmap", "-n", "-Pn", "-sT", "-p", PORT, "--script", "modbus-discover"),
        *("--script-args", "modbus-discover.aggressive=true", HOST),
        seconds=SCAN_SECONDS,
    )
    expect_equal(code, 0, f"exit code; it printed:\n{printed}\nexit code")
    units = _units(printed)
    for unit in UNITS:
        listed = units.get(unit, "")
        expect(re.search(r"Slave ID data: .*Leviton", listed), f"unit {unit}: no report in:\n{listed or printed}")
        expect(
            re.search(r"Device identification: Leviton Series 4000 V\d\d\.\d{3}", listed),
            f"unit {unit}: no device identification in:\n{listed}",
        )
    for unit, answer in [(DEAD_UNIT, "FAILED TO RESPOND"), (UNROUTED_UNIT, "GATEWAY PATH UNAVAILABLE")]:
        expect(answer in units.get(unit, ""), f"unit {unit}: `{answer}` expected in:\n{units.get(unit, printed)}")


def _units(printed):
    """Unit to what the script lists below it."""
    parts = re.split(r"^\|[ _]+sid 0x([0-9a-f]+):", printed, flags=re.MULTILINE)
    return {int(unit, 16): listed for unit, listed in zip(parts[1::2], parts[2::2])}


CHECKS = [discovers]
