/* Subscriptions against a scripted server, as short as a test wants them. */

import { subscribe } from "../../src/subscribe.js";
import { TestClock } from "./clock.js";
import { serve } from "./server.js";

/** `{ subscription, events, clock, server, take }`; all of it is closed after the test. */
export async function reading(test, options, ...script) {
  const server = await serve(...script);
  const clock = new TestClock();
  const logged = [];
  const subscription = subscribe(server.url, {
    after: "earliest",
    clock,
    random: () => 0.5,
    log: (level, text) => logged.push([level, text]),
    ...options,
  });
  test.after(() => {
    subscription.close();
    server.close();
  });
  let events;
  const next = () => (events ??= subscription[Symbol.asyncIterator]()).next();
  /** The vids of the next `count` events. */
  const take = async (count) => {
    const vids = [];
    while (vids.length < count) vids.push((await next()).value.vid);
    return vids;
  };
  return { subscription, clock, server, take, next, logged };
}

/** Resolves once `test()` holds, looking each turn of the event loop. */
export async function until(test) {
  while (!test()) await new Promise((resolve) => setImmediate(resolve));
}

export const afters = ({ requests }) => requests.map(({ params }) => params.get("after"));
