"""Checks, their result lines and their totals.

A check is a function whose docstring is its claim. It takes the Stage, raises when the claim does not hold, and has a
bounded time. Checks run in the order in which they are written.
"""

import signal
import sys
import time
import traceback

CHECK_SECONDS = 90


class Failure(Exception):
    """A claim that does not hold; its text says what was expected and what came."""


class Report:
    """Counts what passed and what failed, and prints one line for each."""

    def __init__(self):
        self.passed = 0
        self.failed = 0

    def run(self, checks, stage):
        """Runs `checks` one after another; a failure does not keep the next from running."""
        for check in checks:
            self._one(check, stage)

    def _one(self, check, stage):
        claim = " ".join(check.__doc__.split())
        started = time.monotonic()
        signal.alarm(CHECK_SECONDS)
        try:
            check(stage)
        except Exception as error:  # whatever a peer raises is a failed check, not the end of the run
            signal.alarm(0)
            self.failed += 1
            self._line("FAIL", claim, started)
            for line in _details(error):
                print(f"       {line}")
        else:
            signal.alarm(0)
            self.passed += 1
            self._line("ok", claim, started)
        sys.stdout.flush()

    @staticmethod
    def _line(result, claim, started):
        print(f"{result:4} {claim} ({time.monotonic() - started:.1f} s)")

    def totals(self):
        """The last line of a run."""
        return f"{self.passed} passed, {self.failed} failed"


def expect(condition, text):
    """Fails with `text` unless `condition` holds."""
    if not condition:
        raise Failure(text)


def expect_equal(found, expected, what):
    """Fails unless `found` is what was expected."""
    expect(found == expected, f"{what}: expected {expected!r}, found {found!r}")


def _details(error):
    if isinstance(error, Failure):
        return str(error).splitlines()
    return "".join(traceback.format_exception(error)).splitlines()


def _out_of_time(_signal, _frame):
    raise Failure(f"not finished after {CHECK_SECONDS} s")


signal.signal(signal.SIGALRM, _out_of_time)
