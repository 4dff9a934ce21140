/* Cursors: VID or VID-EPOCH. A cursor says "everything up to here has been read". */

export const isCursor = (text) => /^\d{1,16}(-\w+)?$/.test(text ?? "");
export const vidOf = (cursor) => Number.parseInt(cursor, 10);
export const epochOf = (cursor) => cursor.split("-")[1];
export const cursorOf = (vid, epoch) => (epoch ? `${vid}-${epoch}` : `${vid}`);
