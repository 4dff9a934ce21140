/* A React hook that follows topics of a vidette gateway.
 *
 *   const { state, last, gap } = useVidette({ url, topic: "door.*", onEvent: (event) => … })
 *
 * `state` is that of the connection, `last` the newest event, `gap` the last gap. React may leave out
 * a rendering when events come fast: whoever needs every event takes `onEvent`, whose promise is
 * waited for. All other options are those of `subscribe`. */

import { useEffect, useRef, useState } from "react";
import { subscribe } from "@vidette/client/subscribe";

const FUNCTIONS = ["token", "onGap", "log"];

export function useVidette({ url, onEvent, ...options }) {
  const [seen, setSeen] = useState({ state: "connecting" });

  // Functions are new at each rendering; the connection stays, and calls the newest.
  const newest = useRef({});
  newest.current = { onEvent, ...options };
  const what = JSON.stringify([`${url}`, options]);

  useEffect(() => {
    const calling = (name) => [name, (...given) => newest.current[name](...given)];
    const given = FUNCTIONS.filter((name) => typeof newest.current[name] === "function");
    const { onEvent: _, ...plain } = newest.current;
    const reader = subscribe(url, { ...plain, ...Object.fromEntries(given.map(calling)) });
    const add = (more) => setSeen((before) => ({ ...before, ...more }));

    setSeen({ state: "connecting" });
    reader.addEventListener("state", ({ detail }) => add({ state: detail.state }));
    reader.addEventListener("gap", ({ detail }) => add({ gap: detail }));
    reader.addEventListener("error", ({ detail }) => add({ error: detail }));
    reader.addEventListener("event", ({ detail }) => {
      add({ last: detail });
      return newest.current.onEvent?.(detail);
    });
    return () => reader.close();
  }, [what]);

  return seen;
}
