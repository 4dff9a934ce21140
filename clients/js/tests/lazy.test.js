/* Modules that are loaded where they are used, while they cannot be loaded. */

import assert from "node:assert/strict";
import { register } from "node:module";
import { test } from "node:test";
import { reading, until } from "./support/reading.js";
import { event, hello, page } from "./support/server.js";

// As in a browser, an address that has failed once is not asked for again.
const hooks = `
  const tries = {};
  export async function resolve(specifier, context, next) {
    const [name] = /(page|poll|persist)(?=[.]js)/.exec(specifier) ?? [];
    if (!name) return next(specifier, context);
    tries[name] ??= 0;
    if (!specifier.includes("?") || ++tries[name] < 3) throw new Error(name + " is out of reach");
    return next(specifier, context);
  }`;
register(`data:text/javascript,${encodeURIComponent(hooks)}`);

test("polls that cannot be loaded are tried again after the usual waits", async (t) => {
  const { take, clock, server } = await reading(t, { transport: "poll" }, (reply) =>
    reply.json(200, page([1])),
  );
  assert.deepEqual(await take(1), [1]);
  assert.deepEqual(clock.waits.slice(0, 2), [250, 500]);
  assert.equal(server.requests[0].path, "/v1/poll");
});

test("what follows the page is tried again as the state changes, until it is loaded", async (t) => {
  const target = new EventTarget();
  const { addEventListener } = globalThis;
  globalThis.addEventListener = target.addEventListener.bind(target);
  t.after(() => (globalThis.addEventListener = addEventListener));
  const { take, subscription, server } = await reading(t, {}, (reply, { params }) => {
    const vid = Number.parseInt(params.get("after"), 10) + 1 || 1;
    return vid < 5 ? reply.sse(hello(9), event(vid)).then(reply.end) : reply.sse(hello(9));
  });
  assert.deepEqual(await take(4), [1, 2, 3, 4]);
  await until(() => server.requests.length === 5 && subscription.state === "catching-up");
  target.dispatchEvent(new Event("offline"));
  await until(() => subscription.state === "waiting");
  assert.equal(subscription.status.why, "offline");
});

test("nothing is read before the kept cursor is known, however long that takes to load", async (t) => {
  const persist = { load: () => "4-k3x9q2", save: () => {} };
  const { take, clock, server } = await reading(t, { persist }, (reply) =>
    reply.sse(hello(9), event(5)),
  );
  assert.deepEqual(await take(1), [5]);
  assert.deepEqual(clock.waits, [250, 500]);
  assert.equal(server.requests[0].params.get("after"), "4-k3x9q2");
});
