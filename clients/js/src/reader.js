/* Connects, reads into a queue, and connects again, until it is closed or an error is final.
 *
 * Invariants: one connection at a time; none, and no timer, once it is closed. */

import { vidOf } from "./cursor.js";
import { GapError } from "./errors.js";
import { loadPolls } from "./lazy.js";
import { Link } from "./link.js";
import { Queue } from "./queue.js";
import { RetryPlan } from "./retry-plan.js";
import { Sequence } from "./sequence.js";
import { openSse } from "./sse.js";
import { Token } from "./token.js";

const LEAST_BETWEEN_WAKES_MS = 2000;

export class Reader {
  /** As applications see it, with `why` and `waitMs` while it waits. */
  status = { state: "connecting", lag: 0, reconnects: 0, gaps: 0, duplicates: 0 };
  heartbeatMs; // of the gateway, once it has named it
  tabs; // with the other tabs of a browser, where they share a connection
  queue = new Queue();
  sequence;
  token;
  #options;
  #changed;
  #plan;
  #holds = new Set();
  #link; // of the connection, or of the last one
  #refused; // `{ token }`, since a 401, until a connection works
  #nextWake = 0; // at the earliest
  #interrupt = () => {};

  /** `changed()` is called when the state is another one. */
  constructor(options, changed) {
    this.#options = options;
    this.#changed = changed;
    this.sequence = new Sequence(options);
    this.token = new Token(options.token);
    this.#plan = new RetryPlan(options);
    this.status.transport = this.#plan.transport;
  }

  /** Reads until it is closed; rejects with an error that is final. */
  async run() {
    while (!this.#isClosed) {
      if (this.isHeld) await this.#standBy();
      else await this.#follow(await this.#connect());
    }
  }

  /** What must succeed before there is a connection is tried again as connections are. */
  async insist(run) {
    while (!this.#isClosed) {
      try {
        return await run();
      } catch (error) {
        await this.#follow({ error });
      }
    }
  }

  /** `error` is the one that is final, if any; it comes behind what is in the queue. */
  close(error) {
    this.#enter("closed");
    this.#link?.cut("closed");
    this.#interrupt();
    this.tabs?.leave();
    this.queue.end(error);
  }

