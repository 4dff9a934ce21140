/* Uses every part of the types, to be checked by tsc; never run. */

import {
  EventStream,
  GapError,
  OutcomeUnknown,
  Publisher,
  StatusError,
  publish,
  subscribe,
  type BusEvent,
  type Gap,
  type Receipt,
  type Status,
} from "@vidette/client";
import type { Subscription } from "@vidette/client/subscribe";

interface Door {
  no: number;
}

export async function read(url: string): Promise<string | undefined> {
  const doors: Subscription = subscribe(url, {
    topic: ["door.*"],
    after: "latest",
    token: async () => "token",
    onGap: (gap: Gap) => (gap.reason === "expired" ? "snapshot" : undefined),
    persist: { load: () => "7-k3x9q2", save: async () => {} },
    tabs: "shared",
    pauseHidden: 60_000,
    transport: "auto",
    maxElapsed: 60_000,
    log: (level, text) => [level, text],
  });
  doors.addEventListener("opened", async ({ detail }: CustomEvent<BusEvent<Door>>) => detail.data.no);
  doors.addEventListener("gap", ({ detail }) => detail.first + detail.last);
  doors.addEventListener("state", ({ detail }) => describe(detail));
  doors.addEventListener("error", ({ detail }) => detail instanceof GapError && detail.gap.epoch);
  await doors.caughtUp;
  for await (const event of doors) {
    const { vid, cursor, topic, type, raw }: BusEvent = event;
    return `${vid} ${cursor} ${topic} ${type ?? ""} ${raw ?? ""}`;
  }
  doors.close();
  return doors.cursor;
}

const describe = ({ state, why, waitMs, lag }: Status) => `${state} ${why} ${waitMs} ${lag}`;

export async function write(url: URL): Promise<Receipt> {
  const bus = new Publisher(url, { token: "token", windowMs: 50_000 });
  const stream = new EventStream(bus);
  try {
    await bus.publish([{ topic: "a", data: 1 }]).then(([first]) => first?.vid);
    await stream.send({ topic: "a", raw: "1", headers: { a: "b" } });
    await stream.close();
  } catch (error) {
    if (error instanceof StatusError && error.status === 400) throw error;
    if (error instanceof OutcomeUnknown) throw new Error(error.ids.join());
  } finally {
    bus.close();
  }
  // @ts-expect-error: an event has a topic
  publish(url, { data: 1 });
  // @ts-expect-error: there is no such transport
  subscribe(url, { transport: "pigeon" });
  return publish(url, { topic: "a", data: new Uint8Array([1]), contentType: "image/png" });
}
