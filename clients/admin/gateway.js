/* The admin API of the gateway: requests with a token, and the live stream.
 *
 * The stream is none of the bus: it has no cursor to resume from. It is read by fetch, because an
 * EventSource cannot send a token as a header, and by the parser of the client library. */

import { systemClock } from '../js/clock.js';
import { SseParser } from '../js/sse-parser.js';
import { Watch } from '../js/watch.js';

export var Gateway = {};

Gateway.TOKEN = 'vidette.admin.token';

/** What went wrong, in words, with the status that says so; 0 where nothing was answered. */
Gateway.Trouble = class extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
};

Gateway.headers = function (more) {
  var headers = Object.assign({ Accept: 'application/json' }, more);
  var token = sessionStorage.getItem(Gateway.TOKEN);
  if (token) headers.Authorization = 'Bearer ' + token;
  return headers;
};

Gateway.sign = function (token) {
  if (token) sessionStorage.setItem(Gateway.TOKEN, token);
  else sessionStorage.removeItem(Gateway.TOKEN);
};

Gateway.fetch = async function (what, options) {
  var answer;
  try {
    answer = await fetch('admin/api/' + what, Object.assign({ cache: 'no-store' }, options));
  } catch (unreachable) {
    throw new Gateway.Trouble(0, 'The gateway does not answer.');
  }
  if (!answer.ok) throw new Gateway.Trouble(answer.status, await Gateway.words(answer));
  return answer;
};

/** A problem document says what was wrong; a proxy in between may answer with anything. */
Gateway.words = async function (answer) {
  try {
    var problem = await answer.json();
    return problem.title + ': ' + problem.detail;
  } catch (other) {
    return 'The answer was ' + answer.status + '.';
  }
};

Gateway.get = async function (what) {
  return (await Gateway.fetch(what, { headers: Gateway.headers() })).json();
};

Gateway.post = async function (action, body) {
  var headers = Gateway.headers({ 'Content-Type': 'application/json' });
  var options = { method: 'POST', headers: headers, body: JSON.stringify(body) };
  return (await Gateway.fetch(action, options)).json();
};

/** A status comes every second: one that does not come means that the network is gone. */
Gateway.SILENCE_MS = 10000;
/** Characters of a status. */
Gateway.LONGEST = 1 << 20;

/** Reads the live stream to its end; `take` gets the name and the data of each event. */
Gateway.watch = async function (take) {
  var answer = await Gateway.fetch('live', { headers: Gateway.headers({ Accept: 'text/event-stream' }) });
  var body = answer.body.getReader(), parser = new SseParser(Gateway.LONGEST);
  var isSilent = false;
  var watch = new Watch(systemClock, function () {
    isSilent = true;
    body.cancel().catch(function () {});
  });
  for (;;) {
    watch.set(Gateway.SILENCE_MS, 'silence');
    var part = await body.read().catch(function () { return null; });
    watch.stop();
    if (!part || isSilent) throw new Gateway.Trouble(0, 'The connection to the gateway broke.');
    if (part.done) return;
    parser.push(part.value).forEach(function (block) { if (block.event) take(block.event, JSON.parse(block.data)); });
  }
};
