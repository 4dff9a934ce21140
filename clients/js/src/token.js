/* The token that requests carry: a value, or a function that gives one.
 *
 * Invariant: one call of the function at a time; all who wait share its answer. */

const LEAST_LEFT_MS = 30_000;

export class Token {
  #source;
  #value;
  #pending;

  constructor(source) {
    this.#source = source;
    this.isFunction = typeof source === "function";
  }

  /** The token to send, fresh enough for a new connection. `refused` was answered with 401: another
   *  one than that is asked for, unless somebody has already. */
  async get(wallMs, refused) {
    if (!this.isFunction) return this.#source;
    // Before the first answer there is no value, and nothing has been refused.
    if (this.#value !== refused && !endsSoon(this.#value, wallMs)) return this.#value;
    this.#pending ??= Promise.resolve()
      .then(this.#source)
      .then((value) => (this.#value = value))
      .finally(() => (this.#pending = undefined));
    return this.#pending;
  }
}

/** What a JWT says of itself; undefined for any other token. */
export function claimsOf(token) {
  try {
    return JSON.parse(atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/")));
  } catch {
    return undefined;
  }
}

const endsSoon = (token, wallMs) => claimsOf(token)?.exp * 1000 - wallMs < LEAST_LEFT_MS;
