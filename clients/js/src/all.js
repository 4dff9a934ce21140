/* Everything at once, for service workers, which may load nothing later, and for whoever wants no
 * request while reading. */

import { loaded } from "./lazy.js";
import * as page from "./page.js";
import * as persist from "./persist.js";
import * as poll from "./poll.js";
import * as tabs from "./tabs.js";

Object.assign(loaded, { page, persist, poll, tabs });

export * from "./index.js";
