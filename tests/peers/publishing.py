"""What a broker and its clients play on: meters, mosquitto and a gateway that publishes, each ended with its check."""

import contextlib
import time

from report import expect
from stage import end, output

METERS, MOSQUITTO, GATEWAY = "published-meters", "mosquitto", "publishing"


def line(stage):
    """The device of the meters."""
    return stage.directory / "published-line"


@contextlib.contextmanager
def meters(stage, *options):
    """Meters 1 and 2."""
    command = ["simulate", "--link", str(line(stage)), "--units", "1-2", "--baud", "19200", *options]
    simulator = stage.start_process(METERS, stage.program, *command)
    try:
        stage.wait_for("a device", line(stage).exists, METERS, simulator)
        yield
    finally:
        end(simulator)


@contextlib.contextmanager
def mosquitto(stage, settings, inside=(), how="kill"):
    """A broker with these settings, started by the command `inside` if there is one."""
    configuration = stage.directory / "mosquitto.conf"
    # Started by root it would give its rights up to a user of its own, who may not read the files of this run.
    configuration.write_text(f"{settings}\nuser root\n")
    broker = stage.start_process(MOSQUITTO, *inside, "mosquitto", "-c", str(configuration))
    try:
        stage.wait_for("mosquitto", lambda: "running" in stage.logged(MOSQUITTO), MOSQUITTO, broker)
        yield
    finally:
        if how == "kill":
            broker.kill()
        end(broker)


@contextlib.contextmanager
def gateway(stage, text, checked):
    """A gateway with this configuration, of which `check` says that."""
    configuration = stage.directory / "publishing.yaml"
    configuration.write_text(text)
    code, printed = output(stage.program, "check", configuration)
    expect(code == 0 and checked in printed, f"check: exit code {code}\n{printed}")
    process = stage.start_process(GATEWAY, stage.program, "run", str(configuration))
    try:
        stage.wait_for("an open port", lambda: "port open" in stage.logged(GATEWAY), GATEWAY, process)
        yield process
    finally:
        end(process)


def until(condition, what, seconds):
    """Waits for the condition to hold."""
    deadline = time.monotonic() + seconds
    while not condition():
        expect(time.monotonic() < deadline, f"no {what} within {seconds} s")
        time.sleep(0.02)
