/* Shows what @vidette/client reads in a live list of page.js: `showIn(feed, url, query)`.
 *
 * `query` is a filter and where to begin, as an address has them. The button of the list pauses and
 * resumes; resuming goes on behind what is shown. All tabs of a browser share one connection, but
 * not over plain http from another machine: browsers keep Web Locks from such pages. There the list
 * waits until one of the few connections is free. */

import { subscribe } from './vidette.js';

const REASONS = {
  shutdown: 'The gateway is shutting down.',
  busy: 'The gateway has no capacity for another reader now.',
  behind: 'The gateway cannot reach its log.',
  expired: 'The token has expired.',
  offline: 'This browser is offline.',
  silence: 'The stream went silent.',
};

/** `isShown(event)` says which events the list has; all, where it is left out. */
export function showIn(feed, url, query, isShown = () => true) {
  const params = new URLSearchParams(query);
  const filter = { topic: params.getAll('topic') };
  const from = Object.fromEntries(['after', 'since', 'snapshot'].map((name) => [name, params.get(name) ?? undefined]));
  const connection = navigator.locks ? undefined : new Connection();
  let reader;
  let cursor;

  function start() {
    reader = subscribe(url, { ...filter, ...(cursor ? { after: cursor } : from) });
    listen(reader);
  }

  function listen(mine) {
    mine.addEventListener('gap', ({ detail }) => feed.gap(detail));
    mine.addEventListener('state', ({ detail }) => show(mine, detail));
    mine.addEventListener('error', ({ detail }) => stop('stopped', problemOf(detail)));
    mine.addEventListener('caughtup', () => {
      move(mine.cursor);
      feed.caughtUp();
    });
    mine.addEventListener('event', ({ detail }) => {
      if (isShown(detail)) feed.event(JSON.parse(detail.text));
      move(detail.cursor);
    });
  }

  function show(mine, { state, why, waitMs }) {
    if (state === 'live') setTimeout(() => showLive(mine));
    else if (state !== 'closed') feed.state(state, state === 'waiting' ? wordsOf(why) : '', waitMs);
  }

  /** Once what has been read before is shown. */
  function showLive(mine) {
    if (mine === reader && mine.state === 'live') feed.state('live', '');
  }

  function move(to) {
    if (to) feed.cursor((cursor = to));
  }

  function begin() {
    if (!connection) return start();
    connection.onheld = start;
    connection.onfull = () => feed.state('waiting', `${Connection.FULL}This one waits for its turn.`);
    return connection.take();
  }

  function stop(state, detail) {
    connection?.release();
    const ended = reader;
    reader = undefined;
    if (ended?.cursor && parseInt(ended.cursor, 10) > parseInt(cursor, 10)) move(ended.cursor);
    ended?.close();
    feed.state(state, detail);
  }

  feed.part.toggle.onclick = () => (reader || connection?.waits ? stop('paused', '') : begin());
  // A filter that matches little moves the cursor without an event.
  setInterval(() => reader && move(reader.cursor), 1000);
  begin();
}

function wordsOf(why) {
  if (why === 'tabs') return 'Another tab reads for this one.';
  return REASONS[why] ?? 'The connection is gone.';
}

function problemOf({ message, problem }) {
  const text = problem?.title ? `${problem.title}: ${problem.detail}` : message;
  return /[.!?]$/.test(text) ? text : `${text}.`;
}
