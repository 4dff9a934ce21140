/* Requests to a gateway: addresses, headers, and what a status other than 200 means. */

import { retryAfterMs } from "./backoff.js";
import { StatusError } from "./errors.js";

export const isNode = Boolean(globalThis.process?.versions?.node);

/** `{ headers, dispatcher }` of all requests in Node; a page never loads the code for it. */
export async function loadNode(hasOwnSockets) {
  return isNode ? (await import("./node.js")).inNode(hasOwnSockets) : {};
}

export function closeSockets(node) {
  node.then(({ dispatcher }) => dispatcher?.destroy()).catch(() => {});
}

/** An address below that of the gateway, which may be below a path of a proxy itself. */
export function addressOf(base, path) {
  const root = new URL(base, globalThis.location?.href).href;
  return new URL(path, root.replace(/\/?$/, "/"));
}

export function headersOf(token, more) {
  return token ? { ...more, authorization: `Bearer ${token}` } : more;
}

/** Answers with another status than 200 become a StatusError; their body is read, never kept. */
export async function checkStatus(response, wallMs) {
  if (response.status === 200) return response;
  const isProblem = /json/.test(response.headers.get("content-type"));
  // An answer that breaks off still has its status.
  const read = isProblem ? response.json() : response.body?.cancel();
  const problem = await read?.catch(() => {});
  throw new StatusError(response.status, problem, retryAfterMs(response.headers, wallMs));
}
