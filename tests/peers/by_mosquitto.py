"""mosquitto, mosquitto_sub and paho-mqtt: a broker and its clients, as readings reach them.

The broker has passwords and an ACL, and TLS with certificates on both sides; it is killed, stopped and started again,
with and without what it kept on disk, cut off without a word, and out of memory. Discovery is judged by the models of
ha-mqtt-discoverable, which has its own idea of Home Assistant's fields, and its templates are rendered by jinja2.
"""

import contextlib
import datetime
import json
import queue
import time
import urllib.request

import jinja2
import paho.mqtt.client as paho
from ha_mqtt_discoverable import DeviceInfo
from ha_mqtt_discoverable.sensors import BinarySensorInfo, SensorInfo
from pymodbus.client import ModbusTcpClient

import far
import publishing
from report import expect, expect_equal
from stage import HOST, output

BROKER_PORT = 1883
TLS_PORT = 8883
GATEWAY_PORT = 1504
STATUS_PORT = 8504
EVERY_SECONDS = 2
# Longer than a broker that falls silent is waited for, and than the longest pause before it is tried again.
STATE_SECONDS = 90
# Of each block, to be counted.
MESSAGES = 6
UNITS = (1, 2)

CONFIGURATION = """\
listeners:
  - address: {host}:{gateway_port}
    max_age: 5s
buses:
  - name: riser-a
    device: {device}
    echo: off
    units: [{{id: 1-2, profile: leviton-4000r, poll: 1s}}]
status: {{address: "{host}:{status_port}"}}
mqtt:
  - broker: {broker}
    client_id: metergate-peers
    username: {user}
    password_file: {password}
    topic: site/harbour
    every: {every}s
    home_assistant: homeassistant
"""

SETTINGS = """\
listener {port} {host}
allow_anonymous false
password_file {directory}/mosquitto.passwd
acl_file {directory}/mosquitto.acl
{persistence}
"""

ACL = """\
pattern readwrite site/%u/#
user harbour
topic readwrite homeassistant/+/site_harbour_eb5c7072/#
user reader
topic read #
"""


def one_message_a_block(stage):
    """paho-mqtt sees one message per block and `every`, none false, none with another's time, and states retained"""
    with publishing.meters(stage), _mosquitto(stage), _Listener() as seen, _gateway(stage):
        first = seen.message("site/harbour/riser-a/1/floats")
        begun = time.monotonic()
        power = _registers(1)
        # `configuration` is read in parts: its alerts with the measurements, the rest once a minute.
        blocks = ("floats", "integers", "configuration")
        messages = {f"site/harbour/riser-a/{unit}/{block}": [] for unit in UNITS for block in blocks}
        while min(len(of_block) for of_block in messages.values()) < MESSAGES:
            message = seen.message_with(lambda one: one.topic in messages, "a reading")
            messages[message.topic].append(message)
        took = time.monotonic() - begun
        for topic, of_block in messages.items():
            # A slow machine sends later, and no more; the message after a late one may be due at once.
            most = took / EVERY_SECONDS + 2
            expect(len(of_block) <= most, f"{len(of_block)} messages in {took:.1f} s at {topic}")
            times = [_time(one) for one in of_block]
            expect(times == sorted(times), f"times go back at {topic}: {times}")
            values = [json.loads(one.payload)["values"] for one in of_block]
            expect(all(values), f"a message without a value at {topic}")
            if topic.endswith("/floats"):
                expect(55 < values[-1]["frequency_f"] < 65, f"frequency {values[-1]}")
            if topic.endswith("/integers"):
                energies = [one["real_energy_total"] for one in values]
                expect(None not in energies, f"energy that the meter has: {energies}")
        expect(not first.retain and first.qos == 1, f"retained {first.retain}, QoS {first.qos}")
        expect(len(power) == 2, f"registers: {power}")
    with publishing.meters(stage), _mosquitto(stage), _gateway(stage), _Listener() as seen:
        state = seen.message("site/harbour/riser-a/1/state", lambda one: json.loads(one.payload)["state"] == "online")
        expect(state.retain or state.qos == 1, "a state that is not kept")


