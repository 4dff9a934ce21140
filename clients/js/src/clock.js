/* Time, as everything here reads it; tests and the kit put their own in its place.
 *
 * Every timer has a kind, so that a test can quicken waits and limits by different factors:
 *   "retry"  a wait before a new try          "sse"  until SSE is tried again after long-poll
 *   "limit"  everything that times something out, or spreads something */

/** A wall clock that has moved by more than this against the steady one was set, or slept. */
const JUMP_MS = 1000;
let sleptMs = 0;
let skewMs = Date.now() - performance.now();

export const systemClock = {
  /** Milliseconds, for measuring: never fall, and pass while the machine sleeps. */
  now() {
    const steadyMs = performance.now();
    const jumpMs = Date.now() - steadyMs - skewMs;
    if (Math.abs(jumpMs) > JUMP_MS) {
      skewMs += jumpMs;
      sleptMs += Math.max(jumpMs, 0);
    }
    return steadyMs + sleptMs;
  },

  /** Milliseconds since 1970, for comparing with what a server says. */
  wall: () => Date.now(),

  /** Calls `run` after `ms`; returns a function that cancels it. */
  after(ms, run, _kind) {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
};

/** Calls `run` after `ms`, or as soon as the signal is aborted. Returns a function that calls it
 *  earlier; it leaves no timer and no listener. */
export function afterOrAborted(clock, ms, kind, signal, run) {
  const end = () => {
    cancel();
    signal.removeEventListener("abort", end);
    run();
  };
  const cancel = clock.after(ms, end, kind);
  signal.addEventListener("abort", end);
  if (signal.aborted) end();
  return end;
}
