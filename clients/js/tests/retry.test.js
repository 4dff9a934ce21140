/* Rules 5 and 6: what ends reading, and how long to wait where it does not. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { afterFailure, retryAfterMs } from "../src/backoff.js";
import { RetryPlan } from "../src/retry-plan.js";
import { TestClock } from "./support/clock.js";
import { reading } from "./support/reading.js";
import { closing, event, hello } from "./support/server.js";

const headers = (fields) => new Headers(fields);
const plan = (random = 1, more = {}) =>
  new RetryPlan({ random: () => random, clock: new TestClock(), ...more });
const failed = { lastedMs: NaN, error: new Error("refused") };

test("rule 5: statuses that the same request would meet again end reading", async (t) => {
  for (const status of [400, 401, 403, 404, 410]) {
    const { next, server, subscription } = await reading(t, {}, (reply) =>
      reply.json(status, { detail: "because" }),
    );
    await assert.rejects(next(), { kind: "status", status, message: "because" });
    assert.deepEqual([server.requests.length, subscription.state], [1, "closed"]);
  }
});

test("rule 5: everything else is tried for ever", async (t) => {
  const statuses = [405, 408, 429, 500, 503, 507];
  const answers = statuses.map((status) => (reply) => reply.json(status, {}));
  const { take, clock, server } = await reading(
    t,
    {},
    ...answers,
    (reply) => reply.cut(),
    (reply) => reply.sse(hello(1), event(1)),
  );
  assert.deepEqual(await take(1), [1]);
  assert.deepEqual([clock.waits.length, server.requests.length], [7, 8]);

  const many = plan();
  for (let tries = 0; tries < 10_000; tries += 1) assert.ok(many.next(failed) <= 20_000);
});

test("rule 5: maxElapsed ends it, counted from the first failure since it was good", () => {
  const clock = new TestClock();
  const bounded = new RetryPlan({ random: () => 1, clock, maxElapsed: 60_000 });
  assert.ok(bounded.next(failed));
  clock.advance(59_999);
  assert.ok(bounded.next(failed));
  clock.advance(1);
  assert.ok(bounded.next({ ...failed, hasEvents: true }));
  clock.advance(59_999);
  assert.ok(bounded.next(failed));
  clock.advance(1);
  assert.throws(() => bounded.next(failed), failed.error);
});

test("rule 6: waits are spread from 0 to a bound that doubles up to 20 s", () => {
  const bounds = plan(1);
  const longest = Array.from({ length: 8 }, () => bounds.next(failed));
  assert.deepEqual(longest, [500, 1000, 2000, 4000, 8000, 16_000, 20_000, 20_000]);
  assert.equal(plan(0).next(failed), 0);

  const waits = Array.from({ length: 200 }, () => afterFailure(Math.random, 0));
  const quarters = new Set(waits.map((ms) => Math.floor(ms / 125)));
  assert.equal(quarters.size, 4);
});

test("rule 6: after an orderly end only what was asked for, times 0.5 to 1.5", () => {
  const end = { lastedMs: 0, closing: { retry_ms: 2000 } };
  assert.deepEqual(
    [0, 0.5, 1].map((random) => plan(random).next(end)),
    [1000, 2000, 3000],
  );
  const atEof = { lastedMs: 10_000, retryMs: 3000 };
  assert.equal(plan(0.5).next(atEof), 3000);
  assert.equal(plan(0.5).next({ ...atEof, lastedMs: 9999 }), 250);

  // A server that closes each connection at once is not asked in a loop.
  const busy = plan(1);
  const none = { lastedMs: 0, closing: { retry_ms: 0 } };
  assert.deepEqual(
    [0, 1, 2].map(() => busy.next(none)),
    [0, 500, 1000],
  );
});

test("rule 6: failures are forgotten after an event, and after 10 s of a good connection", () => {
  for (const good of [
    { hasEvents: true, lastedMs: 1 },
    { lastedMs: 10_000, error: new Error("reset") },
  ]) {
    const once = plan(1);
    for (let tries = 0; tries < 4; tries += 1) once.next(failed);
    assert.equal(once.next(good), 500);
  }
});

test("rule 6: Retry-After is a floor of at most 5 minutes, in seconds or as a date", async (t) => {
  const at = Date.parse("2026-11-28T10:00:00Z");
  const after = (value, more) => retryAfterMs(headers({ "retry-after": value, ...more }), at);
  assert.equal(after("7"), 7000);
  assert.equal(after("86400"), 300_000);
  assert.equal(after("Sat, 28 Nov 2026 10:00:09 GMT"), 9000);
  assert.equal(after("Sat, 28 Nov 2026 09:00:00 GMT"), 0);
  assert.equal(
    after("Sat, 28 Nov 2026 12:00:09 GMT", { date: "Sat, 28 Nov 2026 12:00:00 GMT" }),
    9000,
  );
  for (const nonsense of ["soon", "-5", "1e9", ""]) assert.equal(after(nonsense), 0);

  const { take, clock } = await reading(
    t,
    {},
    (reply) => reply.json(503, {}, "retry-after: 4\r\n"),
    (reply) => reply.sse(hello(1), closing(2000)).then(reply.end),
    (reply) => reply.sse(hello(1), event(1)),
  );
  await take(1);
  assert.deepEqual(clock.waits, [4000, 2000]);
});
