/* One connection to the gateway: its requests, its time limits, and how it is cut. */

import { VidetteError } from "./errors.js";
import { addressOf, checkStatus, closeSockets, headersOf, loadNode } from "./http.js";
import { Watch } from "./watch.js";

export class Link {
  #abort = new AbortController();
  #options;
  #node = loadNode(true);

  /** `options` are those of the subscription; `query()` gives where to begin. */
  constructor(options, token, query) {
    this.#options = options;
    this.token = token;
    this.query = query;
    this.clock = options.clock;
    this.longestEvent = options.longestEvent;
    this.signal = this.#abort.signal;
    this.watch = new Watch(options.clock, (reason) => this.cut(reason));
  }

  /** Ends the connection; everything that waits for it fails with this reason. */
  cut(reason) {
    this.reason ??= reason;
    this.#abort.abort(new VidetteError("cut", reason));
    this.end();
  }

  /** Leaves no timer and no socket. */
  end() {
    this.watch.stop();
    closeSockets(this.#node);
  }

  async get(path, more) {
    const { url, topics, fetch, credentials, onGap } = this.#options;
    const address = addressOf(url, path);
    for (const topic of topics) address.searchParams.append("topic", topic);
    const policy = onGap === "fail" && { on_gap: "fail" };
    for (const [name, value] of Object.entries({ ...this.query(), ...policy, ...more })) {
      address.searchParams.set(name, value);
    }
    const { headers, dispatcher } = await this.#node;
    const response = await fetch(address, {
      headers: headersOf(this.token, headers),
      signal: this.signal,
      cache: "no-store",
      credentials,
      dispatcher,
    });
    return checkStatus(response, this.clock.wall());
  }

  /** The bytes of a body as they come; while nobody asks for more, none is read. */
  async *chunks(response) {
    const body = response.body.getReader();
    try {
      for (;;) {
        const { value, done } = await body.read();
        if (done) return;
        yield value;
      }
    } finally {
      body.cancel().catch(() => {});
    }
  }
}

/** The content type that was asked for, or a page of somebody else's. */
export function checkType(response, wanted) {
  const type = response.headers.get("content-type") ?? "none";
  if (type.includes(wanted)) return;
  response.body?.cancel().catch(() => {});
  throw new VidetteError("content_type", `the answer is ${type}, not ${wanted}`);
}
