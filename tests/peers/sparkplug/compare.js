// Decodes what a host has received with sparkplug-payload, Eclipse Tahu's own, and compares it with what pysparkplug made
// of it.
//
//     node compare.js FILE     one line of JSON for each message, as host.py writes it
//
// Ends with 1 and the differences. Data has no datatype, as the standard wants it: a host has it from the births.
"use strict";

const fs = require("fs");
const decoder = require("sparkplug-payload").get("spBv1.0");
const { Payload } = require("sparkplug-payload/lib/sparkplugPayloadProto").org.eclipse.tahu.protobuf;

const differences = [];
const known = new Map();
let messages = 0;
let values = 0;

function compare(found, expected, what) {
  if (found !== expected) differences.push(`${what}: ${found} by sparkplug-payload, ${expected} by pysparkplug`);
}

function plain(value) {
  if (value === undefined || value === null) return null;
  return typeof value === "object" ? value.toNumber() : value;
}

for (const line of fs.readFileSync(process.argv[2], "utf8").split("\n").filter((line) => line)) {
  const message = JSON.parse(line);
  const proto = Payload.decode(Buffer.from(message.payload, "base64"));
  const kind = message.topic.split("/")[2];
  if (kind === "NBIRTH") known.clear();
  for (const metric of proto.metrics) {
    const alias = Object.hasOwn(metric, "alias") ? metric.alias.toNumber() : null;
    if (kind === "DBIRTH") known.set(alias, { name: metric.name, datatype: metric.datatype });
    if (kind === "DDATA") Object.assign(metric, known.get(alias));
  }
  const payload = decoder.decodePayload(Payload.encode(proto).finish());
  const metrics = payload.metrics || [];
  compare(plain(payload.seq), message.seq, `seq of ${message.topic}`);
  compare(plain(payload.timestamp), message.timestamp, `timestamp of ${message.topic}`);
  compare(metrics.length, message.metrics.length, `metrics of ${message.topic}`);
  message.metrics.slice(0, metrics.length).forEach((expected, place) => {
    const found = metrics[place];
    const what = `${message.topic}, ${expected.name}`;
    compare(found.name, expected.name, `name in ${what}`);
    compare(plain(found.alias), expected.alias, `alias of ${what}`);
    compare(plain(found.timestamp), expected.timestamp, `timestamp of ${what}`);
    compare(proto.metrics[place].datatype, expected.datatype, `datatype of ${what}`);
    compare(plain(found.value), expected.value, `value of ${what}`);
    compare(found.isHistorical === true, expected.is_historical, `whether it is historical, of ${what}`);
    if (kind === "DBIRTH") compare(found.properties.Quality.type, "Int32", `type of the quality of ${what}`);
    values += 1;
  });
  messages += 1;
}

for (const difference of differences.slice(0, 20)) console.log(difference);
console.log(`compared ${values} values of ${messages} messages, ${differences.length} differences`);
process.exit(differences.length || !messages ? 1 : 0);
