/* Tabs that share one connection. Each subscription here stands for a tab. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { subscribe } from "../src/subscribe.js";
import { TestClock } from "./support/clock.js";
import { until } from "./support/reading.js";
import { caughtUp, event, gap, gapOf, hello, page, serve } from "./support/server.js";

/** Web Locks, as far as tabs use them: exclusive, in the order of the requests, or stolen. */
class FakeLocks {
  #waiting = [];
  #holder;

  request(_name, { signal, steal }, run) {
    return new Promise((resolve, reject) => {
      const request = { signal, run, resolve, reject };
      signal?.addEventListener("abort", () => {
        this.#waiting = this.#waiting.filter((one) => one !== request);
        if (this.#holder !== request) reject(signal.reason);
      });
      if (steal) this.#steal(request);
      else this.#waiting.push(request);
      queueMicrotask(() => this.#next());
    });
  }

  #steal(request) {
    const robbed = this.#holder;
    this.#hold(request);
    robbed?.reject(new DOMException("stolen", "AbortError"));
  }

  #next() {
    if (!this.#holder && this.#waiting.length > 0) this.#hold(this.#waiting.shift());
  }

  async #hold(request) {
    this.#holder = request;
    request.resolve(await request.run());
    if (this.#holder === request) this.#holder = undefined;
    this.#next();
  }
}

function makeBrowser(test) {
  const before = Object.getOwnPropertyDescriptor(globalThis, "navigator");
  Object.defineProperty(globalThis, "navigator", {
    value: { locks: new FakeLocks() },
    configurable: true,
  });
  test.after(() => {
    delete globalThis.navigator;
    if (before) Object.defineProperty(globalThis, "navigator", before);
  });
}

function openTab(test, { url }, options = {}) {
  const clock = new TestClock();
  const subscription = subscribe(url, {
    after: "earliest",
    tabs: "shared",
    clock,
    random: () => 0.5,
    ...options,
  });
  const vids = [];
  const tab = { subscription, clock, vids };
  tab.done = (async () => {
    for await (const { vid } of subscription) vids.push(vid);
  })();
  test.after(() => subscription.close());
  return tab;
}

/** A gateway with these events, to which more can be added: SSE until cut, polls at once. */
async function gateway(test, events) {
  const streams = [];
  const known = [...events];
  const from = (params) => Number.parseInt(params.get("after"), 10) || 0;
  const server = await serve((reply, { path, params }) => {
    const rest = known.filter((vid) => vid > from(params));
    if (path === "/v1/poll") return reply.json(200, page(rest, { at: known.at(-1) ?? 0 }));
    streams.push(reply);
    return reply.sse(hello(known.at(-1)), ...rest.map((vid) => event(vid)), caughtUp(known.at(-1)));
  });
  test.after(() => server.close());
  const add = (vid) => {
    known.push(vid);
    return Promise.all(streams.map((reply) => !reply.socket.destroyed && reply.write(event(vid))));
  };
  return { ...server, url: server.url, requests: server.requests, add };
}

const streamsOf = ({ requests }) => requests.filter(({ path }) => path === "/v1/sse").length;
const all = (tabs, count) => until(() => tabs.every(({ vids }) => vids.length >= count));

test("eight tabs have one stream, and each gets every event once", async (t) => {
  makeBrowser(t);
  const server = await gateway(t, [1, 2, 3]);
  const tabs = Array.from({ length: 8 }, () => openTab(t, server));
  await all(tabs, 3);
  await server.add(4);
  await server.add(5);
  await all(tabs, 5);
  for (const { vids } of tabs) assert.deepEqual(vids, [1, 2, 3, 4, 5]);
  assert.equal(streamsOf(server), 1);
});

test("when the leading tab goes, another goes on from its own position", async (t) => {
  makeBrowser(t);
  const server = await gateway(t, [1]);
  const tabs = [openTab(t, server), openTab(t, server), openTab(t, server)];
  await all(tabs, 1);
  const [leader, ...others] = tabs;
  leader.subscription.close();
  await server.add(2);
  await all(others, 2);
  await server.add(3);
  await all(others, 3);
  for (const { vids } of others) assert.deepEqual(vids, [1, 2, 3]);
  assert.equal(streamsOf(server), 2);
});

test("a tab that joins late fetches what it has missed, then follows", async (t) => {
  makeBrowser(t);
  const server = await gateway(t, [1, 2]);
  const first = openTab(t, server);
  await all([first], 2);
  const late = openTab(t, server);
  await all([late], 2);
  await server.add(3);
  await all([first, late], 3);
  assert.deepEqual(late.vids, [1, 2, 3]);
  assert.equal(streamsOf(server), 1);
});

test("a leader that is silent for 2.5 heartbeats loses the lead, and follows", async (t) => {
  makeBrowser(t);
  const server = await gateway(t, [1]);
  const leader = openTab(t, server);
  const follower = openTab(t, server);
  await all([leader, follower], 1);
  await until(() => follower.subscription.state === "live");
  // The leader's own clock stands still: it says nothing any more.
  follower.clock.advance(9999);
  assert.equal(streamsOf(server), 1);
  follower.clock.advance(1);
  await until(() => streamsOf(server) === 2 && leader.subscription.state === "live");
  await server.add(2);
  await all([leader, follower], 2);
  // The one whose lock was taken follows; it leads again when the other one goes.
  follower.subscription.close();
  await server.add(3);
  await all([leader], 3);
  assert.deepEqual([leader.vids, follower.vids, streamsOf(server)], [[1, 2, 3], [1, 2], 3]);
});

test("a tab that never hears of its leader does not wait for it either", async (t) => {
  makeBrowser(t);
  navigator.locks.request("any", {}, () => new Promise(() => {})).catch(() => {});
  const server = await gateway(t, [1]);
  const tab = openTab(t, server);
  await tab.clock.timer(({ kind }) => kind === "limit");
  assert.equal(server.requests.length, 0);
  tab.clock.advance(5000);
  await all([tab], 1);
});

test("a leader that is hidden makes way for a tab that is seen, and follows it", async (t) => {
  makeBrowser(t);
  const document = Object.assign(new EventTarget(), { visibilityState: "visible" });
  globalThis.document = document;
  t.after(() => delete globalThis.document);
  const server = await gateway(t, [1]);
  const tabs = [openTab(t, server), openTab(t, server)];
  await all(tabs, 1);
  await until(() => tabs[1].subscription.state === "live");
  // One document stands for all tabs: the follower is seen first, then the leader is not.
  document.dispatchEvent(new Event("visibilitychange"));
  document.visibilityState = "hidden";
  for (let turn = 0; turn < 50; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(streamsOf(server), 1, "it has led for too short a time");
  tabs[0].clock.advance(15_000);
  document.visibilityState = "visible";
  document.dispatchEvent(new Event("visibilitychange"));
  document.visibilityState = "hidden";
  await until(() => streamsOf(server) === 2);
  await server.add(2);
  await all(tabs, 2);
  for (const { vids } of tabs) assert.deepEqual(vids, [1, 2]);
  assert.equal(streamsOf(server), 2);
});

test("with leader only one tab runs handlers, and the next one goes on behind what was handled", async (t) => {
  makeBrowser(t);
  const server = await gateway(t, [1, 2]);
  const leader = openTab(t, server, { tabs: "leader" });
  await all([leader], 2);
  const next = openTab(t, server, { tabs: "leader" });
  await until(() => leader.subscription.cursor === "2-k3x9q2");
  await server.add(3);
  await all([leader], 3);
  assert.deepEqual(next.vids, []);
  leader.clock.advance(15_000);
  leader.subscription.close();
  await server.add(4);
  await until(() => next.vids.at(-1) === 4);
  assert.ok(next.vids.length <= 2, `${next.vids}`);
});

test("a gap of the leading tab is reported to each tab, by the gateway", async (t) => {
  makeBrowser(t);
  let stream;
  const server = await serve((reply, { path, params }) => {
    if (path !== "/v1/poll") {
      stream = reply;
      return reply.sse(hello(1), event(1), caughtUp(1));
    }
    const isBehind = params.get("after") === "1-k3x9q2" && stream.isBroken;
    return reply.json(200, isBehind ? page([9], { gap: gapOf("expired") }) : page([1]));
  });
  t.after(() => server.close());
  const tabs = [openTab(t, server), openTab(t, server)];
  await all(tabs, 1);
  stream.isBroken = true;
  await stream.write(gap("expired") + event(9));
  await all(tabs, 2);
  for (const { vids, subscription } of tabs) {
    assert.deepEqual([vids, subscription.status.gaps], [[1, 9], 1]);
  }
});

test("without Web Locks each reads for itself", async (t) => {
  const server = await gateway(t, [1]);
  const tabs = [openTab(t, server), openTab(t, server)];
  await all(tabs, 1);
  assert.equal(streamsOf(server), 2);
});
