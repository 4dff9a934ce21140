/* Time that moves when a test says so.
 *
 * A wait before a new try ends at once and is written down, unless `holdWaits` is set; limits end
 * only by `advance`. */

export class TestClock {
  waits = [];
  holdWaits = false;
  #now = 1_000_000;
  #timers = new Set();
  #changed = () => {};

  now = () => this.#now;
  wall = () => this.#now;

  after(ms, run, kind) {
    const timer = { due: this.#now + ms, run, kind };
    this.#timers.add(timer);
    if (kind === "retry") {
      this.waits.push(ms);
      if (!this.holdWaits) setImmediate(() => this.#fire(timer));
    }
    this.#changed();
    return () => this.#timers.delete(timer);
  }

  get pending() {
    return this.#timers.size;
  }

  /** Resolves once a timer is set that `test` accepts. */
  async timer(test) {
    while (![...this.#timers].some(test)) await new Promise((resolve) => (this.#changed = resolve));
  }

  /** Moves on in the steps of the timers on the way. */
  advance(ms) {
    const end = this.#now + ms;
    for (;;) {
      const next = [...this.#timers].sort((a, b) => a.due - b.due)[0];
      if (!next || next.due > end) break;
      this.#now = Math.max(this.#now, next.due);
      this.#fire(next);
    }
    this.#now = end;
  }

  /** The machine sleeps: timers fire late. */
  sleep(ms) {
    this.#now += ms;
    this.advance(0);
  }

  #fire(timer) {
    if (this.#timers.delete(timer)) timer.run();
  }
}
