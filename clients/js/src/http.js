/* Requests to a gateway: addresses, headers, and what a status other than 200 means. */

import { retryAfterMs } from "./backoff.js";
import { StatusError } from "./errors.js";

export const VERSION = "0.1.0";

export const isNode = Boolean(globalThis.process?.versions?.node);

/** A pool of connections of one's own, in Node; a page never loads the code for it. */
export async function loadSockets() {
  return isNode ? (await import("./node-sockets.js")).ownSockets() : undefined;
}

/** An address below that of the gateway, which may be below a path of a proxy itself. */
export function addressOf(base, path) {
  const root = new URL(base, globalThis.location?.href).href;
  return new URL(path, root.endsWith("/") ? root : root + "/");
}

export function headersOf(token, more) {
  const headers = { ...more };
  if (token) headers.authorization = `Bearer ${token}`;
  // A page's own header would cost a preflight for each request.
  if (isNode) headers["user-agent"] = `vidette-js/${VERSION}`;
  return headers;
}

/** Answers with another status than 200 become a StatusError; their body is read, never kept. */
export async function checkStatus(response, wallMs) {
  if (response.status === 200) return response;
  const problem = await problemOf(response);
  throw new StatusError(response.status, problem, retryAfterMs(response.headers, wallMs));
}

async function problemOf(response) {
  try {
    if ((response.headers.get("content-type") ?? "").includes("json")) return await response.json();
    await response.body?.cancel();
  } catch {
    // An answer that breaks off still has its status.
  }
  return undefined;
}
