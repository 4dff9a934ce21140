/* What happens to a page: hidden, offline, kept in the back-forward cache, woken. */

/** Holds and wakes the reader as its page is, where there is one, until the signal is aborted.
 *  `flush()` is called when the page may be gone next. */
export function watchPage({ pauseHidden, clock }, reader, flush, signal) {
  if (signal.aborted) return;
  const page = globalThis.document;
  let cancelPause = () => {};
  const freeze = () => reader.hold("frozen");
  const resume = () => reader.release("frozen");
  const onVisibility = () => {
    cancelPause();
    if (page.visibilityState === "hidden") {
      flush();
      const hide = () => reader.hold("hidden");
      if (pauseHidden) cancelPause = clock.after(pauseHidden, hide, "limit");
    } else if (!reader.release("hidden")) {
      reader.wake();
    }
  };
  const listeners = {
    freeze,
    resume,
    pageshow: resume,
    pagehide() {
      flush();
      // A page with an open connection is not kept in the back-forward cache. Nor may one that is
      // not kept connect any more: Firefox fails its stream just before this, and leaves one that
      // is begun in between open after the page is gone.
      freeze();
    },
    visibilitychange: onVisibility,
    offline: () => reader.hold("offline"),
    online() {
      reader.wake(true);
      reader.release("offline");
    },
  };
  // What happens to the document comes by its window first.
  const options = { capture: true, signal };
  for (const [type, listener] of Object.entries(listeners))
    globalThis.addEventListener?.(type, listener, options);
  signal.addEventListener("abort", () => cancelPause());
  if (page?.visibilityState === "hidden") onVisibility();
}
