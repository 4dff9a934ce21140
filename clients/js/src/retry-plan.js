/* What follows the end of a connection: an error that ends all, or a wait, and which transport.
 *
 * Invariants: no count of tries ends it; what the same request would meet again does. */

import { afterFailure, afterOrderlyEnd } from "./backoff.js";
import { GapError } from "./errors.js";

const GOOD_MS = 10_000;
const SHORT_MS = 1000;
const SSE_AGAIN_MS = 600_000;
/** Statuses and kinds of errors that end it. */
const FINAL = [400, 401, 403, 404, 410, "protocol", "too_large", "gap"];
/** How doubtful an end makes it that streams get through; polls are tried when it is enough. */
const ENOUGH_DOUBT = 6;
const DOUBTS = { buffered: 6, content_type: 3, 502: 3, 504: 3 };
const DOUBT_OF_SHORT_STREAM = 2;

export class RetryPlan {
  #options;
  #failures = 0;
  #doubt = 0;
  #pollUntil = 0;
  #isTrial = false; // a poll that has still to show that it works better
  #wasOrderly = false;
  #awaySince;

  /** `options` are those of the subscription. */
  constructor(options) {
    this.#options = options;
  }

  /** The one to use next. */
  get transport() {
    const { clock, transport = "auto" } = this.#options;
    if (transport !== "auto") return transport;
    return clock.now() < this.#pollUntil ? "poll" : "sse";
  }

  /** The gateway has answered as it should. */
  opened() {
    this.#isTrial = false;
  }

  /** The network is another one, or somebody looks again. */
  reset() {
    this.#failures = 0;
    this.#doubt = 0;
  }

  useSse() {
    this.#pollUntil = 0;
  }

  /**
   * `end`: `{ lastedMs, hasEvents, error, closing, retryMs }`, of which `lastedMs` is NaN where no
   * connection was opened. Throws an error that is final; gives the milliseconds to wait, or
   * undefined where it goes on at once.
   */
  next(end) {
    const { lastedMs, hasEvents, error, closing, retryMs } = end;
    const { clock, random, maxElapsed } = this.#options;
    const isGood = hasEvents || lastedMs >= GOOD_MS;
    if (isGood) {
      this.#failures = 0;
      this.#awaySince = undefined;
    }
    if (error?.status === 410 && error.problem?.reason) throw new GapError(error.problem);
    if (FINAL.includes(nameOf(error))) throw error;
    this.#awaySince ??= clock.now();
    if (clock.now() - this.#awaySince >= maxElapsed) throw error ?? new Error("gone");
    if (!closing && this.#triesPolls(error, lastedMs)) return undefined;

    const isOrderly = closing || (!error && lastedMs >= GOOD_MS);
    const askedMs = isOrderly
      ? afterOrderlyEnd(random, closing?.retry_ms ?? retryMs)
      : error?.retryAfterMs;
    // One orderly end after the other, with nothing between them, is not how it should be.
    const isExpected = isOrderly && (isGood || !this.#wasOrderly);
    this.#wasOrderly = isOrderly;
    return isExpected ? askedMs : afterFailure(random, this.#failures++, askedMs);
  }

  /** Chooses the transport; says whether to go on with it at once. */
  #triesPolls(error, lastedMs) {
    if (this.transport === "poll") {
      if (this.#isTrial) this.useSse();
      return false;
    }
    const name = nameOf(error);
    const doubtOfLength = lastedMs < SHORT_MS ? DOUBT_OF_SHORT_STREAM : 0;
    if (lastedMs >= SHORT_MS) this.#doubt = 0;
    this.#doubt += DOUBTS[name] ?? doubtOfLength;
    if (this.#doubt < ENOUGH_DOUBT) return false;

    const { clock, sseAgainMs = SSE_AGAIN_MS } = this.#options;
    this.#doubt = 0;
    this.#isTrial = name !== "buffered";
    this.#pollUntil = clock.now() + sseAgainMs;
    return !this.#isTrial && this.transport === "poll";
  }
}

const nameOf = (error) => error?.status ?? error?.kind;
