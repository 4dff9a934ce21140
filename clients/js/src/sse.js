/* A stream of Server-Sent Events, as steps of a subscription. */

import { VidetteError } from "./errors.js";
import { BusEvent } from "./event.js";
import { SseParser } from "./sse-parser.js";

const HELLO_MS = 10_000;
const FIRST_BYTE_MS = 5000;
const HEARTBEATS = 2.5;
const LONGEST_SILENCE_MS = 3_600_000;

/** Yields arrays of steps `{ hello | event | caughtUp | progress | gap | closing | retry }`, until
 *  the stream ends; `link.openedAt` tells since when it has been open. */
export async function* openSse(link) {
  const { clock, watch } = link;
  const began = clock.now();
  watch.set(HELLO_MS, "no answer");
  const response = await link.get("v1/sse", "text/event-stream");
  link.openedAt ??= clock.now();

  const parser = new SseParser(link.longestEvent);
  const state = {}; // `{ epoch, silenceMs }`, once they are known
  // The hello comes at once: headers without it are those of a proxy that holds the stream back.
  watch.set(FIRST_BYTE_MS, "buffered");
  for await (const bytes of link.chunks(response)) {
    watch.stop();
    const steps = parser.push(bytes).flatMap((block) => stepsOf(block, state));
    if (steps.length > 0) yield steps;
    const untilHello = Math.max(HELLO_MS - (clock.now() - began), 0);
    watch.set(state.silenceMs ?? untilHello, state.silenceMs ? "silence" : "no hello");
  }
}

function stepsOf(block, state) {
  const steps = block.retry === undefined ? [] : [{ retry: block.retry }];
  if (block.data !== undefined) steps.push(...parsed(block, state));
  else if (block.id) steps.push({ progress: block.id });
  return steps;
}

function parsed(block, state) {
  try {
    const { event = "", data } = block;
    if (event.startsWith("vidette.")) return named(event.slice(8), JSON.parse(data), state);
    const made = new BusEvent(data, block.id, state.epoch);
    if (Number.isSafeInteger(made.vid)) return [{ event: made, length: data.length }];
  } catch {
    // Said below.
  }
  throw new VidetteError("passing", "the stream has something that is no event");
}

/** What the gateway says itself; of later versions' events nothing is known. */
function named(name, data, state) {
  if (name === "hello") {
    state.epoch = data.epoch;
    state.silenceMs = Math.min(data.heartbeat_ms * HEARTBEATS, LONGEST_SILENCE_MS) || HELLO_MS;
    return [{ hello: data }];
  }
  if (name === "gap") {
    state.epoch = data.epoch ?? state.epoch;
    return [{ gap: data }];
  }
  if (name === "caught_up") return [{ caughtUp: data.cursor }];
  if (name === "closing") return [{ closing: data }];
  return [];
}