def equals_what_read_says(stage):
    """the meter's alerts are what pymodbus reads from their register"""
    with publishing.meters(stage, "--seed", "7"), _mosquitto(stage), _Listener() as seen, _gateway(stage):
        told = seen.message("site/harbour/riser-a/1/configuration", lambda one: b"alert_bitmap" in one.payload)
        client = ModbusTcpClient(HOST, port=GATEWAY_PORT, timeout=5)
        expect(client.connect(), "the gateway takes no connection")
        with client:
            alerts = client.read_holding_registers(145, count=1, device_id=1).registers[0]
        expect_equal(json.loads(told.payload)["values"]["alert_bitmap"], alerts, "the alerts")


def by_mosquitto_sub(stage):
    """mosquitto_sub gets the retained states, and `offline` once the gateway is gone"""
    with publishing.meters(stage), _mosquitto(stage):
        with _gateway(stage), _Listener() as seen:
            seen.message("site/harbour/riser-a/2/state", lambda one: b'"online"' in one.payload)
            code, printed = _subscribe("site/harbour/+/+/state", 2)
            expect(code == 0 and printed.count('"state":"online"') == 2, f"{code}: {printed}")
        code, printed = _subscribe("site/harbour/status", 1)
        expect_equal(printed.strip(), "site/harbour/status offline", "the status after a stop")


def killed_gateway(stage):
    """a gateway that is killed is `offline` by the will"""
    with publishing.meters(stage), _mosquitto(stage), _Listener() as seen:
        with _gateway(stage) as gateway:
            seen.message("site/harbour/status", lambda one: one.payload == b"online")
            gateway.kill()
            seen.message("site/harbour/status", lambda one: one.payload == b"offline")


def wrong_password(stage):
    """a wrong password, and a user without rights, are said in words"""
    with publishing.meters(stage), _mosquitto(stage), _gateway(stage, password="wrong"):
        _until(lambda: "check `username`, `password_file`" in stage.logged(publishing.GATEWAY), "refusal in the log")


def over_tls(stage):
    """mosquitto accepts the gateway by its certificate, and not without one; the gateway says so"""
    folder = stage.directory / "mqtt-tls"
    code, printed = output(stage.program, "tls", "init", folder, "--name", HOST, "--role", "Publisher")
    expect(code == 0, f"tls init: {printed}")
    listener = f"listener {TLS_PORT} {HOST}\ncafile {folder}/ca.pem\ncertfile {folder}/server.pem\n"
    listener += f"keyfile {folder}/server.key\nrequire_certificate true\n"
    broker, trust = f"mqtts://{HOST}:{TLS_PORT}", f"    ca: {folder}/ca.pem\n"
    shown = f"    certificate: {folder}/client-Publisher.pem\n    key: {folder}/client-Publisher.key\n"
    with publishing.meters(stage), _mosquitto(stage, f"persistence false\n{listener}"), _Listener() as seen:
        with _gateway(stage, broker=broker, keys=trust + shown):
            for unit in UNITS:
                seen.message(f"site/harbour/riser-a/{unit}/floats")
        seen.message("site/harbour/status", lambda one: one.payload == b"offline")
        with _gateway(stage, broker=broker, keys=trust):
            words = "does it accept the client's certificate?"
            _until(lambda: words in stage.logged(publishing.GATEWAY), "refusal in the log")


