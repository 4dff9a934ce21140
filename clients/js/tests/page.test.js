/* Pages that are hidden, offline, frozen and woken; cursors that outlive them. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Persisted } from "../src/persist.js";
import { TestClock } from "./support/clock.js";
import { afters, reading, until } from "./support/reading.js";
import { event, hello } from "./support/server.js";

/** Puts a document and a window in place, for one test. All events of the first come by the second. */
function makePage(test) {
  const page = { visibilityState: "visible" };
  const target = new EventTarget();
  globalThis.document = page;
  const { addEventListener, removeEventListener } = globalThis;
  globalThis.addEventListener = target.addEventListener.bind(target);
  globalThis.removeEventListener = target.removeEventListener.bind(target);
  test.after(() => {
    delete globalThis.document;
    Object.assign(globalThis, { addEventListener, removeEventListener });
  });
  return {
    show(visibilityState) {
      page.visibilityState = visibilityState;
      target.dispatchEvent(new Event("visibilitychange"));
    },
    fire: (type, more) => target.dispatchEvent(Object.assign(new Event(type), more)),
  };
}

const one = (vid) => (reply) => reply.sse(hello(9), event(vid));

test("a page hidden for longer than pauseHidden has no connection, and resumes when it is shown", async (t) => {
  const page = makePage(t);
  const { take, clock, server, subscription } = await reading(
    t,
    { pauseHidden: 60_000 },
    one(1),
    one(2),
  );
  await take(1);
  page.show("hidden");
  clock.advance(5000);
  assert.equal(server.sockets.size, 1);
  page.show("visible");
  page.show("hidden");
  await until(() => server.sockets.size === 1);
  clock.sleep(60_000);
  await until(() => server.sockets.size === 0 && subscription.state === "waiting");
  page.show("visible");
  assert.deepEqual(await take(1), [2]);
  assert.deepEqual([afters(server), clock.waits], [["earliest", "1-k3x9q2"], []]);
});

test("offline closes the connection; online, and a page from the cache, connect, once in two seconds", async (t) => {
  const page = makePage(t);
  const { take, clock, server, subscription } = await reading(t, {}, one(1), one(2), one(3));
  await take(1);
  page.fire("offline");
  await until(() => server.sockets.size === 0 && subscription.state === "waiting");
  page.fire("online");
  assert.deepEqual(await take(1), [2]);
  page.fire("pagehide", { persisted: true });
  await until(() => server.sockets.size === 0);
  page.fire("pageshow", { persisted: true });
  assert.deepEqual(await take(1), [3]);
  assert.deepEqual(clock.waits, [2000]);
});

test("a page that is shown ends a wait, once in two seconds at most", async (t) => {
  const page = makePage(t);
  const { next, clock, server } = await reading(t, {}, (reply) => reply.cut());
  clock.holdWaits = true;
  next();
  await until(() => clock.waits.length === 1);
  page.show("visible");
  await until(() => clock.waits.length === 2);
  page.show("visible");
  for (let turn = 0; turn < 300; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(server.requests.length, 2);
  clock.advance(2000);
  await until(() => clock.waits.length === 3);
  page.show("visible");
  await until(() => server.requests.length === 4);
});

test("a closed subscription listens to the page no more", async (t) => {
  const page = makePage(t);
  const { take, subscription, server } = await reading(t, {}, one(1));
  await take(1);
  subscription.close();
  page.fire("online");
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual([server.requests.length, subscription.state], [1, "closed"]);
});

/** localStorage for one test. */
function makeStorage(test, kept = new Map()) {
  globalThis.localStorage = {
    getItem: (key) => kept.get(key) ?? null,
    setItem: (key, value) => kept.set(key, value),
  };
  test.after(() => delete globalThis.localStorage);
  return kept;
}

test("a kept cursor wins over after, for the same filter only", async (t) => {
  makeStorage(t);
  const script = [one(4)];
  const server = { persist: "doors", topic: ["a"] };
  const first = await reading(t, server, one(3), one(4));
  await first.take(1);
  first.next();
  await until(() => first.subscription.cursor === "3-k3x9q2");
  first.subscription.close();

  const { url } = first.subscription.constructor && first.server;
  const kept = [...globalThis.localStorage.getItem("vidette:doors")].join("");
  assert.match(kept, /"cursor":"3-k3x9q2"/);
  const again = new Persisted({
    persist: "doors",
    url,
    topics: ["a"],
    clock: new TestClock(),
    log: () => {},
  });
  assert.equal(await again.load(), "3-k3x9q2");
  const other = new Persisted({
    persist: "doors",
    url,
    topics: ["b"],
    clock: new TestClock(),
    log: () => {},
  });
  assert.equal(await other.load(), undefined);
  assert.equal(script.length, 1);
});

test("load and save of one's own: at most one write a second, and one at the end", async (t) => {
  const saved = [];
  const persist = { load: async () => "2-k3x9q2", save: (cursor) => saved.push(cursor) };
  const { take, clock, subscription, server, next } = await reading(t, { persist }, (reply) =>
    reply.sse(hello(9), event(3), event(4), event(5), event(6)),
  );
  await take(3);
  assert.deepEqual([afters(server), saved], [["2-k3x9q2"], []]);
  clock.advance(1000);
  assert.deepEqual(saved, ["4-k3x9q2"]);
  await next();
  subscription.close();
  assert.deepEqual(saved, ["4-k3x9q2", "5-k3x9q2"]);
});

test("a storage that fails costs the position, never an event", async (t) => {
  const fail = () => {
    throw new Error("QuotaExceededError");
  };
  const { take, clock, logged } = await reading(
    t,
    { persist: { load: fail, save: fail } },
    (reply) => reply.sse(hello(9), event(3), event(4)),
  );
  assert.deepEqual(await take(2), [3, 4]);
  clock.advance(1000);
  await until(() => logged.filter(([level]) => level === "warn").length === 2);
});
