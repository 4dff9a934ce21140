/* Where a subscription stands, and what of what comes is new. No input or output of its own.
 *
 * Invariants:
 * - a position once known is never left for an earlier or a vaguer one, but for a gap's sake;
 * - an event at or below the last one is dropped and counted, never given twice;
 * - an event of another epoch than the connection has named is an error of the server. */

import { cursorOf, epochOf, isCursor, vidOf } from "./cursor.js";
import { VidetteError } from "./errors.js";

export class Sequence {
  position; // the cursor to resume from, once one is known
  #start;
  #lastVid = -1; // of the newest event given
  #lastEpoch;
  #epoch; // that the connection has named
  #vidAtGap = -1;
  #foreign = 0; // connections in a row that broke the rule of epochs

  constructor({ after, since, snapshot }) {
    if ([after, since, snapshot].filter(Boolean).length > 1) {
      throw new TypeError("choose one of after, since and snapshot");
    }
    this.#start = snapshot ? { snapshot } : since ? { since } : { after: after ?? "latest" };
    this.startAt(after);
  }

  /** Starts at this cursor, if it is one. */
  startAt(cursor) {
    if (isCursor(cursor) && cursor !== "0") this.#reach(cursor);
  }

  /** The parameters that say where the next request begins. */
  query() {
    return this.position ? { after: this.position } : this.#start;
  }

  hello({ epoch, last }) {
    this.#epoch = epoch;
    // "From now on" is the end that the log has now, also if the connection breaks at once.
    if (!this.position && this.#start.after === "latest") this.position = cursorOf(last, epoch);
  }

  /** Is this event to be given to the application? Gives it a cursor, if it came without one. */
  event(event) {
    const { vid } = event;
    event.cursor ??= cursorOf(vid, this.#epoch);
    const epoch = epochOf(event.cursor);
    // A log that continues from a copy has a new name and goes on upwards. A lower vid under
    // another name is another log, which is a gap that was not reported.
    const isLower = vid <= this.#lastVid && differ(this.#lastEpoch, this.#epoch);
    if (isLower || differ(epoch, this.#epoch)) {
      const kind = this.#foreign++ > 0 ? "protocol" : "passing";
      throw new VidetteError(kind, `event ${vid} of log ${epoch} without a gap before it`);
    }
    if (vid <= this.#lastVid) return false;
    this.#foreign = 0;
    this.#reach(event.cursor);
    return true;
  }

  /** The position moves without an event. Says whether it did: it never moves back. */
  moved(cursor) {
    if (!isCursor(cursor) || vidOf(cursor) < this.#lastVid) return false;
    this.#reach(cursor);
    return true;
  }

  gap({ reason, last, epoch }) {
    this.#epoch = epoch ?? this.#epoch;
    // Behind a gap vids may be lower than before it.
    if (reason === "ahead") this.#lastVid = Math.min(this.#lastVid, last);
    if (reason === "reset" || differ(this.#lastEpoch, this.#epoch)) this.#lastVid = -1;
    this.#lastEpoch = this.#epoch;
    this.#vidAtGap = this.#lastVid;
  }

  /** After a gap the state of all topics is asked for anew; what came since then comes again. */
  beginWithSnapshot() {
    this.position = undefined;
    this.#lastVid = this.#vidAtGap;
    this.#start = { snapshot: true };
  }

  #reach(cursor) {
    this.position = cursor;
    this.#lastVid = vidOf(cursor);
    this.#lastEpoch = epochOf(cursor) ?? this.#epoch;
  }
}

/** Are both epochs known, and not the same? */
const differ = (one, other) => one && other && one !== other;
