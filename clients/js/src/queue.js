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
  #whenItems = () => {};
  #whenRoom = []; // a tab's reader and what it catches up with may both wait

  get isFull() {
    return this.#items.length >= MOST_ITEMS || this.#length >= MOST_LENGTH;
  }

  push(item) {
    if (this.#isEnded) return;
    const newest = this.#items.at(-1);
    if (item.progress && newest?.progress) this.#items.pop();
    this.#length += item.length ?? 0;
    this.#items.push(item);
    this.#whenItems();
  }

  /** Resolves once there is room for more. */
  room() {
    if (!this.isFull || this.#isEnded) return Promise.resolve();
    return new Promise((resolve) => this.#whenRoom.push(resolve));
  }

  /** The next item; undefined at the end; rejects if that is an error. */
  async take() {
    while (!this.#items.length && !this.#isEnded) {
      await new Promise((resolve) => (this.#whenItems = resolve));
    }
    const item = this.#items.shift();
    if (!item && this.#error) throw this.#error;
    this.#length -= item?.length ?? 0;
    if (!this.isFull) this.#hasRoom();
    return item;
  }

  clear() {
    this.#items = [];
    this.#length = 0;
    this.#hasRoom();
  }

  end(error) {
    this.#isEnded = true;
    this.#error ??= error;
    this.#whenItems();
    this.#hasRoom();
  }

  #hasRoom() {
    for (const resolve of this.#whenRoom.splice(0)) resolve();
  }
}
