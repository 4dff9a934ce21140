/* Server-Sent Events: bytes in, blocks out.
 *
 * Invariants:
 * - bytes may be split anywhere: within a character, between CR and LF;
 * - a block without data is a block too, as its id is progress;
 * - an incomplete last block is never given out;
 * - a block beyond the bound is an error, never a truncated event. */

import { VidetteError } from "./errors.js";

export class SseParser {
  #decoder = new TextDecoder(); // takes a byte order mark away
  #line = "";
  #afterCr = false;
  #block = {};
  #length = 0;
  #longest;

  constructor(longest) {
    this.#longest = longest;
  }

  /** The blocks that these bytes complete: `{ id, event, data, retry }`, each only if it came. */
  push(bytes) {
    const blocks = [];
    let text = this.#decoder.decode(bytes, { stream: true });
    if (!text) return blocks;

    // The LF behind a CR that ended the bytes before.
    if (this.#afterCr) text = text.replace(/^\n/, "");
    this.#afterCr = text.endsWith("\r");
    const lines = text.split(/\r\n|\n|\r/);
    lines[0] = this.#line + lines[0];
    this.#line = lines.pop();
    for (const line of lines) {
      if (line) this.#take(line);
      else {
        if (Object.keys(this.#block).length > 0) blocks.push(this.#block);
        this.#block = {};
        this.#length = 0;
      }
    }
    this.#check(this.#line);
    return blocks;
  }

  #take(line) {
    const block = this.#block;
    const [, name, value = ""] = /^([^:]*)(?:: ?(.*))?$/s.exec(line);
    // A comment is a line without a name; any number of them may come.
    if (!name) return;
    this.#length += this.#check(line);
    if (name === "data") block.data = block.data === undefined ? value : `${block.data}\n${value}`;
    if (name === "event") block.event = value;
    if (name === "id" && !value.includes("\0")) block.id = value;
    if (name === "retry" && /^\d+$/.test(value)) block.retry = Number(value);
  }

  #check({ length }) {
    if (this.#length + length <= this.#longest) return length;
    throw new VidetteError("too_large", `an event has over ${this.#longest} characters`);
  }
}
