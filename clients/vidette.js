/* The client library, for pages: import { subscribe, publish } from "/clients/vidette.js".
 * The same modules as in the package @vidette/client. */

export * from "./js/index.js";
