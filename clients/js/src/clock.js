/* Time, as everything here reads it; tests and the kit put their own in its place.
 *
 * Every timer has a kind, so that a test can quicken waits and limits by different factors:
 *   "retry"  a wait before a new try
 *   "limit"  everything that times something out, or spreads something */

/** A wall clock that has gained more than this on the steady one was set, or the machine slept. */
const JUMP_MS = 1000;
let sleptMs = 0;
let aheadMs = 0;

export const systemClock = {
  /** Milliseconds, for measuring: never fall, and pass while the machine sleeps. */
  now() {
    const steadyMs = performance.now();
    const gainedMs = Date.now() - steadyMs - aheadMs;
    aheadMs += gainedMs;
    if (gainedMs > JUMP_MS) sleptMs += gainedMs;
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
