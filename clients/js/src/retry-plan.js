/* What follows the end of a connection: an error that ends all, or a wait, and which transport.
 *
 * Invariants: no count of tries ends it; what the same request would meet again does. */

import { afterFailure, afterOrderlyEnd } from "./backoff.js";
import { GapError } from "./errors.js";

const GOOD_MS = 10_000;
const SHORT_MS = 1000;
const SSE_AGAIN_MS = 600_000;
/** At this sum of doubts whether streams get through, polls are tried. */
const ENOUGH_DOUBT = 6;
const FINAL_STATUSES = [400, 401, 403, 404, 410];
const FINAL_KINDS = ["protocol", "too_large", "gap"];

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
    const { random } = this.#options;
    const isGood = hasEvents || lastedMs >= GOOD_MS;
    if (isGood) {
      this.#failures = 0;
      this.#awaySince = undefined;
    }
    this.#checkFinal(error);
    if (!closing && this.#triesPolls(end)) return undefined;

    const isOrderly = closing || (!error && lastedMs >= GOOD_MS);
    const askedMs = isOrderly
      ? afterOrderlyEnd(random, closing?.retry_ms ?? retryMs)
      : error?.retryAfterMs;
    // One orderly end after the other, with nothing between them, is not how it should be.
    const isExpected = isOrderly && (isGood || !this.#wasOrderly);
    this.#wasOrderly = isOrderly;
    return isExpected ? askedMs : afterFailure(random, this.#failures++, askedMs);
  }

  #checkFinal(error) {
    const { clock, maxElapsed } = this.#options;
    const { kind, status, problem } = error ?? {};
    if (status === 410 && problem?.reason) throw new GapError(problem);
    if (FINAL_KINDS.includes(kind) || FINAL_STATUSES.includes(status)) throw error;
    this.#awaySince ??= clock.now();
    if (clock.now() - this.#awaySince >= maxElapsed) throw error ?? new Error("gone");
  }

  /** Chooses the transport; says whether to go on with it at once. */
  #triesPolls({ error, lastedMs }) {
    const { clock, transport = "auto", sseAgainMs = SSE_AGAIN_MS } = this.#options;
    if (this.transport !== "sse") {
      if (this.#isTrial) this.useSse();
      return false;
    }
    const isBuffered = error?.kind === "buffered";
    if (lastedMs >= SHORT_MS) this.#doubt = 0;
    this.#doubt += isBuffered ? ENOUGH_DOUBT : doubtOf(error, lastedMs);
    if (this.#doubt < ENOUGH_DOUBT) return false;

    this.#doubt = 0;
    this.#isTrial = !isBuffered;
    this.#pollUntil = clock.now() + sseAgainMs;
    return isBuffered && transport === "auto";
  }
}

/** Two pages of somebody else are enough, and so are three streams that end soon. */
function doubtOf(error, lastedMs) {
  const { kind, status } = error ?? {};
  if (kind === "content_type" || status === 502 || status === 504) return ENOUGH_DOUBT / 2;
  return lastedMs < SHORT_MS ? ENOUGH_DOUBT / 3 : 0;
}
