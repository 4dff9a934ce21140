/* Rules 1 to 3: where reading resumes, when the cursor moves, what comes twice. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { afters, reading, until } from "./support/reading.js";
import { caughtUp, event, hello, page, progress } from "./support/server.js";

test("rule 1: each request begins after the last cursor seen, also that of a block without data", async (t) => {
  const { take, server } = await reading(
    t,
    { transport: "sse", after: "2-k3x9q2", topic: ["a", "b.*"] },
    (reply) => reply.sse(hello(9), event(3)).then(reply.end),
    (reply) => reply.sse(hello(9), progress(7)).then(reply.end),
    (reply) => reply.sse(hello(9)).then(reply.end),
    (reply) => reply.sse(hello(9), caughtUp(8)).then(reply.cut),
    (reply) => reply.sse(hello(9), event(9)),
  );
  assert.deepEqual(await take(2), [3, 9]);
  assert.deepEqual(afters(server), ["2-k3x9q2", "3-k3x9q2", "7-k3x9q2", "7-k3x9q2", "8-k3x9q2"]);
  assert.deepEqual(server.requests[4].params.getAll("topic"), ["a", "b.*"]);
});

test("rule 1: latest that broke off before anything came resumes where the log ended then", async (t) => {
  const { take, server } = await reading(
    t,
    { after: "latest" },
    (reply) => reply.sse(hello(41)).then(reply.cut),
    (reply) => reply.sse(hello(50), event(42)),
  );
  assert.deepEqual(await take(1), [42]);
  assert.deepEqual(afters(server), ["latest", "41-k3x9q2"]);
});

test("rule 1: since and snapshot are asked for only until a cursor is known", async (t) => {
  for (const start of [{ since: "15m" }, { snapshot: true }]) {
    const [name] = Object.keys(start);
    const { take, server } = await reading(
      t,
      { after: undefined, ...start },
      (reply) => reply.sse(hello(9)).then(reply.cut),
      (reply) => reply.sse(hello(9), event(4)).then(reply.cut),
      (reply) => reply.sse(hello(9), event(5)),
    );
    await take(2);
    const asked = server.requests.map(({ params }) => [params.get(name), params.get("after")]);
    assert.deepEqual(asked, [
      [String(start[name]), null],
      [String(start[name]), null],
      [null, "4-k3x9q2"],
    ]);
  }
});

test("rule 2: the cursor moves behind an event when the next one is asked for", async (t) => {
  const { take, next, subscription } = await reading(t, {}, (reply) =>
    reply.sse(hello(9), event(1), event(2), progress(5)),
  );
  await take(1);
  assert.equal(subscription.cursor, undefined);
  await take(1);
  assert.equal(subscription.cursor, "1-k3x9q2");
  next();
  await until(() => subscription.cursor === "5-k3x9q2");
});

test("rule 2: reading waits for the promise of a listener, and the cursor for its end", async (t) => {
  const { subscription } = await reading(t, {}, (reply) => reply.sse(hello(9), event(1), event(2)));
  const seen = [];
  let finish;
  subscription.addEventListener("event", ({ detail }) => {
    seen.push(detail.vid);
    return new Promise((resolve) => (finish = resolve));
  });
  await until(() => finish);
  assert.deepEqual([seen, subscription.cursor], [[1], undefined]);
  finish();
  await until(() => seen.length === 2);
  assert.equal(subscription.cursor, "1-k3x9q2");
});

test("rule 2: a listener that fails ends reading, and its event is not finished", async (t) => {
  const { subscription } = await reading(t, {}, (reply) => reply.sse(hello(9), event(1), event(2)));
  const failed = new Promise((resolve) => subscription.addEventListener("error", resolve));
  subscription.addEventListener("event", ({ detail }) => {
    if (detail.vid === 2) throw new Error("the handler's own");
  });
  assert.equal((await failed).detail.message, "the handler's own");
  assert.deepEqual([subscription.state, subscription.cursor], ["closed", "1-k3x9q2"]);
});

test("rule 3: what comes twice or with a lower vid is dropped and counted; holes are not", async (t) => {
  const { take, subscription } = await reading(
    t,
    {},
    (reply) => reply.sse(hello(9), event(1), event(1), event(5), event(3)).then(reply.cut),
    (reply) => reply.sse(hello(9), event(5), event(9)),
  );
  assert.deepEqual(await take(3), [1, 5, 9]);
  assert.equal(subscription.status.duplicates, 3);
});

test("rule 3: events of another log without a gap: one more try, then an error", async (t) => {
  const foreign = (reply) => reply.sse(hello(9), event(6, { epoch: "another1" }));
  const { take, next, server } = await reading(
    t,
    {},
    (reply) => reply.sse(hello(9), event(5)).then(reply.cut),
    foreign,
  );
  await take(1);
  await assert.rejects(next(), { kind: "protocol" });
  assert.equal(server.requests.length, 3);
});

test("rule 3: a log that has a new name and goes on upwards is the same log; downwards it is not", async (t) => {
  const { take, next } = await reading(
    t,
    {},
    (reply) => reply.sse(hello(5), event(5)).then(reply.cut),
    (reply) => reply.sse(hello(6, "m8d4w1"), event(6, { epoch: "m8d4w1" })).then(reply.cut),
    (reply) => reply.sse(hello(6, "another1"), event(2, { epoch: "another1" })),
  );
  assert.deepEqual(await take(2), [5, 6]);
  await assert.rejects(next(), { kind: "protocol" });
});

test("a poll's answer moves the position like a stream", async (t) => {
  const { take, server } = await reading(
    t,
    { transport: "poll" },
    (reply) => reply.json(200, page([1, 2])),
    (reply) => reply.json(200, page([], { at: 7 })),
    (reply) => reply.json(200, page([8])),
    () => {},
  );
  assert.deepEqual(await take(3), [1, 2, 8]);
  await until(() => server.requests.length === 4);
  assert.deepEqual(afters(server), ["earliest", "2-k3x9q2", "7-k3x9q2", "8-k3x9q2"]);
  assert.equal(server.requests[0].params.get("wait"), "25");
});
