/* What an application holds: an async iterator, or an EventTarget, over one reader.
 *
 * Invariants:
 * - nothing runs before something is read;
 * - `cursor` moves behind an event only once the application has finished with it: the next one is
 *   asked for, or the promises of all listeners are resolved;
 * - once closed it has no timer, no connection and no listener of its own left. */

import { GapError, VidetteError } from "./errors.js";
import { lazily } from "./lazy.js";
import { watchPage } from "./page.js";
import { Queue } from "./queue.js";
import { Reader } from "./reader.js";
import { Sequence } from "./sequence.js";
import { Token } from "./token.js";

/** Types of events that are the library's own; events of the bus with such a type are given to
 *  listeners of "event" only. */
const OWN_TYPES = ["event", "gap", "state", "caughtup", "error"];

export class Subscription extends EventTarget {
  /** Of the last event that is finished; the one to save. */
  cursor;
  #options;
  #sequence;
  #reader;
  #token;
  #tabs; // with the other tabs of a browser, where they share a connection
  #queue = new Queue();
  #persisted; // where the cursor is kept, if anywhere
  #current; // the item that the application works on
  #consumer; // "iterator" or "listeners"
  #isStarted = false;
  #isClosed = false;
  #stopWatching = () => {};
  #wrappers = new WeakMap();
  #promises = [];
  #turn = Promise.resolve();
  #resolveCaughtUp;
  #caughtUp = new Promise((resolve) => (this.#resolveCaughtUp = resolve));

