/* Publishing: one event, or an atomic batch. A stream of events is in stream.js.
 *
 * Invariants:
 * - every event has an id before its first try, and the same one in every further try, so trying
 *   again publishes nothing twice;
 * - trying again ends before the gateway could have forgotten the ids; then the outcome is
 *   unknown. */

import { Backoff } from "./backoff.js";
import { pause, systemClock } from "./clock.js";
import { OutcomeUnknown, VidetteError } from "./errors.js";
import { addressOf, checkStatus, headersOf, loadSockets } from "./http.js";
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
  #sockets;
  #abort = new AbortController();

  constructor(url, options = {}) {
    this.#address = addressOf(url, "v1/events");
    this.#options = {
      clock: systemClock,
      random: Math.random,
      fetch: (...request) => globalThis.fetch(...request),
      windowMs: WINDOW_MS,
      ...options,
    };
    this.#token = new Token(options.token);
    if (options.hasOwnSockets !== false) this.#sockets = loadSockets();
  }

  /** `{ vid, cursor, duplicate }`, once the event is durable; of an array, an array of them. */
  async publish(events) {
    const isBatch = Array.isArray(events);
    const list = [events].flat().map((event) => this.wire(event));
    if (list.length === 0) return [];
    const texts = list.map(({ text }) => text);
    const body = isBatch ? `[${texts.join(",")}]` : texts[0];
    const ids = list.map(({ id }) => id);
    const answer = await this.insist(ids, (token) =>
      this.post(body, "application/json", token, (response) => response.json()),
    );
    return isBatch ? answer.events.map(receiptOf) : receiptOf(answer);
  }

  /** Ends what is under way; its outcome is unknown. */
  close() {
    this.#abort.abort(new VidetteError("cut", "closed"));
    this.#sockets?.then((sockets) => sockets?.destroy()).catch(() => {});
  }

  /** For streams: the event as it is sent. */
  wire(event) {
    return wireEvent(event, this.#options);
  }

  /** For streams: tries until `run` gives something, an error is final, or the window is over. */
  async insist(ids, run) {
    const { clock, windowMs, random } = this.#options;
    const { signal } = this.#abort;
    const backoff = new Backoff(random);
    const began = clock.now();
    for (let refused; ;) {
      if (signal.aborted) throw new OutcomeUnknown(ids, signal.reason);
      let token;
      try {
        token = refused
          ? await this.#token.renew(refused.token)
          : await this.#token.get(clock.wall());
        return await run(token);
      } catch (error) {
        if (error.status === 401 && this.#token.isFunction && !refused) {
          refused = { token };
          continue;
        }
        if (isFinal(error)) throw error;
        if (error.hasProgress) backoff.failures = 0;
        const waitMs = backoff.failed(error.retryAfterMs);
        if (waitMs >= windowMs - (clock.now() - began)) throw new OutcomeUnknown(ids, error);
        await pause(clock, waitMs, "retry", signal);
      }
    }
  }

  /** For streams: one request, within its time. */
  async post(body, type, token, take) {
    const { clock, fetch, credentials } = this.#options;
    const cut = new AbortController();
    const closed = this.#abort.signal;
    const onClose = () => cut.abort(closed.reason);
    const cancel = clock.after(
      ANSWER_MS,
      () => cut.abort(new VidetteError("cut", "no answer")),
      "limit",
    );
    closed.addEventListener("abort", onClose);
    try {
      const dispatcher = await this.#sockets;
      const response = await fetch(this.#address, {
        method: "POST",
        headers: headersOf(token, { "content-type": type }),
        body,
        signal: cut.signal,
        ...(credentials && { credentials }),
        ...(dispatcher && { dispatcher }),
      });
      return await take(await checkStatus(response, clock.wall()));
    } finally {
      cancel();
      closed.removeEventListener("abort", onClose);
    }
  }
}

/** All that says "this request is wrong" rather than "not now". */
function isFinal({ status }) {
  return status >= 400 && status < 500 && status !== 429 && status !== 408;
}
