/* Connects, reads, and connects again, until it is closed or an error is final.
 *
 * Invariants: one connection at a time; none, and no timer, once it is closed. */

import { vidOf } from "./cursor.js";
import { loadPolls } from "./lazy.js";
import { Link } from "./link.js";
import { RetryPlan } from "./retry-plan.js";
import { openSse } from "./sse.js";

const LEAST_BETWEEN_WAKES_MS = 2000;
const SSE_AGAIN_MS = 600_000;
/** Why a connection is cut that is no failure of anybody. */
const NO_FAILURE = ["restart", "network", "slept", "hidden", "offline", "frozen", "tabs"];

export class Reader {
  state = "connecting";
  transport;
  reconnects = 0;
  lag = 0;
  why; // it waits
  waitMs; // from the beginning of a wait
  heartbeatMs; // of the gateway, once it has named it
  #options;
  #sequence;
  #token;
  #sink;
  #plan;
  #holds = new Set();
  #link;
  #isClosed = false;
  #connections = 0;
  #renewed = false; // the token, since a connection last worked
  #lastWake = -Infinity;
  #interrupt = () => {};
  #cancelSseAgain = () => {};

  /** `sink`: `step(step)`, `room()`, `failed(error)`, `changed()`. */
  constructor(options, sequence, token, sink) {
    this.#options = options;
    this.#sequence = sequence;
    this.#token = token;
    this.#sink = sink;
    this.#plan = new RetryPlan(options);
    this.transport = this.#plan.transport;
  }

