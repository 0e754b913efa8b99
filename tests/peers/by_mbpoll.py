"""mbpoll (libmodbus): what an engineer types at the panel.

Register numbers are as printed, from 1. Its -u (function 0x11) works on serial lines only.
"""

import re

from report import expect, expect_equal
from stage import DEAD_UNIT, HOST, PORT, READ_ONLY_PORT, UNITS, UNROUTED_UNIT, output

VOLTAGES_AS_FLOATS = 287
VOLTAGES_AS_INTEGERS = 16
FREQUENCY = 26
VOLTAGE_EXPONENT = 139
PULSE_SCRATCH = 142


def floats(_stage):
    """floats of unit 3, big endian word order, agree with the integers and their scale register"""
    as_floats = _read("-a", 3, "-r", VOLTAGES_AS_FLOATS, "-c", 3, "-t", "4:float", "-B")
    as_integers = _read("-a", 3, "-r", VOLTAGES_AS_INTEGERS, "-c", 3, "-t", 4)
    exponent = _signed(_read("-a", 3, "-r", VOLTAGE_EXPONENT, "-t", 4)[VOLTAGE_EXPONENT])
    for index in range(3):
        volts = as_floats[VOLTAGES_AS_FLOATS + 2 * index]
        scaled = as_integers[VOLTAGES_AS_INTEGERS + index] * 10**exponent
        expect(100 < volts < 1000, f"line voltage expected, found {volts} V")
        expect(abs(volts - scaled) < 0.05 * volts, f"{volts} V as a float, {scaled} V as an integer")


def long_block(_stage):
    """all 90 registers of the floats in one read, as input registers"""
    values = _read("-a", 5, "-r", 257, "-c", 45, "-t", "3:float", "-B")
    expect_equal(sorted(values), list(range(257, 347, 2)), "register numbers")


def integers(_stage):
    """integers, 16 and 32 bit, of every unit in turn"""
    for unit in UNITS:
        values = _read("-a", unit, "-r", 1, "-c", 42, "-t", 4)
        expect_equal(len(values), 42, f"registers of unit {unit}")
        expect(4500 <= values[FREQUENCY] <= 6500, f"unit {unit}: frequency expected, found {values[FREQUENCY]}")
        energy = _read("-a", unit, "-r", 1, "-t", "4:int", "-B")[1]
        expect(energy >> 16 == values[1] & 0xFFFF, f"unit {unit}: {energy} does not begin with {values[1]}")


def unit_list(_stage):
    """a list of eight units is polled in one go"""
    code, printed = _mbpoll("-a", "1:8", "-r", FREQUENCY, "-t", 4)
    expect_equal(code, 0, f"exit code; it printed:\n{printed}\nexit code")
    expect_equal(len(re.findall(r"^\[26\]:", printed, re.MULTILINE)), 8, f"answers in:\n{printed}\ncount")


def write_one(_stage):
    """function 06 writes a register and the next read shows it"""
    for value in (17, 42):
        _write(3, PULSE_SCRATCH, value)
        expect_equal(_read("-a", 3, "-r", PULSE_SCRATCH, "-t", 4), {PULSE_SCRATCH: value}, "read back")


def write_two(_stage):
    """function 10 writes two registers and the next read shows them"""
    _write(4, PULSE_SCRATCH, 21, 22)
    found = _read("-a", 4, "-r", PULSE_SCRATCH, "-c", 2, "-t", 4)
    expect_equal(found, {PULSE_SCRATCH: 21, PULSE_SCRATCH + 1: 22}, "read back")


def refused_write(_stage):
    """a write where writes are denied is told: Illegal function, and changes nothing"""
    before = _read("-a", 3, "-r", PULSE_SCRATCH, "-t", 4)
    _refused("Illegal function", "-a", 3, "-r", PULSE_SCRATCH, "-t", 4, values=[77], port=READ_ONLY_PORT)
    expect_equal(_read("-a", 3, "-r", PULSE_SCRATCH, "-t", 4, port=READ_ONLY_PORT), before, "register after it")


def coils(_stage):
    """coils, which the meter does not have, are told: Illegal function"""
    _refused("Illegal function", "-a", 3, "-r", 1, "-t", 0)


def gap(_stage):
    """a register in a gap of the meter is told: Illegal data address"""
    _refused("Illegal data address", "-a", 3, "-r", 60, "-t", 4)


def unrouted(_stage):
    """an unconfigured unit is answered: Gateway path unavailable"""
    _refused("Gateway path unavailable", "-a", UNROUTED_UNIT, "-r", 1, "-t", 4)


def dead(_stage):
    """a unit that is not there is told: Target device failed to respond"""
    _refused("Target device failed to respond", "-a", DEAD_UNIT, "-r", 1, "-t", 4)


def _mbpoll(*arguments, values=(), port=PORT):
    # -o: the client's own timeout, longer than the gateway's deadline of 3 s.
    return output("mbpoll", "-m", "tcp", "-p", port, "-1", "-o", 5, *arguments, HOST, *values)


def _read(*arguments, port=PORT):
    """Register number to value, as mbpoll prints them; a 16-bit value above 32767 carries its sign behind it."""
    code, printed = _mbpoll(*arguments, port=port)
    expect_equal(code, 0, f"exit code of mbpoll {arguments}; it printed:\n{printed}\nexit code")
    found = re.findall(r"^\[(\d+)\]:\s+(\S+)", printed, re.MULTILINE)
    return {int(number): _number(value) for number, value in found}


def _write(unit, register, *values):
    code, printed = _mbpoll("-a", unit, "-r", register, "-t", 4, values=values)
    expect(code == 0 and f"Written {len(values)} references" in printed, f"exit code {code}\n{printed}")


def _refused(words, *arguments, values=(), port=PORT):
    code, printed = _mbpoll(*arguments, values=values, port=port)
    expect(code != 0 and words in printed, f"`{words}` expected; exit code {code}\n{printed}")


def _number(text):
    return float(text) if "." in text or "n" in text or "e" in text else int(text)


def _signed(word):
    return word - 0x10000 if word >= 0x8000 else word


CHECKS = [
    floats,
    long_block,
    integers,
    unit_list,
    write_one,
    write_two,
    refused_write,
    coils,
    gap,
    unrouted,
    dead,
]
