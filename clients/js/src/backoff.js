/* How long to wait before a new try.
 *
 * Invariants: full jitter, so that many clients do not come back at the same moment; never less
 * than `Retry-After` asks for; no server is obeyed for longer than five minutes. */

export const BASE_MS = 500;
export const LONGEST_MS = 20_000;
export const LONGEST_ASKED_MS = 300_000;

export class Backoff {
  failures = 0;

  constructor(random) {
    this.random = random;
  }

  /** After a failure: random between 0 and a bound that doubles. */
  failed(floorMs = 0) {
    const bound = Math.min(LONGEST_MS, BASE_MS * 2 ** Math.min(this.failures, 16));
    this.failures += 1;
    return Math.max(this.random() * bound, floorMs);
  }

  /** After an orderly end: what was asked for, times 0.5 to 1.5. */
  orderly(askedMs = BASE_MS) {
    return Math.min(askedMs, LONGEST_ASKED_MS) * (0.5 + this.random());
  }
}

/** Milliseconds that a `Retry-After` asks for; 0 for none and for nonsense. */
export function retryAfterMs(headers, wallMs) {
  const value = (headers.get("retry-after") ?? "").trim();
  if (/^\d+$/.test(value)) return Math.min(Number(value) * 1000, LONGEST_ASKED_MS);

  // The answer's own date is the better clock: that of this machine may be wrong.
  const sent = Date.parse(headers.get("date") ?? "") || wallMs;
  const until = /[a-z]/i.test(value) ? Date.parse(value) - sent : 0;
  return Math.min(Math.max(until || 0, 0), LONGEST_ASKED_MS);
}
