/* Rules 7 and 8: dead connections, and the way around proxies that hold streams back. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { systemClock } from "../src/clock.js";
import { Watch } from "../src/watch.js";
import { TestClock } from "./support/clock.js";
import { afters, reading, until } from "./support/reading.js";
import { caughtUp, event, hello, page, progress } from "./support/server.js";

const paths = ({ requests }) => requests.map(({ path }) => path);
const within = (ms, clock) => (timer) => timer.due - clock.now() <= ms;

test("rule 7: nothing for 2.5 heartbeats ends a connection; an id alone keeps it", async (t) => {
  let first;
  const { subscription, next, clock, server } = await reading(
    t,
    {},
    (reply) => reply.sse(hello(1), event(1)).then(() => (first = reply)),
    (reply) => reply.sse(hello(9), event(2)),
  );
  assert.equal((await next()).value.vid, 1);
  const second = next();
  await until(() => first);
  clock.advance(9000);
  await first.write(progress(5));
  await until(() => subscription.cursor === "5-k3x9q2");
  clock.advance(9999);
  assert.equal(server.requests.length, 1);
  clock.advance(1);
  await until(() => server.requests.length === 2);
  assert.deepEqual(afters(server), ["earliest", "5-k3x9q2"]);
  second.catch(() => {});
});

test("rule 7: no answer within 10 s, and no hello within 10 s, are dead connections", async (t) => {
  const { next, clock, server } = await reading(
    t,
    { transport: "sse" },
    () => {},
    (reply) => reply.sse(": comment\n\n"),
    (reply) => reply.sse(hello(1), event(1)),
  );
  const first = next();
  await until(() => server.requests.length === 1);
  clock.advance(10_000);
  await until(() => server.requests.length === 2);
  await clock.timer(within(10_000, clock));
  await until(() => server.sockets.size === 1);
  for (let seconds = 0; seconds < 11 && server.requests.length < 3; seconds += 1) {
    await new Promise((resolve) => setImmediate(resolve));
    clock.advance(1000);
  }
  assert.equal((await first).value.vid, 1);
});

test("rule 7: a timer that is 30 s late means a machine that slept", () => {
  const clock = new TestClock();
  const ends = [];
  const watch = new Watch(clock, (reason) => ends.push(reason));
  watch.set(3_600_000, "silence");
  clock.advance(60_000);
  assert.deepEqual(ends, []);
  clock.sleep(60_000);
  assert.deepEqual(ends, ["slept"]);
});

test("a wall clock that is set back neither stops nor turns the time that is measured", (t) => {
  const { now } = Date;
  t.after(() => (Date.now = now));
  const before = systemClock.now();
  Date.now = () => now() - 3_600_000;
  const after = systemClock.now();
  assert.ok(after >= before && after - before < 1000, `${before} ${after}`);
  Date.now = () => now() - 3_540_000;
  const slept = systemClock.now() - after;
  assert.ok(slept >= 59_000 && slept < 61_000, `${slept}`);
});

test("rule 8: headers and then silence are a buffering proxy: polls go on at the same place", async (t) => {
  const { next, clock, server, subscription } = await reading(
    t,
    { after: "3-k3x9q2" },
    (reply) => reply.head(200, "text/event-stream"),
    (reply) => reply.json(200, page([4])),
    () => {},
  );
  const first = next();
  await clock.timer(({ due }) => due - clock.now() === 5000);
  await until(() => {
    clock.advance(100);
    return server.requests.length === 2;
  });
  assert.equal((await first).value.vid, 4);
  assert.deepEqual(afters(server).slice(0, 2), ["3-k3x9q2", "3-k3x9q2"]);
  assert.equal(subscription.status.transport, "poll");
  assert.deepEqual(clock.waits, []);
});

test("rule 8: three streams that end within a second are followed by polls", async (t) => {
  const short = (reply) => reply.sse(hello(1)).then(reply.end);
  const { take, server } = await reading(
    t,
    {},
    short,
    short,
    short,
    (reply) => reply.json(200, page([1])),
    () => {},
  );
  await take(1);
  assert.deepEqual(paths(server).slice(0, 4), ["/v1/sse", "/v1/sse", "/v1/sse", "/v1/poll"]);
});

test("rule 8: pages of somebody else are followed by a poll, and by SSE where that fails as well", async (t) => {
  const portal = (reply) => reply.head(200, "text/html").then(() => reply.end("<p>Log in"));
  const bad = (reply) => reply.json(502, {});
  const { take, server, clock } = await reading(
    t,
    {},
    portal,
    bad,
    portal,
    bad,
    bad,
    (reply) => reply.json(200, page([1])),
    () => {},
  );
  await take(1);
  const [sse, poll] = ["/v1/sse", "/v1/poll"];
  assert.deepEqual(paths(server).slice(0, 6), [sse, sse, poll, sse, sse, poll]);
  assert.equal(clock.waits.length, 5);
});

test("rule 8: after 10 minutes SSE is tried again, with the cursor of the polls", async (t) => {
  const short = (reply) => reply.sse(hello(1)).then(reply.end);
  const { take, server, clock, subscription } = await reading(
    t,
    {},
    short,
    short,
    short,
    (reply) => reply.json(200, page([1])),
    () => {},
    (reply) => reply.sse(hello(2), event(2), caughtUp(2)),
  );
  await take(1);
  await until(() => server.requests.length === 5);
  clock.sleep(600_000);
  assert.deepEqual(await take(1), [2]);
  assert.deepEqual([paths(server).at(-1), afters(server).at(-1)], ["/v1/sse", "1-k3x9q2"]);
  assert.equal(subscription.status.transport, "sse");
});

test("rule 8: polls that are answered at once with nothing become slower", async (t) => {
  let polls = 0;
  const { next, clock } = await reading(t, { transport: "poll" }, (reply) => {
    polls += 1;
    return reply.json(200, page(polls > 9 ? [1] : [], { at: polls > 9 ? 1 : 0 }));
  });
  await next();
  assert.deepEqual(clock.waits, [250, 500, 1000, 2000]);
});
