/* Rule 14: what is published, and what happens when the answer is lost. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { publish, Publisher, uuidv7 } from "../src/publish.js";
import { EventStream } from "../src/stream.js";
import { TestClock } from "./support/clock.js";
import { until } from "./support/reading.js";
import { serve } from "./support/server.js";

const receipt = (vid, more) => ({ vid, cursor: `${vid}-k3x9q2`, ...more });
const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

async function publishing(test, options, ...script) {
  const server = await serve(...script);
  const clock = new TestClock();
  const publisher = new Publisher(server.url, { clock, random: () => 0.5, ...options });
  test.after(() => {
    publisher.close();
    server.close();
  });
  return { server, clock, publisher };
}

const bodies = ({ requests }) => requests.map(({ body }) => JSON.parse(body));

test("rule 14: an event is sent with an id, and its receipt comes back", async (t) => {
  const { server } = await publishing(t, {}, (reply) => reply.json(200, receipt(7)));
  const { vid, cursor, duplicate } = await publish(server.url, {
    topic: "door.3",
    type: "opened",
    data: { no: 3 },
  });
  assert.deepEqual([vid, cursor, duplicate], [7, "7-k3x9q2", false]);
  const [{ id, ...event }] = bodies(server);
  assert.match(id, UUID_V7);
  assert.deepEqual(event, { topic: "door.3", type: "opened", data: { no: 3 } });
  const [{ method, path, headers }] = server.requests;
  assert.deepEqual(
    [method, path, headers.get("content-type")],
    ["POST", "/v1/events", "application/json"],
  );
});

test("rule 14: text, bytes, JSON text as it is, and ids of one's own", async (t) => {
  const { server, publisher } = await publishing(t, {}, (reply) => reply.json(200, receipt(1)));
  await publisher.publish({ topic: "a", id: "mine", data: "text", contentType: "text/plain" });
  await publisher.publish({
    topic: "a",
    id: "mine",
    data: new Uint8Array([1, 2, 255]),
    contentType: "image/png",
  });
  await publisher.publish({ topic: "a", id: "mine", raw: "[1.50, 12345678901234567890]" });
  const id = "mine";
  assert.deepEqual(bodies(server).slice(0, 2), [
    { topic: "a", id, content_type: "text/plain", data: "text" },
    { topic: "a", id, content_type: "image/png", data_base64: "AQL/" },
  ]);
  assert.equal(
    server.requests[2].body,
    '{"topic":"a","id":"mine","data":[1.50, 12345678901234567890]}',
  );
});

test("rule 14: a lost answer, 429, 503 and 507 are tried again with the same id", async (t) => {
  const { server, publisher, clock } = await publishing(
    t,
    {},
    (reply) => reply.cut(),
    (reply) => reply.json(429, {}, "retry-after: 3\r\n"),
    (reply) => reply.json(503, {}),
    (reply) => reply.json(507, {}),
    (reply) => reply.json(200, receipt(7, { duplicate: true })),
  );
  assert.deepEqual(
    await publisher.publish({ topic: "a", data: 1 }),
    receipt(7, { duplicate: true }),
  );
  assert.equal(new Set(bodies(server).map(({ id }) => id)).size, 1);
  assert.deepEqual(clock.waits, [250, 3000, 1000, 2000]);
});

test("rule 14: other statuses of 4xx are final", async (t) => {
  for (const status of [400, 403, 404, 413]) {
    const { server, publisher } = await publishing(t, {}, (reply) =>
      reply.json(status, { detail: "no" }),
    );
    await assert.rejects(publisher.publish({ topic: "a" }), {
      kind: "status",
      status,
      message: "no",
    });
    assert.equal(server.requests.length, 1);
  }
});

test("rule 14: trying again ends before the window does, and the outcome is unknown", async (t) => {
  const { publisher, clock } = await publishing(t, {}, (reply) => {
    clock.advance(29_000);
    return reply.json(503, {});
  });
  await assert.rejects(
    publisher.publish({ topic: "a", id: "x" }),
    ({ kind, ids, cause }) => kind === "outcome_unknown" && ids[0] === "x" && cause.status === 503,
  );
  assert.equal(clock.waits.length, 3);
});

test("rule 14: no answer within 30 s is a lost one", async (t) => {
  const { publisher, clock, server } = await publishing(
    t,
    {},
    () => {},
    (reply) => reply.json(200, receipt(1)),
  );
  const published = publisher.publish({ topic: "a" });
  await until(() => server.requests.length === 1);
  clock.advance(30_000);
  assert.equal((await published).vid, 1);
});

test("rule 14: a batch is one request, and its receipts come in its order", async (t) => {
  const events = [receipt(2), receipt(1, { duplicate: true })];
  const { publisher, server } = await publishing(
    t,
    {},
    (reply) => reply.cut(),
    (reply) => reply.json(200, { first_vid: 1, last_vid: 2, cursor: "2-k3x9q2", events }),
  );
  const receipts = await publisher.publish([
    { topic: "a", data: 1 },
    { topic: "b", data: 2 },
  ]);
  assert.deepEqual(
    receipts.map(({ vid, duplicate }) => [vid, duplicate]),
    [
      [2, false],
      [1, true],
    ],
  );
  const [first, second] = bodies(server);
  assert.deepEqual(first, second);
  assert.deepEqual(await publisher.publish([]), []);
});

test("rule 14: five calls that are refused with 401 ask for one token", async (t) => {
  let calls = 0;
  const { publisher, server } = await publishing(
    t,
    { token: async () => `t${(calls += 1)}` },
    (reply, { headers }) =>
      headers.get("authorization") === "Bearer t2"
        ? reply.json(200, receipt(1))
        : reply.json(401, {}),
  );
  await Promise.all([1, 2, 3, 4, 5].map((data) => publisher.publish({ topic: "a", data })));
  assert.deepEqual([calls, server.requests.length], [2, 10]);
});

test("rule 14: a token that cannot be had now is a reason to try again", async (t) => {
  const answers = [new Error("no network"), "old", new Error("no network"), "new"];
  const token = async () => {
    const answer = answers.shift();
    if (answer instanceof Error) throw answer;
    return answer;
  };
  const { publisher } = await publishing(t, { token }, (reply, { headers }) =>
    headers.get("authorization") === "Bearer new"
      ? reply.json(200, receipt(1))
      : reply.json(401, {}),
  );
  assert.equal((await publisher.publish({ topic: "a" })).vid, 1);
  assert.deepEqual(answers, []);
});

const linesOf = ({ body }) =>
  body
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line).data);

test("rule 14: a stream answers in order; what is unanswered after a break is sent again", async (t) => {
  const answers = (reply, vids) =>
    reply
      .head(200, "application/x-ndjson")
      .then(() => reply.write(vids.map((vid) => `${JSON.stringify(receipt(vid))}\n`).join("")));
  const { publisher, server } = await publishing(
    t,
    {},
    (reply) => answers(reply, [1, 2, 3]).then(() => reply.end('{"vid":4,"cur')),
    (reply) => answers(reply, [4, 5, 6, 7, 8, 9, 10]).then(reply.end),
  );
  const stream = new EventStream(publisher);
  const sent = Array.from({ length: 10 }, (_, at) => stream.send({ topic: "a", data: at + 1 }));
  assert.deepEqual(
    (await Promise.all(sent)).map(({ vid }) => vid),
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
  );
  assert.deepEqual(server.requests.map(linesOf), [
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
    [4, 5, 6, 7, 8, 9, 10],
  ]);
  await stream.close();
});

test("rule 14: a line that is refused is final, and those behind it go on", async (t) => {
  const { publisher } = await publishing(t, {}, async (reply) => {
    await reply.head(200, "application/x-ndjson");
    reply.end(
      `${JSON.stringify({ line: 1, error: { status: 400, detail: "no" } })}\n${JSON.stringify(receipt(2))}\n`,
    );
  });
  const stream = new EventStream(publisher);
  const [first, second] = await Promise.allSettled([
    stream.send({ topic: "a.*" }),
    stream.send({ topic: "b" }),
  ]);
  assert.deepEqual([first.reason.status, second.value.vid], [400, 2]);
});

test("rule 14: a stream refuses more than its bound", async (t) => {
  const { publisher } = await publishing(t, {}, () => {});
  const stream = new EventStream(publisher);
  const sent = Array.from({ length: 10_001 }, (_, data) => stream.send({ topic: "a", data }));
  await assert.rejects(sent.at(-1), /await some receipts/);
  publisher.close();
  const outcomes = await Promise.allSettled(sent.slice(0, -1));
  assert.ok(outcomes.every(({ reason }) => reason.kind === "outcome_unknown"));
});

test("ids sort by their time, and differ", () => {
  const ids = [1, 2, 1_700_000_000_000].map((ms) => uuidv7(ms));
  assert.deepEqual(ids, [...ids].sort());
  for (const id of ids) assert.match(id, UUID_V7);
  assert.notEqual(uuidv7(1), uuidv7(1));
});
