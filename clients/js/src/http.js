/* Requests to a gateway: addresses, headers, and what a status other than 200 means. */

import { retryAfterMs } from "./backoff.js";
import { StatusError } from "./errors.js";

export const isNode = Boolean(globalThis.process?.versions?.node);

/** An address below that of the gateway, which may be below a path of a proxy itself. */
export function addressOf(base, path) {
  const root = new URL(base, globalThis.location?.href).href;
  return new URL(path, root.replace(/\/?$/, "/"));
}

/** The answer, if its status is 200; any other is a StatusError. `options` are those of the reader
 *  or the publisher; `request` is that of fetch, and in Node may have an `owner` of its sockets. */
export async function answerTo(
  address,
  request,
  token,
  { fetch = globalThis.fetch, credentials, clock },
) {
  const headers = { ...request.headers, ...(token && { authorization: `Bearer ${token}` }) };
  // A page never loads the code for Node.
  const send = isNode ? (await import("./node.js")).inNode(fetch) : fetch;
  const response = await send(address, { ...request, headers, credentials });
  if (response.status === 200) return response;

  // An answer that breaks off, or is a page of somebody else's, still has its status.
  const problem = await response.json().catch(() => {});
  throw new StatusError(response.status, problem, retryAfterMs(response.headers, clock.wall()));
}
