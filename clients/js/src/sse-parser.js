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
    if (this.#afterCr && text) {
      if (text[0] === "\n") text = text.slice(1);
      this.#afterCr = false;
    }

    let from = 0;
    for (const end of text.matchAll(/\r\n|\n|\r/g)) {
      this.#take(this.#line + text.slice(from, end.index), blocks);
      this.#line = "";
      from = end.index + end[0].length;
      this.#afterCr = end[0] === "\r" && from === text.length;
    }
    this.#line += text.slice(from);
    this.#check(this.#length + this.#line.length);
    return blocks;
  }

  #take(line, blocks) {
    if (line === "") {
      if (Object.keys(this.#block).length > 0) blocks.push(this.#block);
      this.#block = {};
      this.#length = 0;
      return;
    }
    if (line[0] === ":") return;
    const [, name, value = ""] = /^([^:]*)(?:: ?(.*))?$/s.exec(line);
    this.#field(name, value);
    this.#length += line.length;
    this.#check(this.#length);
  }

  #field(name, value) {
    const block = this.#block;
    if (name === "data") block.data = block.data === undefined ? value : `${block.data}\n${value}`;
    if (name === "event") block.event = value;
    if (name === "id" && !value.includes("\0")) block.id = value;
    if (name === "retry" && /^\d+$/.test(value)) block.retry = Number(value);
  }

  #check(length) {
    if (length <= this.#longest) return;
    throw new VidetteError("too_large", `an event has more than ${this.#longest} characters`);
  }
}
