/* What an application holds: an async iterator, or an EventTarget, over one reader.
 *
 * Invariants:
 * - nothing runs before something is read;
 * - `cursor` moves behind an event only once the application has finished with it: the next one is
 *   asked for, or the promises of all listeners are resolved;
 * - once closed it has no timer, no connection and no listener of its own left. */

import { GapError, VidetteError } from "./errors.js";
import { lazily } from "./lazy.js";
import { Reader } from "./reader.js";

/** Types of events that are the library's own; events of the bus with such a type are given to
 *  listeners of "event" only. */
const OWN_TYPES = ["event", "gap", "state", "caughtup", "error"];

export class Subscription extends EventTarget {
  /** Of the last event that is finished; the one to save. */
  cursor;
  #options;
  #reader;
  #persisted; // where the cursor is kept, if anywhere
  #consumer; // "iterator" or "listeners"
  #events; // as the application gets them
  #isLeft = false; // by the application, which has not finished its event
  #running;
  #page; // what follows it, once that is loaded
  #closing = new AbortController();
  #wrappers = new WeakMap();
  #promises = [];
  #resolveCaughtUp;
  #caughtUp = new Promise((resolve) => (this.#resolveCaughtUp = resolve));

  constructor(options) {
    super();
    this.#options = options;
    this.#reader = new Reader(options, () => {
      this.#followPage();
      this.#emit("state", this.status);
    });
  }

  get state() {
    return this.#reader.status.state;
  }

  /** All that is seen from outside, at one moment. */
  get status() {
    return { ...this.#reader.status, cursor: this.cursor };
  }

  /** Resolves when the live end has been reached and all before it has been handled. */
  get caughtUp() {
    this.start();
    return this.#caughtUp;
  }

  /** Begins to read; the first use of the iterator or of a listener does the same. */
  start() {
    if (!this.#isClosed) this.#running ??= this.#run().catch((error) => this.#end(error));
  }

  /** Loaded beside the first connection; what could not be is tried again as the state changes. */
  #followPage() {
    if (this.#isClosed) return;
    const { signal } = this.#closing;
    const flush = () => this.#persisted?.flush();
    this.#page ??= lazily("page", () => import("./page.js"))
      .then(({ watchPage }) => watchPage(this.#options, this.#reader, flush, signal))
      .catch(() => (this.#page = undefined));
  }

  async #run() {
    this.#followPage();
    if (this.#options.persist) await this.#reader.insist(() => this.#loadCursor());
    if (this.#options.tabs !== "own" && !this.#isClosed) await this.#joinTabs();
    await this.#reader.run();
  }

  async #loadCursor() {
    const { Persisted } = await lazily("persist", () => import("./persist.js"));
    this.#persisted = new Persisted(this.#options);
    this.#reader.sequence.startAt(await this.#persisted.load());
  }

  async #joinTabs() {
    // A tab that cannot load this connects by itself.
    const { joinTabs } = await lazily("tabs", () => import("./tabs.js")).catch(() => ({}));
    this.#reader.tabs = await joinTabs?.(this.#options, this.#reader, () => this.cursor);
    if (this.#isClosed) this.#reader.tabs?.leave();
  }

  get #isClosed() {
    return this.state === "closed";
  }

  /** Ends at once; an event that is not finished does not move the cursor. */
  close() {
    this.#isLeft = true;
    this.#reader.queue.clear();
    this.#end();
  }

  #end(error) {
    if (this.#isClosed) return;
    this.#reader.close(error);
    this.#closing.abort();
    this.#persisted?.close();
    if (error) this.#emit("error", error);
  }

  /** Each event, with which the application has finished when it asks for the next one. */
  async *#read() {
    this.start();
    try {
      for (let item; (item = await this.#reader.queue.take());) {
        const { event, gap, cursor, caughtUp } = item;
        if (gap) await this.#reportGap(gap);
        if (event) yield event;
        if (this.#isLeft) return;
        if (cursor && cursor !== this.cursor) {
          this.cursor = cursor;
          this.#persisted?.keep(cursor);
        }
        if (caughtUp) {
          this.#resolveCaughtUp();
          this.#emit("caughtup", { cursor: this.cursor });
        }
      }
    } catch (error) {
      this.#end(error);
      throw error;
    }
  }

  async #reportGap(gap) {
    const { onGap, log } = this.#options;
    const error = new GapError(gap);
    log("warn", error.message);
    await this.#emit("gap", gap);
    const answer = typeof onGap === "function" && (await onGap(gap));
    if (answer === "fail") throw error;
    if (answer === "snapshot") {
      this.#reader.queue.clear();
      this.#reader.beginWithSnapshot();
    }
  }

  [Symbol.asyncIterator]() {
    this.#consumeAs("iterator");
    this.#events ??= this.#read();
    // Whoever leaves does not wait for an event that is still to come.
    this.#events.return = () => {
      this.close();
      return this.#events.next();
    };
    return this.#events;
  }

  #consumeAs(how) {
    this.#consumer ??= how;
    if (this.#consumer === how) return;
    throw new VidetteError("other", "read by the iterator or by listeners, not both");
  }

  /** As of every EventTarget; reading waits for the promise that a listener returns. */
  addEventListener(type, listener, options) {
    const run = async (event) =>
      typeof listener === "function" ? listener.call(this, event) : listener.handleEvent(event);
    const wrapper = this.#wrappers.get(listener) ?? ((event) => this.#promises.push(run(event)));
    if (listener) this.#wrappers.set(listener, wrapper);
    super.addEventListener(type, listener && wrapper, options);
    if (type !== "event" && OWN_TYPES.includes(type)) return;
    this.#consumeAs("listeners");
    // An event whose listener failed is not finished: it comes again after a restart.
    this.#events ??= this.#pump().catch((error) => this.#end(error));
  }

  removeEventListener(type, listener, options) {
    super.removeEventListener(type, this.#wrappers.get(listener) ?? listener, options);
  }

  async #pump() {
    for await (const event of this.#read()) {
      await this.#fire("event", event);
      const { type } = event;
      if (type && !OWN_TYPES.includes(type)) await this.#fire(type, event);
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
