/* What happens to a page: hidden, offline, kept in the back-forward cache, woken. */

/** Watches the page, where there is one, until the returned function is called.
 *  `target` has `hold(reason)`, `release(reason)`, `wake(network)` and `flush()`. */
export function watchPage({ pauseHidden, clock }, target) {
  const page = globalThis.document;
  let cancelPause = () => {};

  const onVisibility = () => {
    cancelPause();
    if (page.visibilityState === "hidden") {
      target.flush();
      if (pauseHidden) cancelPause = clock.after(pauseHidden, () => target.hold("hidden"), "limit");
    } else if (!target.release("hidden")) {
      target.wake();
    }
  };
  const onFreeze = () => target.hold("frozen");
  const onThaw = () => target.release("frozen");
  const onHide = ({ persisted }) => {
    target.flush();
    // A page with an open connection is not kept in the cache.
    if (persisted) onFreeze();
  };
  const stops = [
    on(page, "visibilitychange", onVisibility),
    on(globalThis, "pagehide", onHide),
    on(globalThis, "pageshow", onThaw),
    on(page, "freeze", onFreeze),
    on(page, "resume", onThaw),
    on(globalThis, "offline", () => target.hold("offline")),
    on(globalThis, "online", () => {
      target.wake(true);
      target.release("offline");
    }),
    () => cancelPause(),
  ];
  return () => stops.forEach((stop) => stop());
}

function on(target, type, listener) {
  target?.addEventListener?.(type, listener);
  return () => target?.removeEventListener?.(type, listener);
}
