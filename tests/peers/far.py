"""A network namespace for a server, behind a pair of interfaces: its packets can be dropped without disturbing others."""

import contextlib
import os

from report import expect_equal
from stage import output

# Names are the machine's, and several runs may go on at once.
NAME = f"metergate-far-{os.getpid()}"
NEAR_ADDRESS = "198.51.100.1"
ADDRESS = "198.51.100.2"
# In front of a command that runs there.
INSIDE = ("ip", "netns", "exec", NAME)


@contextlib.contextmanager
def namespace():
    """The namespace, with a way there and back."""
    _run("ip", "netns", "add", NAME)
    try:
        _run("ip", "link", "add", "near", "type", "veth", "peer", "name", "far", "netns", NAME)
        _run("ip", "address", "add", f"{NEAR_ADDRESS}/24", "dev", "near")
        _run("ip", "link", "set", "near", "up")
        _run("ip", "-n", NAME, "address", "add", f"{ADDRESS}/24", "dev", "far")
        _run("ip", "-n", NAME, "link", "set", "far", "up")
        _run("ip", "-n", NAME, "link", "set", "lo", "up")
        yield
    finally:
        _run("ip", "netns", "del", NAME)


def drop_everything():
    """From now on nothing comes back from there."""
    _run("ip", "-n", NAME, "route", "add", "blackhole", f"{NEAR_ADDRESS}/32")


def drop_nothing():
    """The way back is there again."""
    _run("ip", "-n", NAME, "route", "del", "blackhole", f"{NEAR_ADDRESS}/32")


def _run(*command):
    code, printed = output(*command)
    expect_equal(code, 0, f"{' '.join(command)}: {printed}")
