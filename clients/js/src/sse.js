/* A stream of Server-Sent Events, as steps of a subscription. */

import { VidetteError } from "./errors.js";
import { BusEvent } from "./event.js";
import { SseParser } from "./sse-parser.js";

const HELLO_MS = 10_000;
const FIRST_BYTE_MS = 5000;
const HEARTBEATS = 2.5;
const LONGEST_SILENCE_MS = 3_600_000;
/** What the gateway says itself; of later versions' events nothing is known. */
const OWN_EVENTS = ["hello", "gap", "closing"];

/** Yields arrays of steps `{ hello, event, caughtUp, progress, gap, closing, retry }`, each with what
 *  came, until the stream ends; `link.openedAt` is since when it has been open. */
export async function* openSse(link) {
  const { clock, watch } = link;
  const helloDue = clock.now() + HELLO_MS;
  watch.set(HELLO_MS, "no answer");
  const response = await link.get("v1/sse", "text/event-stream");
  link.openedAt = clock.now();

  const parser = new SseParser(link.longestEvent);
  let silenceMs;
  // The hello comes at once: headers without it are those of a proxy that holds the stream back.
  watch.set(FIRST_BYTE_MS, "buffered", "buffered");
  for await (const bytes of link.chunks(response)) {
    watch.stop();
    const steps = parser.push(bytes).map(stepOf);
    yield steps;
    for (const { hello } of steps) if (hello) silenceMs = longestSilence(hello);
    if (silenceMs) watch.set(silenceMs, "silence");
    else watch.set(helloDue - clock.now(), "no hello");
  }
}

const longestSilence = ({ heartbeat_ms: ms }) =>
  Math.min(ms * HEARTBEATS, LONGEST_SILENCE_MS) || HELLO_MS;

function stepOf({ id, event = "", data, retry }) {
  if (data === undefined) return { retry, progress: id };
  try {
    const [, name] = /^vidette\.(.*)/s.exec(event) ?? [];
    if (name === "caught_up") return { retry, caughtUp: JSON.parse(data).cursor };
    if (name !== undefined)
      return { retry, ...(OWN_EVENTS.includes(name) && { [name]: JSON.parse(data) }) };
    const made = new BusEvent(data, id);
    if (Number.isSafeInteger(made.vid)) return { retry, event: made, length: data.length };
  } catch {
    // Said below.
  }
  throw new VidetteError("passing", "something in the stream is no event");
}
