/* Kills a real gateway again and again, and checks that nothing was lost, doubled or out of order.
 *
 *   node clients/js/kit/kills.js --gateway target/release/vidette --seconds 600
 *
 * Five readers follow from the start: over SSE, over long-poll, by listeners, through a network that
 * is cut in the middle of what it sends, and one that closes and begins again from its cursor every
 * 500 events. A publisher sends numbered events by a stream. The wall clock of all of them jumps by
 * up to an hour in both directions. Exit status 1 if a reader has not exactly what was published. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, openSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { Publisher } from "../src/publish.js";
import { EventStream } from "../src/stream.js";
import { subscribe } from "../src/subscribe.js";

const TOPIC = "kills.numbers";
const LAST = "last";
const EVENTS_BEFORE_RESTART = 500;
const SECONDS_TO_FINISH = 60;
const HOUR_MS = 3_600_000;

const between = (least, most) => least + Math.random() * (most - least);

/** The machine's wall clock, set to another time again and again. */
class WallClock {
  #offsetMs = 0;
  jumps = 0;

  constructor() {
    const { now } = Date;
    Date.now = () => now() + this.#offsetMs;
  }

  jump() {
    this.#offsetMs = between(-HOUR_MS, HOUR_MS);
    this.jumps += 1;
  }
}

/** For publishing: after a jump beyond the dedupe window its outcome would be unknown, rightly. */
const steadyClock = {
  now: () => performance.now(),
  wall: () => Date.now(),
  after(ms, run) {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
};

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  return port;
}

/** A gateway on a free port, with a log that outlives it. */
class Gateway {
  kills = 0;
  #process;

  constructor(program, folder, port) {
    this.port = port;
    this.url = `http://127.0.0.1:${port}`;
    const address = `127.0.0.1:${port}`;
    this.command = [program, ["serve", "--data-dir", `${folder}/log`, "--listen", address]];
    this.options = { stdio: ["ignore", "ignore", openSync(`${folder}/stderr`, "a")] };
  }

  start() {
    this.#process = spawn(...this.command, this.options);
  }

  /** SIGKILL: it closes nothing and syncs nothing. */
  async kill() {
    const ended = once(this.#process, "exit");
    this.#process.kill("SIGKILL");
    await ended;
    this.kills += 1;
  }
}

/** A network before the gateway, on which every connection ends after a random number of bytes. */
class Network {
  cuts = 0;
  #server = createServer((client) => this.#carry(client));

  constructor(port) {
    this.port = port;
  }

  async listen() {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    this.url = `http://127.0.0.1:${this.#server.address().port}`;
  }

  close() {
    this.#server.close();
  }

  #carry(client) {
    const gateway = connect(this.port, "127.0.0.1");
    let left = Math.floor(between(0, 200_000));
    const end = () => [client, gateway].forEach((socket) => socket.destroy());
    for (const socket of [client, gateway]) socket.on("error", end).on("close", end);
    client.pipe(gateway);
    gateway.on("data", (bytes) => {
      client.write(bytes.subarray(0, left));
      left -= bytes.length;
      if (left > 0) return;
      this.cuts += 1;
      client.end(end);
    });
  }
}

/** Reads to the last event by one subscription. */
async function follow(url, options) {
  const seen = [];
  for await (const { data } of subscribe(url, { topic: TOPIC, after: "earliest", ...options })) {
    if (data === LAST) break;
    seen.push(data);
  }
  return seen;
}

function listen(url) {
  const events = subscribe(url, { topic: TOPIC, after: "earliest" });
  const seen = [];
  return new Promise((resolve, reject) => {
    events.addEventListener("error", ({ detail }) => reject(detail));
    events.addEventListener("event", ({ detail: { data } }) => {
      if (data !== LAST) return seen.push(data);
      events.close();
      return resolve(seen);
    });
  });
}

/** Reads to the last event by one subscription after another. */
async function beginAgain(url) {
  const seen = [];
  for (let after = "earliest"; ;) {
    for await (const { data, cursor } of subscribe(url, { topic: TOPIC, after })) {
      if (data === LAST) return seen;
      seen.push(data);
      after = cursor;
      if (seen.length % EVENTS_BEFORE_RESTART === 0) break;
    }
  }
}

/** Publishes 0, 1, 2 … until the time is over; gives how many. */
async function publish(url, seconds) {
  const bus = new Publisher(url, { clock: steadyClock });
  const stream = new EventStream(bus);
  const end = performance.now() + seconds * 1000;
  let count = 0;
  while (performance.now() < end) {
    const numbers = Array.from({ length: 20 }, () => count++);
    await Promise.all(numbers.map((data) => stream.send({ topic: TOPIC, data })));
    await sleep(20);
  }
  await stream.send({ topic: TOPIC, data: LAST });
  bus.close();
  return count;
}

/** One line for a reader; true if it has what was published, once and in order. */
async function report(name, reader, count, late) {
  const seen = await Promise.race([reader.catch((error) => error), late]);
  if (!Array.isArray(seen)) {
    console.log(`${name}: has not finished (${seen ?? "too late"})`);
    return false;
  }
  const different = new Set(seen).size;
  const isInOrder = seen.every((number, at) => at === 0 || seen[at - 1] < number);
  console.log(
    `${name}: ${seen.length} read, ${count - different} lost, ${seen.length - different} doubled, ` +
      `in order: ${isInOrder}`,
  );
  return seen.length === count && seen.every((number, at) => number === at);
}

async function check(gateway, network, seconds) {
  const clock = new WallClock();
  const readers = {
    SSE: follow(gateway.url),
    "long-poll": follow(gateway.url, { transport: "poll" }),
    listeners: listen(gateway.url),
    "cut network": follow(network.url),
    "begins again": beginAgain(gateway.url),
  };
  let isPublishing = true;
  const publisher = publish(gateway.url, seconds).finally(() => (isPublishing = false));
  while (isPublishing) {
    await sleep(between(500, 3000));
    if (!isPublishing) break;
    await gateway.kill();
    clock.jump();
    await sleep(between(0, 500));
    gateway.start();
  }
  const count = await publisher;
  const late = sleep(SECONDS_TO_FINISH * 1000, undefined, { ref: false });
  console.log(
    `${gateway.kills} kills, ${network.cuts} cuts, ${clock.jumps} jumps of the clock, ` +
      `${count} events published`,
  );
  const outcomes = Object.entries(readers).map(([name, reader]) =>
    report(name, reader, count, late),
  );
  return (await Promise.all(outcomes)).every(Boolean);
}

const { values } = parseArgs({
  options: {
    gateway: { type: "string", default: "target/release/vidette" },
    seconds: { type: "string", default: "600" },
  },
});
const folder = mkdtempSync(`${tmpdir()}/vidette-kills-`);
const gateway = new Gateway(values.gateway, folder, await freePort());
const network = new Network(gateway.port);
try {
  gateway.start();
  await network.listen();
  process.exitCode = (await check(gateway, network, Number(values.seconds))) ? 0 : 1;
} finally {
  network.close();
  await gateway.kill();
  rmSync(folder, { recursive: true });
}
process.exit();
