/* Keeps the cursor of what has been handled, so that the next visit resumes there.
 *
 * Invariants: at most one write a second, and one at the end; a cursor is used only with the filter
 * that it was kept for; a storage that fails costs the position, never an event. */

const LEAST_BETWEEN_MS = 1000;

export class Persisted {
  #store;
  #clock;
  #log;
  #unsaved;
  #isClosed = false;
  #cancel;

  /** `persist`: a name, under which localStorage keeps it, or `{ load, save }`. */
  constructor({ persist, url, topics, clock, log }) {
    const filter = JSON.stringify([`${url}`, ...[...topics].sort()]);
    this.#store = typeof persist === "string" ? storageOf(`vidette:${persist}`, filter) : persist;
    this.#clock = clock;
    this.#log = log;
  }

  async load() {
    return this.#try(() => this.#store?.load());
  }

  /** To be saved within a second. */
  keep(cursor) {
    this.#unsaved = cursor;
    if (!this.#store) return;
    if (this.#isClosed) this.flush();
    else this.#cancel ??= this.#clock.after(LEAST_BETWEEN_MS, () => this.flush(), "limit");
  }

  flush() {
    this.#cancel?.();
    this.#cancel = undefined;
    const cursor = this.#unsaved;
    this.#unsaved = undefined;
    if (cursor) this.#try(() => this.#store?.save(cursor));
  }

  /** Leaves no timer: whatever is finished from now on is saved at once. */
  close() {
    this.#isClosed = true;
    this.flush();
  }

  async #try(run) {
    try {
      return await run();
    } catch (error) {
      this.#log("warn", `the cursor is not kept: ${error?.message ?? error}`);
      return undefined;
    }
  }
}

function storageOf(key, filter) {
  return {
    load() {
      const kept = JSON.parse(globalThis.localStorage.getItem(key) ?? "{}");
      return kept.filter === filter ? kept.cursor : undefined;
    },
    save: (cursor) => globalThis.localStorage.setItem(key, JSON.stringify({ filter, cursor })),
  };
}
