/* Rules 9, 11, 13, 15 and 16: bounds, closing, tokens, and what is seen from outside. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { subscribe } from "../src/subscribe.js";
import { Queue } from "../src/queue.js";
import { Token } from "../src/token.js";
import { afters, reading, until } from "./support/reading.js";
import { caughtUp, event, hello, page } from "./support/server.js";

test("rule 9: a slow application holds the server back, and gets everything", async (t) => {
  const data = `"${"z".repeat(200_000)}"`;
  let written = 0;
  const { take } = await reading(t, {}, async (reply) => {
    await reply.sse(hello(99));
    for (let vid = 1; vid <= 99; vid += 1) {
      await reply.write(event(vid, { data }));
      written = vid;
    }
  });
  await take(1);
  // The sockets of both sides and one MiB are all that is ahead of the application.
  for (let turn = 0; turn < 2000; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  assert.ok(written < 99, `${written} of 99 events were taken from the server`);
  assert.equal((await take(98)).at(-1), 99);
});

test("rule 9: the queue is bounded by events and by length, and merges progress", async () => {
  const queue = new Queue();
  for (let n = 0; n < 1000; n += 1) queue.push({ event: { n }, length: 1 });
  let hasRoom = false;
  queue.room().then(() => (hasRoom = true));
  await Promise.resolve();
  assert.deepEqual([queue.isFull, hasRoom], [true, false]);
  await queue.take();
  await Promise.resolve();
  assert.deepEqual([queue.isFull, hasRoom], [false, true]);

  queue.clear();
  queue.push({ progress: true, cursor: "1" });
  queue.push({ progress: true, cursor: "2" });
  assert.equal((await queue.take()).cursor, "2");
  queue.end();
  assert.equal(await queue.take(), undefined);
});

test("rule 9: an event beyond the bound is an error of its own", async (t) => {
  const { next } = await reading(t, { maxEventBytes: 10 }, (reply) =>
    reply.sse(hello(1), event(1, { data: `"${"x".repeat(9000)}"` })),
  );
  await assert.rejects(next(), { kind: "too_large" });
});

test("rule 11: closing leaves no timer and no socket, ends the iterator, and may be repeated", async (t) => {
  const silent = () => {};
  const open = (reply) => reply.sse(hello(3), event(1), event(2), event(3));
  for (const script of [[silent], [open], [(reply) => reply.json(200, page([1, 2, 3])), silent]]) {
    const transport = script.length > 1 ? "poll" : "sse";
    const { subscription, clock, server, next } = await reading(t, { transport }, ...script);
    const first = next();
    await until(() => server.requests.length >= 1);
    if (script[0] !== silent) {
      await first;
      await next();
    }
    subscription.close();
    subscription.close();
    if (script[0] === silent) assert.equal((await first).done, true);
    assert.equal((await next()).done, true);
    assert.equal(subscription.cursor, script[0] === silent ? undefined : "1-k3x9q2");
    await until(() => clock.pending === 0 && server.sockets.size === 0);
    assert.equal(subscription.state, "closed");
  }
});

test("rule 11: closing during a wait ends the wait", async (t) => {
  const { subscription, clock, next } = await reading(t, {}, (reply) => reply.cut());
  clock.holdWaits = true;
  const first = next();
  await until(() => clock.waits.length === 1);
  subscription.close();
  assert.equal((await first).done, true);
  await until(() => clock.pending === 0);
});

test("rule 11: leaving the loop hands the event back", async (t) => {
  const { subscription } = await reading(t, {}, (reply) =>
    reply.sse(hello(3), event(1), event(2), event(3)),
  );
  for await (const { vid } of subscription) if (vid === 2) break;
  assert.deepEqual([subscription.state, subscription.cursor], ["closed", "1-k3x9q2"]);
});

const tokenOf = ({ headers }) => headers.get("authorization");

test("rule 13: a function is asked again after a 401, once; a second 401 is final", async (t) => {
  let calls = 0;
  const { next, server } = await reading(
    t,
    { token: () => `t${(calls += 1)}` },
    (reply) => reply.sse(hello(1), event(1)).then(reply.cut),
    (reply) => reply.json(401, {}),
    (reply) => reply.sse(hello(2), event(2)).then(reply.cut),
    (reply) => reply.json(401, {}),
  );
  assert.equal((await next()).value.vid, 1);
  assert.equal((await next()).value.vid, 2);
  await assert.rejects(next(), { status: 401 });
  assert.deepEqual(
    server.requests.map(tokenOf),
    ["t1", "t1", "t2", "t2", "t3"].map((token) => `Bearer ${token}`),
  );
  assert.equal(calls, 3);
});

test("rule 13: a JWT with less than 30 s left is renewed at a reconnect; one call at a time", async () => {
  const jwt = (exp) => `x.${btoa(JSON.stringify({ exp })).replace(/=/g, "")}.y`;
  let calls = 0;
  const token = new Token(async () => jwt(1000 + 100 * (calls += 1)));
  const first = await Promise.all([token.get(0), token.get(0), token.get(0)]);
  assert.deepEqual([calls, new Set(first).size], [1, 1]);
  await token.get(1_069_000);
  assert.equal(calls, 1);
  assert.equal(await token.get(1_071_000), jwt(1200));

  const renewed = await Promise.all([1, 2, 3, 4, 5].map(() => token.get(0, jwt(1200))));
  assert.deepEqual([calls, new Set(renewed).size], [3, 1]);
  assert.equal(await token.get(0, "an older one"), jwt(1300));
  assert.equal(await new Token("fixed").get(0), "fixed");
});

test("rule 13: a token function that fails is asked again later", async (t) => {
  let calls = 0;
  const token = () => ((calls += 1) < 3 ? Promise.reject(new Error("no network")) : "good");
  const { take, clock } = await reading(t, { token }, (reply) => reply.sse(hello(1), event(1)));
  assert.deepEqual(await take(1), [1]);
  assert.equal(clock.waits.length, 2);
});

test("rule 13: a token that cannot be renewed now is no refusal", async (t) => {
  const answers = ["old", new Error("no network"), "new"];
  const token = async () => {
    const answer = answers.shift();
    if (answer instanceof Error) throw answer;
    return answer;
  };
  const script = (reply, request) =>
    tokenOf(request) === "Bearer new" ? reply.sse(hello(1), event(1)) : reply.json(401, {});
  const { take, clock } = await reading(t, { token }, script);
  assert.deepEqual(await take(1), [1]);
  assert.deepEqual([answers, clock.waits.length], [[], 1]);
});

test("rule 15: states, transport, lag and counters are seen from outside", async (t) => {
  const { subscription, take, next } = await reading(
    t,
    { after: "2-k3x9q2" },
    (reply) => reply.sse(hello(7), event(3), caughtUp(7)).then(reply.cut),
    (reply) => reply.sse(hello(9), event(9), caughtUp(9)),
  );
  const states = [];
  subscription.addEventListener("state", ({ detail }) => states.push(detail.state));
  const lags = [];
  subscription.addEventListener(
    "state",
    ({ detail }) => detail.state === "catching-up" && lags.push(detail.lag),
  );
  assert.equal(subscription.state, "connecting");
  await take(2);
  next();
  await subscription.caughtUp;
  await until(() => subscription.state === "live");
  const connection = ["catching-up", "live"];
  assert.deepEqual(states, [...connection, "waiting", "connecting", ...connection]);
  assert.deepEqual(lags, [5, 2]);
  const { transport, cursor, reconnects, gaps, duplicates } = subscription.status;
  assert.deepEqual([transport, cursor, reconnects, gaps, duplicates], ["sse", "9-k3x9q2", 1, 0, 0]);
});

test("events reach listeners of their type and of all; the library's own names only the latter", async (t) => {
  const { subscription } = await reading(t, {}, (reply) =>
    reply.sse(hello(3), event(1, { type: "opened" }), event(2, { type: "gap" }), event(3)),
  );
  const seen = [];
  for (const type of ["event", "opened", "gap"]) {
    subscription.addEventListener(type, ({ detail }) => seen.push([type, detail.vid]));
  }
  await until(() => seen.length === 4);
  assert.deepEqual(seen, [
    ["event", 1],
    ["opened", 1],
    ["event", 2],
    ["event", 3],
  ]);
});

test("a caller that does not wait gets the events in order, and an address that is none is refused", async (t) => {
  const { next } = await reading(t, {}, (reply) => reply.sse(hello(9), event(1), event(2)));
  const both = await Promise.all([next(), next()]);
  assert.deepEqual(
    both.map(({ value }) => value.vid),
    [1, 2],
  );
  assert.throws(() => subscribe("no address"), TypeError);
});

test("rule 16: nothing runs before the first read, and one consumer is served", async (t) => {
  const { subscription, clock, server, take } = await reading(t, { after: "8" }, (reply) =>
    reply.sse(hello(9), event(9)),
  );
  subscription.addEventListener("state", () => {});
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual([server.requests.length, clock.pending], [0, 0]);
  await take(1);
  assert.deepEqual(afters(server), ["8"]);
  assert.match(server.requests[0].headers.get("user-agent"), /^vidette-js\/\d/);
  assert.throws(() => subscription.addEventListener("event", () => {}), /not both/);
});
