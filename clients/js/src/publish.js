/* Publishing: one event, an atomic batch, or a stream of events in order.
 *
 * Invariants:
 * - every event has an id before its first try, and the same one in every further try, so trying
 *   again publishes nothing twice;
 * - trying again ends before the gateway could have forgotten the ids; then the outcome is unknown. */

import { Backoff } from "./backoff.js";
import { pause, systemClock } from "./clock.js";
import { OutcomeUnknown, VidetteError } from "./errors.js";
import { addressOf, checkStatus, headersOf } from "./http.js";
import { ownSockets } from "./node-sockets.js";
import { EventStream } from "./publish-stream.js";
import { Token } from "./token.js";
import { wireEvent } from "./wire-event.js";

export { OutcomeUnknown, StatusError, VidetteError } from "./errors.js";
export { uuidv7 } from "./wire-event.js";

/** The gateway's dedupe window of two minutes, less ten seconds. */
const WINDOW_MS = 110_000;
const ANSWER_MS = 30_000;

/** Publishes one event, or an array of them as one atomic batch. For more than a few calls make a
 *  `Publisher`: it asks for its token once. */
export function publish(url, events, options) {
  return new Publisher(url, { ...options, hasOwnSockets: false }).publish(events);
}

export class Publisher {
  #url;
  #options;
  #token;
  #abort = new AbortController();
  #sockets;

  constructor(url, options = {}) {
    this.#url = url;
    this.#options = {
      clock: systemClock,
      random: Math.random,
      fetch: (...request) => globalThis.fetch(...request),
      windowMs: WINDOW_MS,
      ...options,
    };
    this.#token = new Token(options.token);
    if (options.hasOwnSockets !== false) this.#sockets = ownSockets();
  }

  /** `{ vid, cursor, duplicate }`, once the event is durable; of an array, an array of them. */
  async publish(events) {
    const isBatch = Array.isArray(events);
    const list = [events].flat().map((event) => wireEvent(event, this.#options));
    if (list.length === 0) return [];
    const texts = list.map(({ text }) => text);
    const body = isBatch ? `[${texts.join(",")}]` : texts[0];
    const ids = list.map(({ id }) => id);
    const answer = await this.#insist(ids, (attempt) => this.#post(body, "application/json", attempt));
    return isBatch ? answer.events.map(receiptOf) : receiptOf(answer);
  }

  /** A stream: events are sent in order, many to a request, each answered by itself. */
  stream() {
    return new EventStream({
      make: (event) => wireEvent(event, this.#options),
      insist: (ids, run) => this.#insist(ids, run),
      post: (body, attempt) => this.#postLines(body, attempt),
      receiptOf,
    });
  }

  /** Ends what is under way; its outcome is unknown. */
  close() {
    this.#abort.abort(new VidetteError("cut", "closed"));
    this.#sockets?.destroy().catch(() => {});
  }

  /** Tries until `run` gives something, an error is final, or the window is over. */
  async #insist(ids, run) {
    const { clock, windowMs, random } = this.#options;
    const backoff = new Backoff(random);
    const began = clock.now();
    for (let renewed = false; ; ) {
      if (this.#abort.signal.aborted) throw new OutcomeUnknown(ids, this.#abort.signal.reason);
      const attempt = { token: await this.#token.get(clock.wall()) };
      try {
        return await run(attempt);
      } catch (error) {
        if (error.status === 401 && this.#token.isFunction && !renewed) {
          renewed = true;
          await this.#token.renew(attempt.token);
          continue;
        }
        if (isFinal(error)) throw error;
        if (error.hasProgress) backoff.failures = 0;
        const waitMs = backoff.failed(error.retryAfterMs);
        const leftMs = windowMs - (clock.now() - began);
        if (waitMs >= leftMs) throw new OutcomeUnknown(ids, error);
        await pause(clock, waitMs, "retry", this.#abort.signal);
      }
    }
  }

  async #post(body, type, attempt) {
    return this.#request(body, type, attempt, (response) => response.json());
  }

  #postLines(body, attempt) {
    return (take) => this.#request(body, "application/x-ndjson", attempt, take);
  }

  /** One request, within its time. */
  async #request(body, type, { token }, take) {
    const { clock, fetch, credentials } = this.#options;
    const cut = new AbortController();
    const onClose = () => cut.abort(this.#abort.signal.reason);
    const cancel = clock.after(ANSWER_MS, () => cut.abort(new VidetteError("cut", "no answer")), "limit");
    this.#abort.signal.addEventListener("abort", onClose);
    try {
      const response = await fetch(addressOf(this.#url, "v1/events"), {
        method: "POST",
        headers: headersOf(token, { "content-type": type }),
        body,
        signal: cut.signal,
        ...(credentials && { credentials }),
        ...(this.#sockets && { dispatcher: this.#sockets }),
      });
      return await take(await checkStatus(response, clock.wall()));
    } finally {
      cancel();
      this.#abort.signal.removeEventListener("abort", onClose);
    }
  }
}

/** All that says "this request is wrong" rather than "not now". */
function isFinal({ status }) {
  return status >= 400 && status < 500 && status !== 429 && status !== 408;
}

const receiptOf = ({ vid, cursor, duplicate = false }) => ({ vid, cursor, duplicate });
