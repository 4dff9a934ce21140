/* A scripted server on raw TCP: the n-th request is answered by the n-th function of the script. */

import { createServer } from "node:net";
import { once } from "node:events";

export const EPOCH = "k3x9q2";

/** `script`: functions `(reply, request) => …`. Gives `{ url, requests, sockets, close }`. */
export async function serve(...script) {
  const requests = [];
  const sockets = new Set();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket));
    readRequests(socket, (request) => {
      requests.push(request);
      const answer = script[requests.length - 1] ?? script.at(-1);
      answer(replyOn(socket), request);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const close = () => {
    for (const socket of sockets) socket.destroy();
    server.close();
  };
  return { url: `http://127.0.0.1:${server.address().port}`, requests, sockets, close };
}

function readRequests(socket, onRequest) {
  let text = "";
  socket.on("data", (bytes) => {
    text += bytes.toString("latin1");
    const end = text.indexOf("\r\n\r\n");
    if (end < 0) return;
    const [line, ...fields] = text.slice(0, end).split("\r\n");
    const headers = new Headers(fields.map((field) => field.split(/:(.*)/s).slice(0, 2)));
    const body = text.slice(end + 4);
    if (body.length < Number(headers.get("content-length") ?? 0)) return;
    text = "";
    const [method, target] = line.split(" ");
    const { pathname, searchParams } = new URL(target, "http://host");
    onRequest({ method, path: pathname, params: searchParams, headers, body });
  });
}

function replyOn(socket) {
  const write = (bytes) => new Promise((resolve) => socket.write(bytes, resolve));
  const reply = {
    socket,
    write,
    end: (bytes = "") => socket.end(bytes),
    cut: () => socket.destroy(),
    head: (status, type, more = "") =>
      write(`HTTP/1.1 ${status} X\r\ncontent-type: ${type}\r\n${more}connection: close\r\n\r\n`),
    sse: (...blocks) => reply.head(200, "text/event-stream").then(() => write(blocks.join(""))),
    json: async (status, value, more) => {
      await reply.head(status, "application/json", more);
      socket.end(typeof value === "string" ? value : JSON.stringify(value));
    },
  };
  return reply;
}

export const hello = (last = 0, epoch = EPOCH, first = 1) =>
  `event: vidette.hello\ndata: ${JSON.stringify({ epoch, first, last, heartbeat_ms: 4000 })}\n\n`;

export const event = (vid, { epoch = EPOCH, data = `${vid}`, type } = {}) => {
  const [line, member] = type ? [`event: ${type}\n`, `,"type":"${type}"`] : ["", ""];
  const json = `{"vid":${vid},"topic":"a"${member},"data":${data}}`;
  return `id: ${vid}-${epoch}\n${line}data: ${json}\n\n`;
};

export const progress = (vid, epoch = EPOCH) => `id: ${vid}-${epoch}\n\n`;

export const caughtUp = (vid, epoch = EPOCH) =>
  `id: ${vid}-${epoch}\nevent: vidette.caught_up\ndata: {"cursor":"${vid}-${epoch}"}\n\n`;

export const gapOf = (reason, more) => ({
  reason,
  requested: "1-k3x9q2",
  first: 4,
  last: 9,
  epoch: EPOCH,
  ...more,
});

export const gap = (reason, more) =>
  `event: vidette.gap\ndata: ${JSON.stringify(gapOf(reason, more))}\n\n`;

export const closing = (retryMs) =>
  `retry: ${retryMs}\nevent: vidette.closing\ndata: {"reason":"shutdown","retry_ms":${retryMs}}\n\n`;

/** The answer of a poll with these vids. */
export const page = (
  vids,
  { epoch = EPOCH, at = vids.at(-1) ?? 0, upToDate = true, ...more } = {},
) => ({
  epoch,
  first: 1,
  last: at,
  vid: at,
  cursor: `${at}-${epoch}`,
  up_to_date: upToDate,
  ...more,
  events: vids.map((vid) => ({ vid, topic: "a", data: vid })),
});