def ended_and_back(stage):
    """a broker that is killed or stopped and comes back, with and without its memory, gets what was kept in order"""
    on_disk = f"persistence true\npersistence_location {stage.directory}/"
    for persistence, how in (("persistence false", "kill"), (on_disk, "end")):
        with publishing.meters(stage), contextlib.ExitStack() as running:
            with _mosquitto(stage, persistence, how=how):
                running.enter_context(_gateway(stage))
                with _Listener() as seen:
                    seen.message("site/harbour/riser-a/1/floats")
            gone = _now()
            _until(lambda: _broker()["queued"] >= 6 * len(UNITS), "readings that are kept")
            with _mosquitto(stage, persistence, how=how), _Listener() as seen:
                times = _times_until(seen, _now())
                kept = [one for one in times if gone < one]
                expect(len(kept) >= 2, f"{kept} of the time since {gone}")
                expect("site/harbour/riser-a/1/state" in {one.topic for one in seen.kept}, "no state came first")


def cut_off(stage):
    """a broker in a black hole is given up, publishes the will, and gets what was kept; no client notices"""
    address = f"mqtt://{far.ADDRESS}:{BROKER_PORT}"
    with far.namespace(), publishing.meters(stage), _mosquitto(stage, host="0.0.0.0", inside=far.INSIDE):
        with _gateway(stage, broker=address):
            with _Listener(far.ADDRESS) as seen:
                seen.message("site/harbour/riser-a/1/floats")
            far.drop_everything()
            gone = _now()
            _until(lambda: not _broker()["connected"], "end of the connection")
            error = _broker()["last_error"]
            expect("acknowledge" in error, f"the error: {error}")
            _until(lambda: "no answer from" in _broker()["last_error"], "attempt that is not answered")
            expect_equal(len(_registers(1)), 2, "registers meanwhile")
            _until(lambda: "offline" in _subscribe("site/harbour/status", 1, *far.INSIDE)[1], "will")
            far.drop_nothing()
            back = _now()
            with _Listener(far.ADDRESS) as seen:
                times = _times_until(seen, back)
                # The buffer holds them all; a slow machine reads and keeps fewer.
                kept = {one for one in times if gone < one < back}
                expect(len(kept) > (back - gone).seconds / EVERY_SECONDS / 2, f"{len(kept)} readings since {gone}")
                expect_equal(_broker()["dropped"], 0, "dropped")
                _until(lambda: "online" in _subscribe("site/harbour/status", 1, *far.INSIDE)[1], "`online`")


def out_of_memory(stage):
    """a full broker costs the oldest readings beyond `buffer`, counted, and no client; then the rest comes in order"""
    full = "persistence false\nmemory_limit 600000\nmax_queued_messages 0"
    with publishing.meters(stage), contextlib.ExitStack() as running:
        with _mosquitto(stage, full):
            running.enter_context(_gateway(stage, every=1, keys="    buffer: 64kB\n"))
            with _Listener() as seen:
                seen.message("site/harbour/riser-a/1/floats")
            _fill_up()
            full_at = _now()
            _until(lambda: _broker()["dropped"] >= 20, "readings that are dropped")
            expect(_broker()["queued_bytes"] <= 64_000, f"{_broker()}")
            expect_equal(len(_registers(1)), 2, "registers meanwhile")
        with _mosquitto(stage), _Listener() as seen:
            times = _times_until(seen, _now())
            expect(times[0] > full_at, f"the oldest go first, and one of {times[0]} came after {full_at}")


def discovery(stage):
    """every message of the discovery fits the models of ha-mqtt-discoverable, and a removed unit goes"""
    with publishing.meters(stage), _mosquitto(stage), _Listener() as seen, _gateway(stage) as gateway:
        seen.message("site/harbour/riser-a/1/floats")
        configs = {one.topic: one for one in seen.everything_for(5) if one.topic.endswith("/config")}
        configs.update({one.topic: one for one in seen.kept if one.topic.endswith("/config")})
        expect(len(configs) > 80, f"{len(configs)} entities")
        for topic, message in configs.items():
            _judge(topic, json.loads(message.payload))
        stage_file = stage.directory / "publishing.yaml"
        stage_file.write_text(stage_file.read_text().replace("id: 1-2", "id: 1"))
        gateway.send_signal(1)
        gone = "homeassistant/sensor/site_harbour_eb5c7072/riser_a_0b2ca2c0-2-real_power_total/config"
        seen.message(gone, lambda one: one.payload == b"")
        stage_file.write_text(stage_file.read_text().replace("    home_assistant: homeassistant\n", ""))
        gateway.send_signal(1)
        gone = "homeassistant/binary_sensor/site_harbour_eb5c7072/connection/config"
        seen.message(gone, lambda one: one.payload == b"")


