/* Publishing: one event, or an atomic batch. A stream of events is in stream.js.
 *
 * Invariants:
 * - every event has an id before its first try, and the same one in every further try, so trying
 *   again publishes nothing twice;
 * - trying again ends before the gateway could have forgotten the ids; then the outcome is
 *   unknown. */

import { afterFailure } from "./backoff.js";
import { afterOrAborted, systemClock } from "./clock.js";
import { OutcomeUnknown, VidetteError } from "./errors.js";
import { addressOf, answerTo } from "./http.js";
import { Token } from "./token.js";
import { receiptOf, wireEvent } from "./wire-event.js";

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
  #address;
  #options;
  #token;
  #abort = new AbortController();

  constructor(url, options = {}) {
    this.#address = addressOf(url, "v1/events");
    this.#options = {
      clock: systemClock,
      random: Math.random,
      windowMs: WINDOW_MS,
      hasOwnSockets: true,
      ...options,
    };
    this.#token = new Token(options.token);
  }

  /** `{ vid, cursor, duplicate }`, once the event is durable; of an array, an array of them. */
  async publish(events) {
    const isBatch = Array.isArray(events);
    const list = [events].flat().map((event) => this.wire(event));
    if (list.length === 0) return [];
    const texts = list.map(({ text }) => text).join();
    const body = isBatch ? `[${texts}]` : texts;
    const ids = list.map(({ id }) => id);
    const answer = await this.insist(ids, (token) =>
      this.post(body, "application/json", token, (response) => response.json()),
    );
    return isBatch ? answer.events.map(receiptOf) : receiptOf(answer);
  }

  /** Ends what is under way; its outcome is unknown. */
  close() {
    this.#abort.abort(new VidetteError("cut", "closed"));
  }

  /** For streams: the event as it is sent. */
  wire(event) {
    return wireEvent(event, this.#options);
  }

  /** For streams: tries until `run` gives something, an error is final, or the window is over. */
  async insist(ids, run) {
    const { clock, windowMs, random } = this.#options;
    const { signal } = this.#abort;
    const deadline = clock.now() + windowMs;
    let failures = 0;
    for (let refused; ;) {
      if (signal.aborted) throw new OutcomeUnknown(ids, signal.reason);
      let token;
      try {
        token = await this.#token.get(clock.wall(), refused?.token);
        return await run(token);
      } catch (error) {
        if (error.status === 401 && this.#token.isFunction && !refused) {
          refused = { token };
          continue;
        }
        if (isFinal(error)) throw error;
        if (error.hasProgress) failures = 0;
        const waitMs = afterFailure(random, failures++, error.retryAfterMs);
        if (clock.now() + waitMs >= deadline) throw new OutcomeUnknown(ids, error);
        await new Promise((go) => afterOrAborted(clock, waitMs, "retry", signal, go));
      }
    }
  }

  /** For streams: one request, within its time. */
  async post(body, type, token, take) {
    const { clock, hasOwnSockets } = this.#options;
    const cut = new AbortController();
    const closed = this.#abort.signal;
    const end = afterOrAborted(clock, ANSWER_MS, "limit", closed, () =>
      cut.abort(closed.reason ?? new VidetteError("cut", "no answer")),
    );
    try {
      const headers = { "content-type": type };
      const owner = hasOwnSockets && closed;
      const request = { method: "POST", headers, body, signal: cut.signal, owner };
      return await take(await answerTo(this.#address, request, token, this.#options));
    } finally {
      // Of a request that has ended nothing is cut any more.
      end();
    }
  }
}

/** All that says "this request is wrong" rather than "not now". */
const isFinal = ({ status }) => /^4(?!08|29)/.test(status);
