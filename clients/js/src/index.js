/* @vidette/client: reading and publishing in one. */

export * from "./subscribe.js";
export * from "./publish.js";
export * from "./stream.js";
