/* Modules that are loaded where they are used.
 *
 * A browser may remember for good that a module could not be loaded. Under another address it is
 * another module, so each further try has an address of its own. */

let tries = 0;

/** What `load` imports; `name` is that of the module beside this one. */
export function lazily(load, name) {
  const here = import.meta.url;
  const again = () =>
    import(/* @vite-ignore */ /* webpackIgnore: true */ new URL(`${name}?${++tries}`, here).href);
  return load().catch(again);
}

/** Most readers never poll. */
export const loadPolls = () => lazily(() => import("./poll.js"), "./poll.js");
