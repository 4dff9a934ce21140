/* Rule 4: a gap is reported before the event behind it, and never swallowed. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { afters, reading } from "./support/reading.js";
import { event, gap, gapOf, hello, page } from "./support/server.js";

/** What was reported, in order: reasons of gaps and vids of events. */
function reported(subscription) {
  const all = [];
  subscription.addEventListener("gap", ({ detail }) => all.push(detail.reason));
  return all;
}

test("rule 4: a gap is reported in its place, counted and logged; unknown reasons pass through", async (t) => {
  const { subscription, take, logged } = await reading(t, {}, (reply) =>
    reply.sse(hello(9), event(1), gap("expired"), event(4), gap("moved"), event(9)),
  );
  const all = reported(subscription);
  for (const wanted of [1, 4, 9]) all.push(...(await take(1))) && assert.equal(all.at(-1), wanted);
  assert.deepEqual(all, [1, "expired", 4, "moved", 9]);
  assert.equal(subscription.status.gaps, 2);
  assert.equal(logged.filter(([level]) => level === "warn").length, 2);
});

test("rule 4: behind a reset and behind ahead lower vids are new ones", async (t) => {
  const { take } = await reading(
    t,
    { after: "8-k3x9q2" },
    (reply) =>
      reply
        .sse(
          hello(3, "another1"),
          gap("reset", { epoch: "another1" }),
          event(1, { epoch: "another1" }),
          event(2, { epoch: "another1" }),
        )
        .then(reply.cut),
    (reply) =>
      reply.sse(
        hello(1, "another1"),
        gap("ahead", { last: 1, epoch: "another1" }),
        event(2, { epoch: "another1" }),
      ),
  );
  assert.deepEqual(await take(3), [1, 2, 2]);
});

test("rule 4: a gap in a poll comes before its events", async (t) => {
  const { subscription, take } = await reading(
    t,
    { transport: "poll" },
    (reply) => reply.json(200, page([4, 5], { gap: gapOf("expired") })),
    () => {},
  );
  const all = reported(subscription);
  all.push(...(await take(2)));
  assert.deepEqual(all, ["expired", 4, 5]);
});

test("rule 4: with fail a gap ends reading, as a status and within a stream", async (t) => {
  const problem = {
    type: "urn:vidette:problem:gap",
    status: 410,
    detail: "gone",
    ...gapOf("expired"),
  };
  const first = await reading(t, { onGap: "fail", after: "1-k3x9q2" }, (reply) =>
    reply.json(410, problem),
  );
  await assert.rejects(
    first.next(),
    ({ kind, gap: { reason, first: oldest } }) =>
      kind === "gap" && reason === "expired" && oldest === 4,
  );
  assert.equal(first.server.requests[0].params.get("on_gap"), "fail");

  const second = await reading(t, { onGap: "fail" }, (reply) =>
    reply.sse(hello(9), event(1), gap("expired"), event(4)),
  );
  assert.deepEqual(await second.take(1), [1]);
  await assert.rejects(second.next(), { kind: "gap" });
});

test("rule 4: with snapshot the state of all topics is asked for next", async (t) => {
  const { take, server, clock } = await reading(
    t,
    { onGap: "snapshot", after: "1-k3x9q2" },
    (reply) => reply.sse(hello(9), gap("expired"), event(4)),
    (reply) => reply.sse(hello(9), event(6)).then(reply.cut),
    (reply) => reply.sse(hello(9), event(9)),
  );
  assert.deepEqual(await take(2), [6, 9]);
  assert.deepEqual(
    server.requests.map(({ params }) => params.get("snapshot")),
    [null, "true", null],
  );
  assert.deepEqual(afters(server), ["1-k3x9q2", null, "6-k3x9q2"]);
  assert.equal(clock.waits.length, 1);
});

test("rule 4: a function that fails ends reading with its error", async (t) => {
  const onGap = () => {
    throw new Error("the function's own");
  };
  const { next, subscription } = await reading(t, { onGap }, (reply) =>
    reply.sse(hello(9), gap("expired"), event(4)),
  );
  await assert.rejects(next(), /the function's own/);
  assert.equal(subscription.state, "closed");
});

test("rule 4: a function decides at each gap, after what came before it was handled", async (t) => {
  const answers = ["continue", "snapshot", "fail"];
  const at = [];
  const { subscription, take, next, server } = await reading(
    t,
    {
      onGap: (detail) => {
        at.push(subscription.cursor ?? detail.reason);
        return Promise.resolve(answers.shift());
      },
    },
    (reply) => reply.sse(hello(9), gap("expired"), event(4), gap("expired"), event(5)),
    (reply) => reply.sse(hello(9), event(5), gap("expired"), event(9)),
  );
  assert.deepEqual(await take(2), [4, 5]);
  await assert.rejects(next(), { kind: "gap" });
  assert.deepEqual(at, ["expired", "4-k3x9q2", "5-k3x9q2"]);
  assert.equal(server.requests[1].params.get("snapshot"), "true");
});