def old_readings(stage):
    """the template of an entity, as jinja2 renders it: a value by the age of its reading, and nothing where it is not in"""
    with publishing.meters(stage), _mosquitto(stage), _Listener() as seen, _gateway(stage):
        announced = seen.message_with(lambda one: one.topic.endswith("-1-real_power_total/config"))
        config = json.loads(announced.payload)
        reading = seen.message(config["state_topic"])
        point = config["value_template"].split("'")[3]
        value = json.loads(reading.payload)["values"][point]
        for seconds, rendered in ((0, str(value)), (config["expire_after"] + 1, "None")):
            expect_equal(_render(config, json.loads(reading.payload), seconds), rendered, f"after {seconds} s")
        other = {"time": json.loads(reading.payload)["time"], "values": {}}
        expect_equal(_render(config, other, 0), "", "a message without the point")
        null = {"time": other["time"], "values": {point: None}}
        expect_equal(_render(config, null, 0), "None", "not available")


def _render(config, message, seconds):
    """What Home Assistant makes of a message so many seconds after its reading: it has these two functions."""
    time_of_reading = datetime.datetime.fromisoformat(message["time"].replace("Z", "+00:00"))
    environment = jinja2.Environment(autoescape=False)
    environment.globals["now"] = lambda: time_of_reading + datetime.timedelta(seconds=seconds)
    environment.globals["as_datetime"] = lambda text: datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    return environment.from_string(config["value_template"]).render(value_json=message)


def _judge(topic, config):
    device = DeviceInfo(**config.pop("device"))
    expect(device.identifiers, f"{topic}: a device without an identifier")
    availability = config.pop("availability", [])
    for known in ("state_topic", "availability_mode", "origin"):
        config.pop(known, None)
    model = BinarySensorInfo if "/binary_sensor/" in topic else SensorInfo
    unknown = set(config) - set(model.model_fields) - {"payload_on", "payload_off"}
    expect(not unknown, f"{topic}: {unknown}")
    entity = model(device=device, **config)
    if model is SensorInfo:
        expect_equal(len(availability), 2, f"{topic}: topics of its availability")
        expect(device.via_device == "site/harbour", f"{topic}: via {device.via_device}")
        if entity.device_class == "energy":
            expect_equal(entity.state_class, "total_increasing", topic)


class _Listener:
    """A client of the broker that keeps everything it gets."""

    def __init__(self, host=HOST):
        self.host = host
        self.messages = queue.Queue()
        self.kept = []
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="peers-listener")
        self.client.username_pw_set("reader", "reader-secret")
        self.client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self.client.on_message = lambda _client, _data, message: self.messages.put(message)

    def __enter__(self):
        self.client.connect(self.host, BROKER_PORT)
        self.client.loop_start()
        return self

    def __exit__(self, *_):
        self.client.disconnect()
        self.client.loop_stop()

    def message(self, topic, fits=lambda _: True):
        """The next message at a topic that fits."""
        return self.message_with(lambda one: one.topic == topic and fits(one), topic)

    def message_with(self, fits, what="such a topic"):
        """The next message that fits."""
        deadline = time.monotonic() + STATE_SECONDS
        while True:
            try:
                message = self.messages.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                seen = sorted({one.topic for one in self.kept if not one.topic.startswith("homeassistant")})
                expect(False, f"no message at {what} within {STATE_SECONDS} s, but at {seen}")
            self.kept.append(message)
            if fits(message):
                return message

    def everything_for(self, seconds):
        """All messages of this time."""
        deadline = time.monotonic() + seconds
        messages = []
        while (left := deadline - time.monotonic()) > 0:
            with contextlib.suppress(queue.Empty):
                messages.append(self.messages.get(timeout=left))
        return messages


