/* What has been read and not been asked for yet.
 *
 * Invariants: bounded, as `room()` holds the reader back; nothing is ever dropped to make room;
 * what is queued before an error is given out before it. */

const MOST_ITEMS = 1000;
const MOST_LENGTH = 1_048_576;

export class Queue {
  #items = [];
  #length = 0;
  #isEnded = false;
  #error;
  #waiting = []; // whoever gives or takes, until something has changed

  get isFull() {
    return this.#items.length >= MOST_ITEMS || this.#length >= MOST_LENGTH;
  }

  push(item) {
    if (this.#isEnded) return;
    if (item.progress && this.#items.at(-1)?.progress) this.#items.pop();
    this.#length += item.length ?? 0;
    this.#items.push(item);
    this.#changed();
  }

  /** Resolves once there is room for more. */
  async room() {
    while (this.isFull && !this.#isEnded) await this.#change();
  }

  /** The next item; undefined at the end; rejects if that is an error. */
  async take() {
    while (!this.#items.length && !this.#isEnded) await this.#change();
    const item = this.#items.shift();
    if (!item && this.#error) throw this.#error;
    this.#length -= item?.length ?? 0;
    this.#changed();
    return item;
  }

  clear() {
    this.#items = [];
    this.#length = 0;
    this.#changed();
  }

  end(error) {
    this.#isEnded = true;
    this.#error ??= error;
    this.#changed();
  }

  #change() {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #changed() {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
