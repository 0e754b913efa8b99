"""The program itself, as an operator starts and ends it: check, demo, stop."""

import sys
import textwrap

from report import expect, expect_equal
from stage import DEMO_PORT, HOST, end, listens, output

DEMO_SECONDS = 20


def check_accepts(stage):
    """check accepts the configuration the gateway was started with"""
    code, printed = output(stage.program, "check", "--config", stage.configuration)
    expect_equal(code, 0, f"exit code; it printed:\n{printed}\nexit code")


def demo_commands_work(stage):
    """demo prints an mbpoll command and a Python snippet that work as they are, and ends with exit code 0"""
    demo = stage.start_process("demo", stage.program, "demo", "--listen", f"{HOST}:{DEMO_PORT}")
    try:
        stage.wait_for("demo listener", lambda: listens(DEMO_PORT), "demo", demo)
        stage.wait_for("end of what demo says", lambda: "Ctrl-C" in stage.logged("demo"), "demo", demo)
        mbpoll, python = _pasted(stage.logged("demo"))
        code, printed = output(*mbpoll.split(), seconds=DEMO_SECONDS)
        expect(code == 0 and "[261]:" in printed, f"{mbpoll}\nexit code {code}\n{printed}")
        code, printed = output(sys.executable, "-c", python, seconds=DEMO_SECONDS)
        expect(code == 0, f"{python}\nexit code {code}\n{printed}")
        watts = [float(part) for part in printed.strip(" []\n").split(",")]
        expect(len(watts) == 3 and all(value >= 0 for value in watts), f"three powers expected, found {printed!r}")
    finally:
        code = end(demo)
    expect_equal(code, 0, f"exit code of demo; it printed:\n{stage.logged('demo')}\nexit code")


def gateway_ends(stage):
    """the gateway ends on SIGTERM with exit code 0, and nothing in it panicked"""
    code = end(stage.gateway)
    logged = stage.logged("run")
    expect_equal(code, 0, f"exit code; it logged:\n{logged[-2000:]}\nexit code")
    expect("panicked" not in logged, f"it logged:\n{logged[-4000:]}")


def _pasted(text):
    """The command and the snippet in what demo prints."""
    lines = text.splitlines()
    command = next((line.strip() for line in lines if line.startswith("  mbpoll ")), None)
    first = next((index for index, line in enumerate(lines) if line.startswith("  from pymodbus")), None)
    expect(command is not None and first is not None, f"no mbpoll line or no Python snippet in:\n{text}")
    snippet = lines[first : lines.index("", first)]
    return command, textwrap.dedent("\n".join(snippet))


BEFORE = [check_accepts, demo_commands_work]
AFTER = [gateway_ends]