  get #isClosed() {
    return this.status.state === "closed";
  }

  get isHeld() {
    return this.#holds.size > 0;
  }

  /** Stays away for this reason until it is released; release says whether that ended it. */
  hold(reason) {
    this.#holds.add(reason);
    this.#link?.cut(reason);
    this.#interrupt();
    if (reason !== "tabs") this.tabs?.part();
  }

  release(reason) {
    if (!this.#holds.delete(reason) || this.isHeld) return false;
    this.#plan.reset();
    this.#interrupt();
    if (reason !== "tabs") this.tabs?.join();
    return true;
  }

  /** Something has changed for the better: no wait any more. `network` makes SSE worth a try. */
  wake(network) {
    if (network) this.#plan.useSse();
    this.#keepToPlan("network");
    const now = this.#options.clock.now();
    if (this.isHeld || this.status.state !== "waiting" || now < this.#nextWake) return;
    this.#nextWake = now + LEAST_BETWEEN_WAKES_MS;
    this.#plan.reset();
    this.#interrupt();
  }

  /** A tab that follows another one is at the live end as well. */
  showLive() {
    if (this.#holds.has("tabs")) this.#enter("live");
  }

  /** After a gap: connects anew, and asks for the newest event of each topic. */
  beginWithSnapshot() {
    this.sequence.beginWithSnapshot();
    this.#link?.cut("restart");
  }

  /** What comes, in order, from a connection or from the tab that leads. */
  step(step) {
    const { event, gap, caughtUp, progress } = step;
    const { queue, sequence, status } = this;
    const { onGap } = this.#options;
    if (gap) {
      status.gaps += 1;
      sequence.gap(gap);
      if (onGap === "fail") throw new GapError(gap);
    }
    const isNews = event ? sequence.event(event) : sequence.moved(caughtUp ?? progress);
    step.cursor = sequence.position;
    if (isNews || caughtUp || gap) queue.push(step);
    else if (event) status.duplicates += 1;
    if (gap && onGap === "snapshot") this.beginWithSnapshot();
  }

  /** One connection, from its beginning to its end. */
  async #connect() {
    if (this.#link) this.status.reconnects += 1;
    this.status.transport = this.#plan.transport;
    this.#enter("connecting");
    const link = new Link(this.#options, this.sequence);
    this.#link = link;
    try {
      const { clock } = this.#options;
      link.token = await this.token.get(clock.wall(), this.#refused?.token);
      await this.#read(link);
    } catch (error) {
      link.error ??= error;
    }
    link.end();
    return link;
  }

  async #read(link) {
    const isPoll = this.status.transport === "poll";
    const opened = isPoll ? (await loadPolls()).openPolls(link) : openSse(link);
    for await (const steps of opened) {
      for (const step of steps) {
        if (link.signal.aborted) return;
        this.#take(step, link);
      }
      if (link.closing) return;
      this.#keepToPlan("restart");
      await this.queue.room();
    }
  }

  /** Cuts a connection of another transport than the one to use now. */
  #keepToPlan(reason) {
    if (this.status.transport !== this.#plan.transport) this.#link?.cut(reason);
  }

  #take(step, link) {
    if (step.hello) this.#hello(step.hello);
    link.retryMs = step.retry ?? link.retryMs;
    link.closing ??= step.closing;
    link.hasEvents ||= Boolean(step.event);
    // At the live end each poll says so again.
    const isKnown = step.caughtUp && this.status.state === "live";
    const news = isKnown ? { progress: step.caughtUp } : step;
    if (news.caughtUp) this.#enter("live");
    const from = this.sequence.position;
    this.step(news);
    this.tabs?.brought(news, from);
  }

  #hello(hello) {
    this.#refused = undefined;
    this.#plan.opened();
    this.sequence.hello(hello);
    this.heartbeatMs = hello.heartbeat_ms ?? this.heartbeatMs;
    this.status.lag = Math.max(hello.last - (vidOf(this.sequence.position) || 0), 0);
    if (this.status.state !== "live") this.#enter("catching-up");
  }

  /** What follows the end of a connection: nothing, a new token, or a wait. */
  async #follow(end) {
    const { error, token, closing } = end;
    const { log } = this.#options;
    if (this.#isClosed) return;
    if (error?.kind === "cut") {
      log("debug", `cut: ${error.message}`);
      return;
    }
    // The token is asked for once more; a second 401 is final.
    if (error?.status === 401 && this.token.isFunction && !this.#refused) {
      this.#refused = { token };
      return;
    }
    const waitMs = this.#plan.next(end);
    if (waitMs === undefined) return;
    const why = closing?.reason ?? error?.message ?? "the connection ended";
    log("debug", `${why}; next try in ${Math.round(waitMs)} ms`);
    await this.#wait(why, waitMs);
  }

  /** Waits until nothing holds it any more. */
  async #standBy() {
    const [why] = this.#holds;
    await this.#wait(why);
    // A network that comes and goes makes no more than one connection in two seconds.
    const { clock } = this.#options;
    const leftMs = this.#nextWake - clock.now();
    if (leftMs > 0 && !this.isHeld) await this.#wait(why, leftMs);
    if (!this.isHeld) this.#nextWake = clock.now() + LEAST_BETWEEN_WAKES_MS;
  }

  /** Until something interrupts it, or for so long. */
  async #wait(why, waitMs) {
    if (this.#isClosed) return;
    this.#enter("waiting", why, waitMs);
    let cancel;
    await new Promise((resolve) => {
      this.#interrupt = resolve;
      if (waitMs !== undefined) cancel = this.#options.clock.after(waitMs, resolve, "retry");
    });
    cancel?.();
  }

  #enter(state, why, waitMs) {
    if (this.#isClosed) return;
    const isNews = state !== this.status.state;
    Object.assign(this.status, { state, why, waitMs });
    if (isNews) this.#changed();
  }
}
