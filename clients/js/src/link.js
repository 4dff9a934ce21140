/* One connection to the gateway: its requests, its time limits, how it is cut, and what is known of
 * it at its end.
 *
 * What its reader notes here: `openedAt`, `hasEvents`, `closing` (as the gateway says it) and
 * `retryMs` (as the stream asks for). */

import { VidetteError } from "./errors.js";
import { addressOf, answerTo } from "./http.js";
import { Watch } from "./watch.js";

const MAX_EVENT_BYTES = 3_145_728;
/** Text of an event may be longer than its bytes: a control character takes six in JSON. */
const LONGEST_ESCAPE = 6;
const ENVELOPE = 8192;

export class Link {
  #abort = new AbortController();
  #options;
  #sequence;

  /** `options` are those of the subscription; `sequence` says where to begin. */
  constructor(options, sequence) {
    this.#options = options;
    this.#sequence = sequence;
    this.clock = options.clock;
    const { maxEventBytes = MAX_EVENT_BYTES } = options;
    this.longestEvent = maxEventBytes * LONGEST_ESCAPE + ENVELOPE;
    this.signal = this.#abort.signal;
    this.watch = new Watch(options.clock, (reason, kind) => this.cut(reason, kind));
  }

  /** Ends the connection; everything that waits for it fails. `kind` "cut" is nobody's failure. */
  cut(reason, kind = "cut") {
    this.error ??= new VidetteError(kind, reason);
    this.end();
  }

  /** Leaves no timer and no socket. */
  end() {
    this.watch.stop();
    this.#abort.abort(this.error);
    this.lastedMs = this.clock.now() - this.openedAt;
  }

  /** An answer of this content type; another one is a page of somebody else's. */
  async get(path, wanted, more) {
    const { url, topics, onGap } = this.#options;
    const policy = onGap === "fail" && { on_gap: "fail" };
    const address = addressOf(url, path);
    address.search = new URLSearchParams([
      ...topics.map((topic) => ["topic", topic]),
      ...Object.entries({ ...this.#sequence.query(), ...policy, ...more }),
    ]);
    const request = { signal: this.signal, cache: "no-store" };
    const response = await answerTo(address, request, this.token, this.#options);
    const type = response.headers.get("content-type");
    if (type?.includes(wanted)) return response;
    throw new VidetteError("content_type", `the answer is ${type}, not ${wanted}`);
  }

  /** The bytes of a body as they come; while nobody asks for more, none is read. */
  async *chunks({ body }) {
    const reader = body.getReader();
    try {
      for (let part; !(part = await reader.read()).done;) yield part.value;
    } finally {
      reader.cancel().catch(() => {});
    }
  }
}
