/* What happens to a page: hidden, offline, kept in the back-forward cache, woken. */

/** Watches the page, where there is one, until the returned function is called.
 *  `target` has `hold(reason)`, `release(reason)`, `wake(network)` and `flush()`. */
export function watchPage({ pauseHidden, clock }, target) {
  const stop = new AbortController();
  let cancelPause = () => {};
  const freeze = () => target.hold("frozen");
  const resume = () => target.release("frozen");
  const listeners = {
    freeze,
    resume,
    pageshow: resume,
    pagehide({ persisted }) {
      target.flush();
      // A page with an open connection is not kept in the cache.
      if (persisted) freeze();
    },
    visibilitychange() {
      cancelPause();
      if (globalThis.document.visibilityState === "hidden") {
        target.flush();
        if (pauseHidden)
          cancelPause = clock.after(pauseHidden, () => target.hold("hidden"), "limit");
      } else if (!target.release("hidden")) {
        target.wake();
      }
    },
    offline: () => target.hold("offline"),
    online() {
      target.wake(true);
      target.release("offline");
    },
  };
  // What happens to the document comes by its window first.
  const options = { capture: true, signal: stop.signal };
  for (const [type, listener] of Object.entries(listeners))
    globalThis.addEventListener?.(type, listener, options);
  return () => {
    stop.abort();
    cancelPause();
  };
}
