/* What follows the end of a connection: an error that ends all, or a wait, and which transport.
 *
 * Invariants: no count of tries ends it; what the same request would meet again does. */

import { afterFailure, afterOrderlyEnd } from "./backoff.js";
import { GapError } from "./errors.js";

const GOOD_MS = 10_000;
const SHORT_MS = 1000;
const SHORT_ENDS = 3;
const BAD_ANSWERS = 2;
const FINAL_STATUSES = [400, 401, 403, 404, 410];
const FINAL_KINDS = ["protocol", "too_large", "gap"];

export class RetryPlan {
  #random;
  #failures = 0;
  #clock;
  #maxElapsedMs;
  #isFixed;
  #isTrial = false; // a poll that has still to show that it works better
  #shortEnds = 0;
  #badAnswers = 0;
  #wasOrderly = false;
  #awaySince;

  constructor({ random, clock, transport = "auto", maxElapsed = Infinity }) {
    this.#random = random;
    this.#clock = clock;
    this.#maxElapsedMs = maxElapsed;
    this.#isFixed = transport !== "auto";
    this.transport = transport === "poll" ? "poll" : "sse";
  }

  /** The gateway has answered as it should. */
  opened() {
    this.#badAnswers = 0;
    this.#isTrial = false;
  }

  /** The connection was good for something: failures before it do not count any more. */
  good() {
    this.#failures = 0;
    this.#awaySince = undefined;
  }

  /** The network is another one, or somebody looks again. */
  reset() {
    this.#failures = 0;
    this.#shortEnds = 0;
    this.#badAnswers = 0;
  }

  useSse() {
    if (!this.#isFixed) this.transport = "sse";
  }

  /**
   * `end`: `{ lastedMs, isOpen, hasEvents, error, reason, closing, retryMs }`.
   * Gives `{ error }` if it is final, else `{ waitMs }`, without a wait where it goes on at once.
   */
  next(end) {
    if (end.hasEvents || (end.isOpen && end.lastedMs >= GOOD_MS)) this.good();
    const error = finalError(end) ?? this.#tooLong(end);
    if (error) return { error };
    if (this.#chooses(end)) return {};
    return { waitMs: this.#wait(end) };
  }

  #tooLong(end) {
    const now = this.#clock.now();
    this.#awaySince ??= now;
    return now - this.#awaySince >= this.#maxElapsedMs
      ? (end.error ?? new Error("gone"))
      : undefined;
  }

  /** Chooses the transport; says whether to go on with it at once. */
  #chooses(end) {
    if (this.#isFixed || end.closing) return false;
    if (this.transport === "poll") {
      if (this.#isTrial) this.transport = "sse";
      this.#isTrial = false;
      return false;
    }
    if (end.reason === "buffered") return this.#tryPolls(false);
    const isShort = end.isOpen && end.lastedMs < SHORT_MS;
    this.#shortEnds = isShort ? this.#shortEnds + 1 : 0;
    const { kind, status } = end.error ?? {};
    if (kind === "content_type" || status === 502 || status === 504) this.#badAnswers += 1;
    const isTime = this.#shortEnds >= SHORT_ENDS || this.#badAnswers >= BAD_ANSWERS;
    if (isTime) this.#tryPolls(true);
    return false;
  }

  #tryPolls(isTrial) {
    this.#shortEnds = 0;
    this.#badAnswers = 0;
    this.#isTrial = isTrial;
    this.transport = "poll";
    return true;
  }

  #wait(end) {
    const floorMs = end.error?.retryAfterMs ?? 0;
    const isOrderly = Boolean(end.closing) || (!end.error && end.lastedMs >= GOOD_MS);
    const isFirst = !this.#wasOrderly || end.hasEvents || end.lastedMs >= GOOD_MS;
    this.#wasOrderly = isOrderly;
    if (!isOrderly) return this.#failed(floorMs);

    // One orderly end after the other, with nothing between them, is not how it should be.
    const asked = afterOrderlyEnd(this.#random, end.closing?.retry_ms ?? end.retryMs);
    return isFirst ? asked : this.#failed(asked);
  }

  #failed(floorMs) {
    return afterFailure(this.#random, this.#failures++, floorMs);
  }
}

function finalError({ error }) {
  if (FINAL_KINDS.includes(error?.kind)) return error;
  if (!FINAL_STATUSES.includes(error?.status)) return undefined;
  const { status, problem } = error;
  return status === 410 && problem?.reason ? new GapError(problem) : error;
}
