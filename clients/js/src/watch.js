/* Ends a connection that has died without saying so.
 *
 * The watch looks at the clock every few seconds: a machine that has slept wakes with timers that
 * are late, and a connection from before it slept is dead, whatever its own time says. */

const TICK_MS = 5000;
const SLEPT_MS = 30_000;

export class Watch {
  #clock;
  #onEnd;
  #cancel = () => {};

  /** `onEnd(reason, kind)` is called once at most. */
  constructor(clock, onEnd) {
    this.#clock = clock;
    this.#onEnd = onEnd;
  }

  /** Ends the connection for this reason unless the watch is set again within `ms`. */
  set(ms, reason, kind = "dead") {
    this.stop();
    this.#tick(this.#clock.now() + ms, reason, kind);
  }

  stop() {
    this.#cancel();
  }

  #tick(due, ...end) {
    const now = this.#clock.now();
    const next = Math.min(due, now + TICK_MS);
    const look = () => {
      const lateMs = this.#clock.now() - next;
      if (lateMs > SLEPT_MS) this.#onEnd("slept");
      else if (next === due) this.#onEnd(...end);
      else this.#tick(due, ...end);
    };
    this.#cancel = this.#clock.after(next - now, look, "limit");
  }
}
