/* Reading the bus: `subscribe(url, options)`. See index.d.ts for what the options mean. */

import { systemClock } from "./clock.js";
import { addressOf, isNode } from "./http.js";
import { Subscription } from "./subscription.js";

export { GapError, StatusError, VidetteError } from "./errors.js";
export { Subscription };

const MAX_EVENT_BYTES = 3_145_728;
/** Text of an event may be longer than its bytes: a control character takes six in JSON. */
const LONGEST_ESCAPE = 6;
const ENVELOPE = 8192;

export function subscribe(url, options = {}) {
  const { topic = [], maxEventBytes = MAX_EVENT_BYTES } = options;
  // An address that is none would be tried for ever.
  addressOf(url, "");
  return new Subscription({
    clock: systemClock,
    random: Math.random,
    log: () => {},
    // In a browser, or a worker of one.
    tabs: isNode ? "own" : "shared",
    ...options,
    url,
    topics: [topic].flat(),
    longestEvent: maxEventBytes * LONGEST_ESCAPE + ENVELOPE,
  });
}
