/* Modules that are loaded where they are used.
 *
 * A browser may remember for good that a module could not be loaded. Under another address it is
 * another module, so each further try has an address of its own. */

/** Modules that are there from the start, by name: see all.js. */
export const loaded = {};

let tries = 0;

/** What `load` imports: the module of this name, which lies beside this one. */
export async function lazily(name, load) {
  const here = import.meta.url;
  const again = () =>
    import(
      /* @vite-ignore */ /* webpackIgnore: true */ new URL(`${name}.js?${++tries}`, here).href
    );
  return loaded[name] ?? load().catch(again);
}

/** Most readers never poll. */
export const loadPolls = () => lazily("poll", () => import("./poll.js"));
