/* Reading the bus: `subscribe(url, options)`. See index.d.ts for what the options mean. */

import { systemClock } from "./clock.js";
import { addressOf, isNode } from "./http.js";
import { Subscription } from "./subscription.js";

export { GapError, StatusError, VidetteError } from "./errors.js";
export { Subscription };

export function subscribe(url, options = {}) {
  const { topic = [] } = options;
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
  });
}
