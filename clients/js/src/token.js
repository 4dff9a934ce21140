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

  /** The token to send, fresh enough for a new connection. */
  async get(wallMs) {
    if (!this.isFunction) return this.#source;
    if (this.#value === undefined || endsSoon(this.#value, wallMs)) return this.#ask();
    return this.#value;
  }

  /** `refused` was answered with 401: asks for another one, unless somebody has already. */
  async renew(refused) {
    if (this.#value !== undefined && this.#value !== refused) return this.#value;
    return this.#ask();
  }

  #ask() {
    this.#pending ??= Promise.resolve()
      .then(this.#source)
      .then((value) => (this.#value = value))
      .finally(() => (this.#pending = undefined));
    return this.#pending;
  }
}

/** A JWT says when it ends; of any other token nothing is known. */
function endsSoon(token, wallMs) {
  try {
    const claims = token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/");
    return JSON.parse(atob(claims)).exp * 1000 - wallMs < LEAST_LEFT_MS;
  } catch {
    return false;
  }
}