  async run() {
    while (!this.#isClosed) {
      if (this.isHeld) {
        await this.#waitFor(() => () => {}, [...this.#holds][0]);
        if (!this.isHeld) await this.#spread();
        continue;
      }
      const end = await this.#connect();
      if (this.#isClosed) break;
      if (end.reason) this.#options.log("debug", `the connection was cut: ${end.reason}`);
      if (end.isAtOnce || (await this.#renewsToken(end))) continue;
      const { error, waitMs } = this.#plan.next(end);
      if (error) return this.#fail(error);
      this.#chooseTransport();
      if (waitMs !== undefined) await this.#retryAfter(waitMs, end);
    }
  }

  /** What must succeed before there is a connection is tried again as connections are. */
  async insist(run) {
    while (!this.#isClosed) {
      try {
        return await run();
      } catch (error) {
        const next = this.#plan.next({ error });
        if (next.error) return this.#fail(next.error);
        await this.#retryAfter(next.waitMs, { error });
      }
    }
  }

  close() {
    this.#isClosed = true;
    this.#cancelSseAgain();
    this.#link?.cut("closed");
    this.#interrupt();
    this.#enter("closed");
  }

  get isHeld() {
    return this.#holds.size > 0;
  }

  /** Stays away for this reason until it is released; release says whether that ended it. */
  hold(reason) {
    if (this.#holds.has(reason)) return;
    this.#holds.add(reason);
    this.#link?.cut(reason);
    this.#interrupt();
  }

  release(reason) {
    if (!this.#holds.delete(reason) || this.isHeld) return false;
    this.#plan.reset();
    this.#interrupt();
    return true;
  }

  /** Something has changed for the better: no wait any more. `network` makes SSE worth a try. */
  wake(network = false) {
    const now = this.#options.clock.now();
    if (network) this.#switchToSse("network");
    if (this.isHeld || this.state !== "waiting") return;
    if (now - this.#lastWake < LEAST_BETWEEN_WAKES_MS) return;
    this.#lastWake = now;
    this.#plan.reset();
    this.#interrupt();
  }

  /** The state of a tab that follows another one. */
  show(state) {
    if (this.#holds.has("tabs")) this.#enter(state);
  }

  /** Connects anew, from where the sequence says. */
  restart() {
    this.#link?.cut("restart");
  }

  async #connect() {
    const { clock } = this.#options;
    const end = {};
    this.#enter("connecting");
    if (this.#connections++ > 0) this.reconnects += 1;
    try {
      const token = await this.#token.get(clock.wall());
      if (this.#isClosed || this.isHeld) return { isAtOnce: true };
      this.#link = new Link(this.#options, token, () => this.#sequence.query());
      await this.#read(end);
    } catch (error) {
      end.error = error;
    }
    const { reason, openedAt, token } = this.#link ?? {};
    this.#link?.end();
    this.#link = undefined;
    const isOpen = openedAt !== undefined;
    const lastedMs = isOpen ? clock.now() - openedAt : 0;
    return { ...end, reason, token, isOpen, lastedMs, isAtOnce: NO_FAILURE.includes(reason) };
  }

  async #read(end) {
    const link = this.#link;
    const opened = this.transport === "poll" ? (await loadPolls()).openPolls(link) : openSse(link);
    for await (const steps of opened) {
      for (const step of steps) {
        if (link.signal.aborted) return;
        this.#take(step, end);
      }
      if (end.closing) break;
      await this.#sink.room();
      if (link.signal.aborted) return;
    }
  }

  #take(step, end) {
    if (step.hello) this.#hello(step.hello);
    if (step.retry !== undefined) end.retryMs = step.retry;
    if (step.closing) end.closing = step.closing;
    if (step.event) {
      end.hasEvents = true;
      this.#plan.good();
    }
    // At the live end each poll says so again.
    const isNews = step.caughtUp && this.state !== "live";
    if (isNews) this.#enter("live");
    this.#sink.step(step.caughtUp && !isNews ? { progress: step.caughtUp } : step);
  }

  #hello(hello) {
    this.#renewed = false;
    this.#plan.opened();
    this.#sequence.hello(hello);
    this.heartbeatMs = hello.heartbeat_ms ?? this.heartbeatMs;
    this.lag = Math.max(hello.last - (vidOf(this.#sequence.position) || 0), 0);
    if (this.state !== "live") this.#enter("catching-up");
  }

  /** After a 401 the token is asked for once; a second one is final. */
  async #renewsToken(end) {
    if (end.error?.status !== 401 || !this.#token.isFunction || this.#renewed) return false;
    try {
      await this.#token.get(this.#options.clock.wall(), end.token);
      this.#renewed = true;
    } catch (error) {
      // Whoever gives tokens is away as well; that says nothing about this reader's rights.
      end.error = error;
    }
    return this.#renewed;
  }

  #chooseTransport() {
    if (this.#plan.transport === this.transport) return;
    this.transport = this.#plan.transport;
    this.#cancelSseAgain();
    if (this.transport !== "poll") return;
    const { clock, sseAgainMs = SSE_AGAIN_MS } = this.#options;
    this.#cancelSseAgain = clock.after(sseAgainMs, () => this.#switchToSse("restart"), "sse");
  }

  #switchToSse(reason) {
    this.#plan.useSse();
    if (this.#plan.transport === this.transport) return;
    this.#chooseTransport();
    this.#link?.cut(reason);
  }

  async #retryAfter(waitMs, end) {
    const why = end.closing?.reason ?? end.error?.message ?? "the connection ended";
    this.#options.log("debug", `${why}; trying again in ${Math.round(waitMs)} ms`);
    await this.#waitFor((done) => this.#options.clock.after(waitMs, done, "retry"), why, waitMs);
  }

  /** A network that comes and goes makes no more than one connection in two seconds. */
  async #spread() {
    const { clock } = this.#options;
    const leftMs = LEAST_BETWEEN_WAKES_MS - (clock.now() - this.#lastWake);
    if (leftMs > 0) await this.#waitFor((done) => clock.after(leftMs, done, "retry"));
    this.#lastWake = clock.now();
  }

  /** Waits for what `begin` starts, or for an interruption. */
  async #waitFor(begin, why, waitMs) {
    Object.assign(this, { why, waitMs });
    this.#enter("waiting");
    await new Promise((resolve) => {
      const cancel = begin(resolve);
      this.#interrupt = () => {
        cancel();
        resolve();
      };
    });
    this.#interrupt = () => {};
  }

  #fail(error) {
    this.close();
    this.#sink.failed(error);
  }

  #enter(state) {
    if (this.state === state || (this.#isClosed && state !== "closed")) return;
    this.state = state;
    this.#sink.changed();
  }
}
