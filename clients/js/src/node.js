/* What Node alone needs: a name, and sockets of one's own.
 *
 * Node's fetch opens a new, idle connection after an answer was aborted, and its common pool keeps
 * others for a while. A pool of one's own can be closed with all that is in it. Where there is no
 * such pool, or it is not the usual one (a proxy's), fetch does as it always does. */

export const VERSION = "0.1.0";

/** Pools by the signal that ends them. */
const pools = new WeakMap();

/** This fetch, which gives its requests a name. `owner` is the signal whose pool a request uses: its
 *  own by default; with false it uses the common one. */
export const inNode =
  (fetch) =>
  (address, { owner, ...request }) => {
    const { signal } = request;
    const headers = { "user-agent": `vidette-js/${VERSION}`, ...request.headers };
    const dispatcher = owner === false ? undefined : poolOf(owner ?? signal);
    return fetch(address, { ...request, headers, dispatcher });
  };

function poolOf(owner) {
  if (!pools.has(owner) && !owner.aborted) {
    const pool = ownSockets();
    pools.set(owner, pool);
    // Behind whatever else is aborted, which so fails with the reason of the signal.
    const close = () => queueMicrotask(() => pool?.destroy());
    owner.addEventListener("abort", close, { once: true });
  }
  return pools.get(owner);
}

function ownSockets() {
  if (!globalThis.Response) return undefined;
  const common = globalThis[Symbol.for("undici.globalDispatcher.1")];
  if (common?.constructor.name !== "Agent") return undefined;
  const symbol = Object.getOwnPropertySymbols(common).find(
    ({ description }) => description === "options",
  );
  // Without its options the certificates that an application trusts would be lost.
  return common[symbol] && new common.constructor(common[symbol]);
}
