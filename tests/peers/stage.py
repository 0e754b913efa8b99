"""What the clients play on: simulated meters, the gateway under test, and a capture of every frame between them.

Owns the processes it starts: each is ended by its own process identifier, in bounded time, whatever happens.
"""

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

HOST = "127.0.0.1"
# The dissectors and nmap know Modbus by this port.
PORT = 502
READ_ONLY_PORT = 1502
DEMO_PORT = 5020
# RTU over TCP, which the dissector knows by no port: it is not captured.
RTU_PORT = 2101
UNITS = range(1, 9)
# Configured, but absent from the line.
DEAD_UNIT = 9
# Not configured.
UNROUTED_UNIT = 77

START_SECONDS = 20
STOP_SECONDS = 15

CONFIGURATION = """\
listeners:
  - address: {host}:{port}
    writes: allow
  - address: {host}:{read_only_port}
    writes: deny
  - address: {host}:{rtu_port}
    framing: rtu
    writes: allow
    broadcast: silent
    answer_within: 2s
buses:
  - name: chain
    device: {device}
    baud_rate: 19200
    units:
      - id: 1-8
      - id: {dead_unit}
        name: Absent
status: "off"
"""


class Stage:
    """The running programs and where their papers are."""

    def __init__(self, program, directory):
        self.program = program
        self.directory = pathlib.Path(directory)
        self.device = self.directory / "line"
        self.configuration = self.directory / "metergate.yaml"
        self.capture_file = self.directory / "peers.pcapng"
        # Requests the dissector cannot know (it wants the first eight bytes of an ADU in one segment), in order:
        # transaction, unit, function.
        self.undissected = []
        self.gateway = None
        self.capture = None

    def start_process(self, name, *command):
        """Starts a program whose output goes to NAME.log."""
        with open(self.log(name), "wb") as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)

    def log(self, name):
        """The path of a program's log."""
        return self.directory / f"{name}.log"

    def logged(self, name):
        """What a program has printed so far."""
        return self.log(name).read_text(errors="replace")

    def wait_for(self, what, ready, name, process):
        """Waits until `ready()`; fails with the program's output if it ends first or takes too long."""
        end = time.monotonic() + START_SECONDS
        while not ready():
            if process.poll() is not None:
                raise RuntimeError(f"{name} ended with {process.returncode} before {what}:\n{self.logged(name)}")
            if time.monotonic() > end:
                raise RuntimeError(f"no {what} within {START_SECONDS} s:\n{self.logged(name)}")
            time.sleep(0.02)


@contextlib.contextmanager
def bare(program):
    """A stage on which nothing runs yet."""
    directory = tempfile.mkdtemp(prefix="metergate-peers-")
    try:
        yield Stage(program, directory)
    finally:
        shutil.rmtree(directory)


@contextlib.contextmanager
def raised(program):
    """A stage with everything running; taken down again at the end."""
    running = []
    with bare(program) as stage:
        try:
            _start(stage, running)
            yield stage
        finally:
            for process in reversed(running):
                end(process)


def _start(stage, running):
    simulator = stage.start_process(
        "simulate", stage.program, "simulate", "--link", str(stage.device), "--units", "1-8", "--baud", "19200"
    )
    running.append(simulator)
    stage.wait_for("a device", stage.device.exists, "simulate", simulator)

    # dumpcap names its file once the interface is open and the filter set: nothing is missed from here on.
    ports = " or ".join(f"tcp port {port}" for port in (PORT, READ_ONLY_PORT, DEMO_PORT))
    stage.capture = stage.start_process("dumpcap", "dumpcap", "-q", "-i", "lo", "-f", ports, "-w", stage.capture_file)
    running.append(stage.capture)
    stage.wait_for("a capture", lambda: "File: " in stage.logged("dumpcap"), "dumpcap", stage.capture)

    stage.configuration.write_text(
        CONFIGURATION.format(
            host=HOST,
            port=PORT,
            read_only_port=READ_ONLY_PORT,
            rtu_port=RTU_PORT,
            device=stage.device,
            dead_unit=DEAD_UNIT,
        )
    )
    stage.gateway = stage.start_process("run", stage.program, "run", "--config", str(stage.configuration))
    running.append(stage.gateway)
    for port in (PORT, READ_ONLY_PORT, RTU_PORT):
        stage.wait_for(f"listener on port {port}", lambda port=port: listens(port), "run", stage.gateway)


def listens(port):
    """Whether a program accepts connections on `port`."""
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
        return True
    return False


def end(process, how=signal.SIGTERM):
    """Ends a process this run started and hands back its exit code."""
    if process.poll() is None:
        os.kill(process.pid, how)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_SECONDS)
    return process.returncode


def output(*command, seconds=60):
    """Runs a client to its end; hands back its exit code and everything it printed."""
    done = subprocess.run(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=seconds,
        check=False,
    )
    return done.returncode, done.stdout.decode(errors="replace")
