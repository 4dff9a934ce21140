/* How long to wait before a new try.
 *
 * Invariants: full jitter, so that many clients do not come back at the same moment; never less
 * than `Retry-After` asks for; no server is obeyed for longer than five minutes. */

export const BASE_MS = 500;
export const LONGEST_MS = 20_000;
export const LONGEST_ASKED_MS = 300_000;

/** After this many failures in a row before it: random between 0 and a bound that doubles. */
export function afterFailure(random, failures, floorMs = 0) {
  return Math.max(random() * Math.min(LONGEST_MS, BASE_MS * 2 ** failures), floorMs);
}

/** After an orderly end: what was asked for, times 0.5 to 1.5. */
export function afterOrderlyEnd(random, askedMs = BASE_MS) {
  return Math.min(askedMs, LONGEST_ASKED_MS) * (0.5 + random());
}

/** Milliseconds that a `Retry-After` asks for; 0 for none and for nonsense. */
export function retryAfterMs(headers, wallMs) {
  const value = headers.get("retry-after");
  // The answer's own date is the better clock: that of this machine may be wrong.
  const sent = Date.parse(headers.get("date")) || wallMs;
  const ms = /[a-z]/i.test(value) ? Date.parse(value) - sent : value * 1000;
  return Math.min(Math.max(ms || 0, 0), LONGEST_ASKED_MS);
}
