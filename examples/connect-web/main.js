/* gRPC from a browser by connect-web. A stream that ends goes on behind the last cursor. */

import { createClient } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { EventBus } from "./gen/vidette/v1/vidette_pb.js";

const bus = createClient(EventBus, createGrpcWebTransport({ baseUrl: location.origin }));
const show = (text) => document.body.append(text, document.createElement("br"));

async function follow(topic, after) {
  for (let cursor = after; ; ) {
    try {
      for await (const { message } of bus.subscribe({ topic, after: cursor })) {
        if (message.case === "gap") show(`gap: ${message.value.reason}`);
        if (message.case === "events") {
          for (const { vid, topic, data } of message.value.events)
            show(`${vid} ${topic} ${new TextDecoder().decode(data)}`);
        }
        cursor = message.value.cursor || cursor;
      }
    } catch (error) {
      show(`${error}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 500 + Math.random() * 2000));
  }
}

follow(["door.*"], "earliest");
const data = new TextEncoder().encode(JSON.stringify({ no: 3 }));
await bus.publish({ events: [{ topic: "door.3", id: crypto.randomUUID(), contentType: "application/json", data }] });