  constructor(options) {
    super();
    this.#options = options;
    this.#sequence = new Sequence(options);
    this.#token = new Token(options.token);
    this.#reader = new Reader(options, this.#sequence, this.#token, {
      step: (step) => this.#stepOfReader(step),
      room: () => this.#queue.room(),
      failed: (error) => this.#end(error),
      changed: () => this.#emit("state", this.status),
    });
  }

  get state() {
    return this.#reader.state;
  }

  /** All that is seen from outside, at one moment. */
  get status() {
    const { state, transport, lag, reconnects, why, waitMs } = this.#reader;
    const { gaps, duplicates } = this.#sequence;
    const waiting = state === "waiting" && { why, waitMs };
    return { state, ...waiting, transport, cursor: this.cursor, lag, reconnects, gaps, duplicates };
  }

  /** Resolves when the live end has been reached and all before it has been handled. */
  get caughtUp() {
    this.start();
    return this.#caughtUp;
  }

  /** Begins to read; the first use of the iterator or of a listener does the same. */
  start() {
    if (this.#isStarted || this.#isClosed) return;
    this.#isStarted = true;
    this.#stopWatching = watchPage(this.#options, {
      hold: (reason) => {
        this.#reader.hold(reason);
        this.#tabs?.part();
      },
      release: (reason) => {
        const isReleased = this.#reader.release(reason);
        this.#tabs?.join();
        return isReleased;
      },
      wake: (network) => this.#reader.wake(network),
      flush: () => this.#persisted?.flush(),
    });
    this.#run().catch((error) => this.#end(error));
  }

  async #run() {
    if (this.#options.persist) await this.#reader.insist(() => this.#loadCursor());
    if (this.#options.tabs !== "own" && !this.#isClosed) await this.#joinTabs();
    if (!this.#isClosed) await this.#reader.run();
  }

  async #loadCursor() {
    const { Persisted } = await lazily(() => import("./persist.js"), "./persist.js");
    this.#persisted = new Persisted(this.#options);
    this.#sequence.startAt(await this.#persisted.load());
  }

  async #joinTabs() {
    // A tab that cannot load this connects by itself.
    const { joinTabs } = await import("./tabs.js").catch(() => ({}));
    const tabs = await joinTabs?.({
      options: this.#options,
      reader: this.#reader,
      sequence: this.#sequence,
      token: this.#token,
      step: (step) => this.#step(step),
      room: () => this.#queue.room(),
      isFull: () => this.#queue.isFull,
      cursor: () => this.cursor,
    });
    this.#tabs = tabs;
    if (this.#isClosed) tabs?.leave();
  }

  /** Ends at once; an event that is not finished does not move the cursor. */
  close() {
    this.#current = undefined;
    this.#queue.clear();
    this.#end();
  }

  #end(error) {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#queue.end(error);
    this.#stopWatching();
    this.#tabs?.leave();
    this.#reader.close();
    this.#persisted?.flush();
    if (error) this.#emit("error", error);
  }

  #stepOfReader(step) {
    const from = this.#sequence.position;
    this.#step(step);
    this.#tabs?.brought(step, from);
  }

  /** What comes, in order, from the reader or from the tab that leads. */
  #step(step) {
    const { event, length, gap, caughtUp, progress } = step;
    if (event && this.#sequence.event(event)) {
      this.#queue.push({ event, cursor: event.cursor, length });
    }
    if (gap) this.#gapCame(gap);
    const cursor = caughtUp ?? progress;
    if (cursor && this.#sequence.moved(cursor)) {
      this.#queue.push({ cursor, progress: !caughtUp, caughtUp: Boolean(caughtUp) });
    } else if (caughtUp) {
      this.#queue.push({ caughtUp: true });
    }
  }

  #gapCame(gap) {
    const { onGap } = this.#options;
    this.#sequence.gap(gap);
    if (onGap === "fail") throw new GapError(gap);
    this.#queue.push({ gap });
    if (onGap === "snapshot") this.#beginWithSnapshot();
  }

  #beginWithSnapshot() {
    this.#sequence.beginWithSnapshot();
    this.#reader.restart();
  }

  /** The next event for the application, which has thereby finished with the one before. */
  async #next() {
    this.#finish();
    for (;;) {
      const item = await this.#queue.take();
      if (!item) return { value: undefined, done: true };
      if (item.gap) await this.#tellGap(item.gap);
      if (item.event) {
        this.#current = item;
        return { value: item.event, done: false };
      }
      if (item.cursor) this.#handled(item.cursor);
      if (item.caughtUp) this.#tellCaughtUp();
    }
  }

  #finish() {
    if (this.#current) this.#handled(this.#current.cursor);
    this.#current = undefined;
  }

  #handled(cursor) {
    if (cursor === this.cursor) return;
    this.cursor = cursor;
    this.#persisted?.keep(cursor);
    if (this.#isClosed) this.#persisted?.flush();
  }

  #tellCaughtUp() {
    this.#resolveCaughtUp();
    this.#emit("caughtup", { cursor: this.cursor });
  }

  async #tellGap(gap) {
    const { onGap, log } = this.#options;
    log("warn", `a gap: events after ${gap.requested} are gone (${gap.reason})`);
    await this.#emit("gap", gap);
    if (typeof onGap !== "function") return;
    try {
      const answer = await onGap(gap);
      if (answer === "fail") throw new GapError(gap);
      if (answer !== "snapshot") return;
      this.#queue.clear();
      this.#beginWithSnapshot();
    } catch (error) {
      this.#queue.clear();
      this.#end(error);
    }
  }

  [Symbol.asyncIterator]() {
    this.#consumeAs("iterator");
    return {
      next: () => {
        this.start();
        // One after the other, also for a caller that does not wait.
        this.#turn = this.#turn.catch(() => {}).then(() => this.#next());
        return this.#turn;
      },
      return: async () => {
        this.close();
        return { value: undefined, done: true };
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  #consumeAs(how) {
    if (this.#consumer && this.#consumer !== how) {
      throw new VidetteError(
        "other",
        "read a subscription by its iterator or by listeners, not both",
      );
    }
    const isFirst = !this.#consumer;
    this.#consumer = how;
    return isFirst;
  }

  /** As of every EventTarget; reading waits for the promise that a listener returns. */
  addEventListener(type, listener, options) {
    super.addEventListener(type, this.#wrapped(listener), options);
    const isOfBus = type === "event" || !OWN_TYPES.includes(type);
    if (isOfBus && this.#consumeAs("listeners")) this.#pump();
  }

  removeEventListener(type, listener, options) {
    super.removeEventListener(type, this.#wrappers.get(listener) ?? listener, options);
  }

  #wrapped(listener) {
    if (!listener) return listener;
    if (!this.#wrappers.has(listener)) {
      const run = async (event) =>
        typeof listener === "function" ? listener.call(this, event) : listener.handleEvent(event);
      this.#wrappers.set(listener, (event) => this.#promises.push(run(event)));
    }
    return this.#wrappers.get(listener);
  }

  async #pump() {
    try {
      this.start();
      for (;;) {
        const { value, done } = await this.#next();
        if (done) return;
        const types =
          OWN_TYPES.includes(value.type) || !value.type ? ["event"] : ["event", value.type];
        for (const type of types) await this.#fire(type, value);
      }
    } catch (error) {
      // An event whose handler failed is not finished: it comes again after a restart.
      this.#end(error);
    }
  }

  /** Resolves when all listeners have; rejects if one does. */
  #fire(type, detail) {
    this.#promises = [];
    this.dispatchEvent(new CustomEvent(type, { detail }));
    return Promise.all(this.#promises);
  }

  /** The same for what is no event of the bus: a failing listener is only logged. */
  async #emit(type, detail) {
    await this.#fire(type, detail).catch((error) => this.#options.log("error", `${error}`));
  }
}
