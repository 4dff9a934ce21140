/* What happens to a page: hidden, offline, kept in the back-forward cache, woken. */

/** Holds and wakes the reader as its page is, where there is one, until the returned function is
 *  called. `flush()` is called when the page may be gone next. */
export function watchPage({ pauseHidden, clock }, reader, flush) {
  const stop = new AbortController();
  let cancelPause = () => {};
  const freeze = () => reader.hold("frozen");
  const resume = () => reader.release("frozen");
  const listeners = {
    freeze,
    resume,
    pageshow: resume,
    pagehide({ persisted }) {
      flush();
      // A page with an open connection is not kept in the cache.
      if (persisted) freeze();
    },
    visibilitychange() {
      cancelPause();
      if (globalThis.document.visibilityState === "hidden") {
        flush();
        if (pauseHidden)
          cancelPause = clock.after(pauseHidden, () => reader.hold("hidden"), "limit");
      } else if (!reader.release("hidden")) {
        reader.wake();
      }
    },
    offline: () => reader.hold("offline"),
    online() {
      reader.wake(true);
      reader.release("offline");
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
