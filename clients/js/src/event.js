/* One event of the bus, as applications get it. */

import { memberOf } from "./json-text.js";

export class BusEvent {
  #text;

  /** From the JSON object of the wire; unknown fields are left alone. Without a cursor, where the
   *  wire has none for each event, it is given one in its sequence. */
  constructor(text, cursor) {
    const wire = JSON.parse(text);
    this.#text = text;
    this.vid = wire.vid;
    this.cursor = cursor;
    this.topic = wire.topic;
    this.time = wire.time;
    this.type = wire.type;
    this.id = wire.id;
    this.headers = wire.headers ?? {};
    this.contentType = wire.content_type;
    this.data = "data_base64" in wire ? bytesOf(wire.data_base64) : wire.data;
  }

  /** The JSON text of the data exactly as it came, for numbers with more digits than a number
   *  holds; undefined for bytes. */
  get raw() {
    return memberOf(this.#text, "data");
  }

  /** The whole object as it came. */
  get text() {
    return this.#text;
  }
}

function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
}
