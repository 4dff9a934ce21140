/* How large each entry point is, minified and compressed, against its budget.
 *
 *   npm exec --package=esbuild@0.28 -- node scripts/size.js
 *
 * Reading is what a reader loads before its first event. Code that several entry points share is
 * counted for publishing and reading; tabs are counted as what they add to reading; "all reading"
 * is with everything that is loaded later. Without esbuild the exit code is 2. */

import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const source = (name) => fileURLToPath(new URL(`../src/${name}.js`, import.meta.url));
const KIB = 1024;
/** Loaded where it is used: polls, tabs, kept cursors, what follows a page, what Node alone needs. */
const without = (...names) => names.map((name) => `--external:./${name}.js`);
const NODE_ONLY = "node";
const WITH_READING = without("cursor", "event", "lazy", "link", "token", "watch");
const BUDGETS = [
  ["reading", "subscribe", without("poll", "tabs", "persist", "page", NODE_ONLY), 6 * KIB],
  ["publishing", "publish", without(NODE_ONLY), 2 * KIB],
  ["tabs", "tabs", [...WITH_READING, ...without("poll")], 2 * KIB],
  ["all reading", "subscribe", without(NODE_ONLY), 8.5 * KIB],
];

function bytesOf(entry, more) {
  const options = ["--bundle", "--minify", "--format=esm", "--target=es2022", ...more];
  return gzipSync(execFileSync("esbuild", [source(entry), ...options]), { level: 9 }).length;
}

function isWithin([name, entry, more, budget]) {
  const bytes = bytesOf(entry, more);
  console.log(`${name.padEnd(12)} ${String(bytes).padStart(5)} of ${budget} bytes`);
  return bytes <= budget;
}

try {
  process.exitCode = BUDGETS.map(isWithin).every(Boolean) ? 0 : 1;
} catch (error) {
  console.error(error.code === "ENOENT" ? "esbuild is not in the path" : error.message);
  process.exitCode = 2;
}
