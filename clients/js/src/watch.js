/* Ends a connection that has died without saying so.
 *
 * The watch looks at the clock every few seconds: a machine that has slept wakes with timers that
 * are late, and a connection from before it slept is dead, whatever its own time says. */

const TICK_MS = 5000;
const SLEPT_MS = 30_000;

export class Watch {
  #clock;
  #onEnd;
  #due = Infinity;
  #reason;
  #cancel = () => {};

  /** `onEnd(reason)` is called once at most. */
  constructor(clock, onEnd) {
    this.#clock = clock;
    this.#onEnd = onEnd;
  }

  /** Ends the connection for this reason unless the watch is set again within `ms`. */
  set(ms, reason) {
    this.#due = this.#clock.now() + ms;
    this.#reason = reason;
    this.#cancel();
    this.#tick(ms);
  }

  stop() {
    this.#cancel();
    this.#cancel = () => {};
  }

  #tick(leftMs) {
    const ms = Math.min(leftMs, TICK_MS);
    const expected = this.#clock.now() + ms;
    this.#cancel = this.#clock.after(ms, () => this.#look(expected), "limit");
  }

  #look(expected) {
    const now = this.#clock.now();
    if (now - expected > SLEPT_MS) this.#onEnd("slept");
    else if (now >= this.#due) this.#onEnd(this.#reason);
    else this.#tick(this.#due - now);
  }
}
