/* What Node alone needs: a name, and sockets of one's own.
 *
 * Node's fetch opens a new, idle connection after an answer was aborted, and its common pool keeps
 * others for a while. A pool of one's own can be closed with all that is in it. Where there is no
 * such pool, or it is not the usual one (a proxy's), fetch does as it always does. */

export const VERSION = "0.1.0";

/** What requests have in Node: sockets, and a name, which would cost a page its preflights. */
export const inNode = (hasOwnSockets) => ({
  headers: { "user-agent": `vidette-js/${VERSION}` },
  dispatcher: hasOwnSockets ? ownSockets() : undefined,
});

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
