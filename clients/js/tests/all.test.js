/* The entry point for service workers, where nothing may be loaded later. */

import assert from "node:assert/strict";
import { register } from "node:module";
import { test } from "node:test";
import { subscribe } from "../src/all.js";
import { TestClock } from "./support/clock.js";
import { page, serve } from "./support/server.js";

// Node's own part is loaded as everywhere: service workers do not ask for it.
const hooks = `
  export async function resolve(specifier, context, next) {
    if (/(page|poll|persist|tabs)[.]js/.test(specifier)) throw new Error("this is loaded too late");
    return next(specifier, context);
  }`;
register(`data:text/javascript,${encodeURIComponent(hooks)}`);

test("with everything loaded at once polls, kept cursors and tabs need nothing more", async (t) => {
  const server = await serve(
    (reply) => reply.json(200, page([5])),
    () => {},
  );
  const logged = [];
  const subscription = subscribe(server.url, {
    persist: { load: () => "4-k3x9q2", save: () => {} },
    transport: "poll",
    tabs: "shared",
    clock: new TestClock(),
    log: (_, text) => logged.push(text),
  });
  t.after(() => {
    subscription.close();
    server.close();
  });
  const { value } = await subscription[Symbol.asyncIterator]().next();
  assert.deepEqual([value.vid, server.requests[0].params.get("after")], [5, "4-k3x9q2"]);
  assert.deepEqual(logged, []);
});
