/* How large each entry point is, minified and compressed, against its budget.
 *
 *   npm exec --package=esbuild@0.28 -- node scripts/size.js
 *
 * Code that several entry points share is counted for publishing and reading; tabs are counted as
 * what they add to reading. Without esbuild only the bounds are printed, exit code 2. */

import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const source = (name) => fileURLToPath(new URL(`../src/${name}.js`, import.meta.url));
const KIB = 1024;
/** Loaded where it is used: tabs, kept cursors, and what Node alone needs. */
const NODE_ONLY = "--external:./node-sockets.js";
const WITH_READING = ["cursor", "event", "link", "poll", "watch"].map(
  (name) => `--external:./${name}.js`,
);
const BUDGETS = [
  [
    "reading",
    "subscribe",
    ["--external:./tabs.js", "--external:./persist.js", NODE_ONLY],
    7.75 * KIB,
  ],
  ["publishing", "publish", [NODE_ONLY], 2.375 * KIB],
  ["tabs", "tabs", WITH_READING, 2 * KIB],
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