def _time(message):
    return datetime.datetime.fromisoformat(json.loads(message.payload)["time"].replace("Z", "+00:00"))


def _times_until(seen, until):
    """The times of the readings of a block, up to the first from after that; they come in order."""
    times = []
    while not times or times[-1] < until:
        times.append(_time(seen.message("site/harbour/riser-a/1/floats")))
    expect(times == sorted(times), f"times go back: {times}")
    return times


def _now():
    return datetime.datetime.now(datetime.timezone.utc)


def _broker():
    """What the gateway says of its broker."""
    with urllib.request.urlopen(f"http://{HOST}:{STATUS_PORT}/api/v1/brokers", timeout=10) as answer:
        return json.load(answer)[0]


def _fill_up():
    """Messages for a subscriber that is away, until the broker has no memory for more; the gateway's follow."""
    login = ["-h", HOST, "-p", BROKER_PORT, "-u", "harbour", "-P", "harbour-secret"]
    code, printed = output("mosquitto_sub", *login, "-i", "absent", "-c", "-q", 1, "-t", "site/harbour/#", "-E")
    expect(code == 0, f"mosquitto_sub: {printed}")
    for size in (10_000, 1_000, 100):
        filler = paho.Client(paho.CallbackAPIVersion.VERSION2, reconnect_on_failure=False)
        filler.username_pw_set("harbour", "harbour-secret")
        filler.connect(HOST, BROKER_PORT)
        filler.loop_start()
        is_taken = True
        while is_taken:
            message = filler.publish("site/harbour/filler", b"x" * size, qos=1)
            message.wait_for_publish(1)
            is_taken = message.is_published()
        filler.loop_stop()


def _subscribe(topic, count, *inside):
    login = ["-u", "reader", "-P", "reader-secret"]
    where = ["-h", HOST, "-p", BROKER_PORT]
    return output(*inside, "mosquitto_sub", *where, *login, "-v", "-t", topic, "-C", count, "-W", 10)


def _registers(unit):
    client = ModbusTcpClient(HOST, port=GATEWAY_PORT, timeout=5)
    expect(client.connect(), "the gateway takes no connection")
    with client:
        return client.read_holding_registers(260, count=2, device_id=unit).registers


def _mosquitto(stage, persistence="persistence false", host=HOST, inside=(), how="kill"):
    directory = stage.directory
    passwords = directory / "mosquitto.passwd"
    passwords.touch(mode=0o600)
    for user, password in (("harbour", "harbour-secret"), ("reader", "reader-secret")):
        code, printed = output("mosquitto_passwd", "-b", passwords, user, password)
        expect(code == 0, f"mosquitto_passwd: {printed}")
    (directory / "mosquitto.acl").write_text(ACL)
    settings = SETTINGS.format(host=host, port=BROKER_PORT, directory=directory, persistence=persistence)
    return publishing.mosquitto(stage, settings, inside, how)


def _gateway(
    stage,
    password="harbour-secret",
    broker=f"mqtt://{HOST}:{BROKER_PORT}",
    every=EVERY_SECONDS,
    keys="",
):
    file = stage.directory / "mqtt.password"
    file.touch(mode=0o600)
    file.write_text(f"{password}\n")
    text = CONFIGURATION.format(
        host=HOST,
        broker=broker,
        gateway_port=GATEWAY_PORT,
        status_port=STATUS_PORT,
        device=publishing.line(stage),
        user="harbour",
        password=file,
        every=every,
    )
    return publishing.gateway(stage, text + keys, "messages and")


def _until(condition, what):
    publishing.until(condition, what, STATE_SECONDS)


CHECKS = [
    one_message_a_block,
    equals_what_read_says,
    by_mosquitto_sub,
    killed_gateway,
    wrong_password,
    over_tls,
    ended_and_back,
    cut_off,
    out_of_memory,
    discovery,
    old_readings,
]
