/* The adapter that the common kit of all libraries drives: JSON lines in, JSON lines out.
 * Waits and limits are quickened by the clock; what was asked for is what is said. The time until SSE
 * is tried again is measured, so it is quickened as limits are. */

import { createInterface } from "node:readline";
import { Publisher } from "../src/publish.js";
import { EventStream } from "../src/stream.js";
import { subscribe } from "../src/subscribe.js";
import { VERSION } from "../src/node.js";

let waitFactor = Number(process.env.VIDETTE_KIT_WAITS ?? "0.01");
const LIMIT_FACTOR = Number(process.env.VIDETTE_KIT_LIMITS ?? "0.1");
let url = process.env.VIDETTE_KIT_URL;

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

/** Measured times are quickened as limits are, so the clock itself runs faster. */
const clock = {
  now: () => performance.now() / LIMIT_FACTOR,
  wall: () => Date.now(),
  after(ms, run, kind) {
    if (kind !== "limit") say({ say: "wait", ms: Math.round(ms), why: kind });
    const timer = setTimeout(run, ms * (kind === "limit" ? LIMIT_FACTOR : waitFactor));
    return () => clearTimeout(timer);
  },
};

function countedToken() {
  let n = 0;
  return () => {
    n += 1;
    say({ say: "token", n });
    return `token-${n}`;
  };
}

function sayEvent({ vid, cursor, topic, type, id, data, raw }) {
  const body =
    data instanceof Uint8Array ? { base64: Buffer.from(data).toString("base64") } : { raw };
  say({ say: "event", vid, cursor, topic, type, id, ...body });
}

function errorOf(error) {
  const kinds = ["gap", "status", "protocol", "too_large"];
  const kind = kinds.includes(error.kind) ? error.kind : "other";
  return { say: "error", kind, status: error.status, message: error.message };
}

/** One subscription at a time, read by its iterator. */
class Reading {
  #events;
  #ahead; // the item that an "ack" has asked for
  #takes = Promise.resolve();
  #isEnded = false;

  constructor({ on_gap: onGap, topic, after, since, snapshot, transport, token, ...more }) {
    const given = { topic, after, since, snapshot, transport, onGap };
    const known = Object.entries(given).filter(([, value]) => value !== undefined);
    this.subscription = subscribe(url, {
      ...Object.fromEntries(known),
      ...(token && { token: countedToken() }),
      ...(more.sse_again_ms !== undefined && { sseAgainMs: more.sse_again_ms }),
      ...(more.max_event_bytes !== undefined && { maxEventBytes: more.max_event_bytes }),
      log: (level, text) => console.error(level, text),
      clock,
    });
    const { subscription } = this;
    subscription.addEventListener("gap", ({ detail }) => say({ ...detail, say: "gap" }));
    subscription.addEventListener("caughtup", ({ detail }) => say({ say: "caught_up", ...detail }));
    this.#events = subscription[Symbol.asyncIterator]();
  }

  take(count = Infinity) {
    this.#takes = this.#takes.then(async () => {
      for (let taken = 0; taken < count && !this.#isEnded; taken += 1) await this.#sayNext();
    });
  }

  ack() {
    this.#takes = this.#takes.then(() => {
      this.#ahead ??= this.#events.next();
      this.#ahead.catch(() => {});
    });
  }

  async #sayNext() {
    try {
      const next = this.#ahead ?? this.#events.next();
      this.#ahead = undefined;
      const { value, done } = await next;
      if (done) this.ended();
      else sayEvent(value);
    } catch (error) {
      say(errorOf(error));
      this.ended();
    }
  }

  close() {
    this.subscription.close();
    this.ended();
  }

  ended() {
    if (!this.#isEnded) say({ say: "ended" });
    this.#isEnded = true;
  }

  state() {
    const { cursor = null, ...status } = this.subscription.status;
    say({ say: "state", ...status, cursor });
  }
}

let reading;
let publisher;
let stream;

function publisherFor({ token, window_ms: windowMs }) {
  publisher ??= new Publisher(url, {
    clock,
    ...(token && { token: countedToken() }),
    ...(windowMs !== undefined && { windowMs }),
  });
  return publisher;
}

/** Says what becomes of the events that have these places in the command. */
function sayOutcome(ref, indexes, promise) {
  const sayAll = (lineAt) =>
    indexes.forEach((index, at) => say({ say: "receipt", ref, index, ...lineAt(at) }));
  promise.then(
    (receipts) => sayAll((at) => [receipts].flat()[at]),
    ({ kind, status }) => {
      const error = kind === "status" || kind === "outcome_unknown" ? kind : "other";
      sayAll(() => ({ error, status }));
    },
  );
}

function publish({ ref, mode, events, ...options }) {
  const target = publisherFor(options);
  const all = [...events.keys()];
  if (mode === "batch") return sayOutcome(ref, all, target.publish(events));
  if (mode !== "stream") return sayOutcome(ref, [0], target.publish(events[0]));
  stream ??= new EventStream(target);
  return all.forEach((index) => sayOutcome(ref, [index], stream.send(events[index])));
}

const sayReady = () =>
  say({ say: "ready", library: "@vidette/client", version: VERSION, resets: true });

const commands = {
  subscribe: (command) => (reading = new Reading(command)),
  take: ({ n }) => reading.take(n),
  ack: () => reading.ack(),
  state: () => reading.state(),
  close() {
    reading?.close();
    publisher?.close();
    publisher = stream = undefined;
  },
  publish,
  /** The next scenario, in this process. */
  reset(command) {
    commands.close();
    reading = undefined;
    ({ url, waits: waitFactor } = command);
    sayReady();
  },
};

sayReady();
const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => {
  const command = JSON.parse(line);
  const run = commands[command.do];
  if (run) run(command);
  else say({ say: "unsupported", do: command.do });
});
lines.on("close", () => {
  reading?.close();
  process.exit(0);
});
