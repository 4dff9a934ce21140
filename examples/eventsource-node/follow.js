import { EventSource } from "eventsource";
import { existsSync, readFileSync, writeFileSync } from "node:fs";

const gateway = process.argv[2] ?? "http://127.0.0.1:8080";
const after = existsSync("cursor") ? readFileSync("cursor", "utf8") : "earliest";
const events = new EventSource(`${gateway}/v1/sse?topic=door.*&after=${after}`);

const handle = ({ data, lastEventId }) => {
  const event = JSON.parse(data);
  console.log(event.vid, event.topic, event.type ?? "", JSON.stringify(event.data));
  writeFileSync("cursor", lastEventId); // only now: an event that was not handled comes again
};

// An EventSource hands on the types that it is asked for; "message" is an event without one.
for (const type of ["message", "opened", "closed"]) events.addEventListener(type, handle);
events.addEventListener("vidette.gap", ({ data }) => console.error("events are gone:", data));
events.addEventListener("error", ({ message }) => {
  if (events.readyState === EventSource.CLOSED) throw new Error(message); // any status but 200 ends it for good
});
