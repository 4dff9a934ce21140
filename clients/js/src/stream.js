/* A stream of events as NDJSON: while one request is under way, the next one is collected.
 *
 * Invariants: events are sent in the order of `send`; what is unanswered when a request breaks off
 * is sent again, before anything newer; bounded, as `send` refuses beyond the bound. */

import { StatusError, VidetteError } from "./errors.js";
import { receiptOf } from "./wire-event.js";

const MOST_A_REQUEST = 1000;
const LONGEST_REQUEST = 4_194_304;
const MOST_WAITING = 10_000;

export class EventStream {
  #publisher;
  #waiting = [];
  #running;

  constructor(publisher) {
    this.#publisher = publisher;
  }

  /** Resolves with the receipt once the event is durable. */
  send(event) {
    if (this.#waiting.length >= MOST_WAITING) {
      return Promise.reject(
        new VidetteError("other", "too many events wait; await some receipts first"),
      );
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ ...this.#publisher.wire(event), resolve, reject });
      this.#running ??= this.#run();
    });
  }

  /** Resolves when all that has been sent is answered. */
  async close() {
    await this.#running;
  }

  async #run() {
    // All that is sent in this turn goes into the first request.
    await undefined;
    while (this.#waiting.length > 0) {
      const part = this.#nextPart();
      const ids = part.map(({ id }) => id);
      try {
        await this.#publisher.insist(ids, (token) => this.#try(part, token));
      } catch (error) {
        if (error.ids) error.ids = part.map(({ id }) => id);
        part.forEach(({ reject }) => reject(error));
      }
    }
    this.#running = undefined;
  }

  #nextPart() {
    let length = 0;
    const isBeyond = ({ text }, at) => at > 0 && (length += text.length) > LONGEST_REQUEST;
    const beyond = this.#waiting.slice(0, MOST_A_REQUEST).findIndex(isBeyond);
    return this.#waiting.splice(0, beyond > 0 ? beyond : MOST_A_REQUEST);
  }

  /** Sends what is left of the part, and takes away what is answered. */
  async #try(part, token) {
    const before = part.length;
    const body = part.map(({ text }) => `${text}\n`).join("");
    try {
      await this.#publisher.post(body, "application/x-ndjson", token, async (response) => {
        for await (const line of linesOf(response)) this.#answered(part, JSON.parse(line));
      });
      if (part.length > 0) throw new VidetteError("cut", "the answer broke off");
    } catch (error) {
      error.hasProgress = part.length < before;
      throw error;
    }
  }

  #answered(part, answer) {
    const { status, retryAfterMs } = answer.error ?? {};
    const error = answer.error && new StatusError(status, answer.error, retryAfterMs);
    // "Not now" for one is "not now" for those behind it: sending all again keeps the order.
    if (error && (status >= 500 || status === 429)) throw error;
    const { resolve, reject } = part.shift() ?? {};
    if (error) reject?.(error);
    else resolve?.(receiptOf(answer));
  }
}

async function* linesOf(response) {
  const decoder = new TextDecoder();
  const body = response.body.getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await body.read();
      rest += decoder.decode(value, { stream: !done });
      const lines = rest.split("\n");
      rest = lines.pop();
      yield* lines.filter((line) => line.trim() !== "");
      if (done) break;
    }
    if (rest.trim() !== "") yield rest;
  } finally {
    body.cancel().catch(() => {});
  }
}
