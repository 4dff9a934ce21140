/* A long-poll reader for any browser with XMLHttpRequest (or ActiveX) in strict ES3.
 *
 *   var comet = new Comet('/v1/poll', listener);
 *   comet.start('topic=door.*', 'after=earliest');    // filter, and where to begin
 *   comet.pause();  comet.resume();                   // continues after the last cursor
 *
 * Where the gateway asks who reads, comet.token is a function that gives the token; it is called for each request.
 *
 * The listener has state(name, detail, waitMs), event(event), gap(gap), cursor(text) and caughtUp(). States: connecting,
 * catching-up, live, waiting (for the next try, in waitMs), paused, stopped (trying again as it is would not help).
 *
 * While comet.sparing is set it holds no connection: it asks every 2 s, and the gateway answers at once.
 *
 * Invariants: one request at a time; the cursor moves only after the listener has had every event of an answer; after
 * any failure the next request carries the cursor of the last answer that was handled, so nothing is lost or repeated. */

function Comet(url, listener) {
  this.url = url;
  this.listener = listener;
  this.running = false;
  this.filter = '';
  this.begin = '';
  this.cursor = '';
  this.live = false;      // has an answer said up_to_date since the connection was last (re)made?
  this.failures = 0;      // in a row
  this.request = null;
  this.sparing = false;   // see above
  this.token = null;      // a function that gives the token to send
  this.timer = null;      // the watchdog of a request, or the wait before the next one
}

Comet.SPARING_MS = 2000;    // between two requests while it is sparing
Comet.WAIT_S = 30;          // how long the gateway may hold a request
Comet.GRACE_S = 15;         // how much later than that an answer is given up: the connection is dead
Comet.RETRY_MIN_MS = 1000;
Comet.RETRY_MAX_MS = 15000;

Comet.prototype.spares = true;     // it can do without a connection of its own

/* ---- control ---------------------------------------------------------------------------------------------------- */

Comet.prototype.start = function (filter, begin) {
  this.filter = filter;
  this.begin = begin;
  this.cursor = '';
  this.resume();
};

Comet.prototype.resume = function () {
  this.hangUp();
  this.running = true;
  this.failures = 0;
  this.listener.state('connecting', '');
  this.ask();
};

Comet.prototype.pause = function () {
  this.end('paused', '');
};

Comet.prototype.end = function (state, detail) {
  this.hangUp();
  this.running = false;
  this.listener.state(state, detail);
};

/** Forgets the request under way, and makes the next one confirm the connection. */
Comet.prototype.hangUp = function () {
  var request = this.request;
  this.request = null;
  this.live = false;
  clearTimeout(this.timer);
  if (request) request.abort();
};

/* ---- asking ----------------------------------------------------------------------------------------------------- */

/* Until the live end is reached the gateway need not wait (wait=0): its answer at once shows that the connection
 * stands, and puts a cursor into our hands before the first long wait can break. */
Comet.prototype.waitSeconds = function () {
  return this.live && !this.sparing ? Comet.WAIT_S : 0;
};

Comet.prototype.address = function () {
  var parts = [this.cursor ? 'after=' + encodeURIComponent(this.cursor) : this.begin];
  if (this.filter) parts.unshift(this.filter);
  parts.push('wait=' + this.waitSeconds());
  return this.url + '?' + parts.join('&');
};

Comet.prototype.ask = function () {
  var self = this, request = Comet.newRequest();
  this.request = request;
  this.timer = setTimeout(function () { self.gaveUp(); }, (this.waitSeconds() + Comet.GRACE_S) * 1000);
  request.onreadystatechange = function () {
    // A request that was hung up still reports; only the current one counts.
    if (request.readyState == 4 && self.request === request) self.answered(request);
  };
  try {
    request.open('GET', this.address(), true);
    if (this.token) request.setRequestHeader('Authorization', 'Bearer ' + this.token());
    request.send(null);
  } catch (refused) {
    this.failed('The request could not be sent.', 0);
  }
};

Comet.prototype.askLater = function (delayMs) {
  var self = this;
  this.timer = setTimeout(function () { self.ask(); }, delayMs);
};

Comet.newRequest = function () {
  if (window.XMLHttpRequest) return new XMLHttpRequest();
  try { return new ActiveXObject('Msxml2.XMLHTTP'); } catch (older) { return new ActiveXObject('Microsoft.XMLHTTP'); }
};

/* ---- answers ---------------------------------------------------------------------------------------------------- */

Comet.prototype.answered = function (request) {
  var status = Comet.statusOf(request), answer = Comet.bodyOf(request);
  clearTimeout(this.timer);
  this.request = null;
  if (status == 200 && answer && answer.cursor && answer.events) {
    this.take(answer);
  } else if (status == 400 || status == 401 || status == 403 || status == 410) {
    this.end('stopped', Comet.problemText(answer, status));
  } else {
    this.failed(Comet.problemText(answer, status), Comet.retryAfterMs(request, status));
  }
};

Comet.prototype.take = function (answer) {
  var listener = this.listener, i;
  var nothingNew = !answer.events.length && answer.cursor == this.cursor && this.live;
  if (answer.gap) listener.gap(answer.gap);
  for (i = 0; i < answer.events.length; i += 1) listener.event(answer.events[i]);
  this.cursor = answer.cursor;
  listener.cursor(answer.cursor);
  if (answer.up_to_date) listener.caughtUp();
  this.failures = 0;
  this.live = this.live || answer.up_to_date === true;
  if (!this.running) return;     // paused from within the listener
  listener.state(this.live ? 'live' : 'catching-up', '');
  // An empty answer comes after the wait. Should one ever come early (a drain, a proxy), it must not make a busy loop.
  this.askLater(this.sparing && this.live ? Comet.SPARING_MS : nothingNew ? 250 : 0);
};

Comet.prototype.gaveUp = function () {
  this.hangUp();
  this.failed('No answer in time.', 0);
};

/** Waits 1 s, 2 s, 4 s … 15 s, each shortened by chance so that many pages do not come back at once. What the gateway
 *  asks for by Retry-After is a least time. */
Comet.prototype.failed = function (message, retryAfterMs) {
  var ceiling = Math.min(Comet.RETRY_MAX_MS, Comet.RETRY_MIN_MS * Math.pow(2, this.failures));
  var delayMs = Math.max(retryAfterMs, Comet.RETRY_MIN_MS / 2) + Math.random() * Math.max(ceiling - Comet.RETRY_MIN_MS / 2, 0);
  clearTimeout(this.timer);
  this.request = null;
  this.live = false;
  this.failures += 1;
  this.listener.state('waiting', message, delayMs);
  this.askLater(delayMs);
};

Comet.statusOf = function (request) {
  try { return request.status; } catch (unreachable) { return 0; }     // old IE throws when there was no answer
};

Comet.bodyOf = function (request) {
  try { return Comet.parse(request.responseText); } catch (notJson) { return null; }
};

/** What a problem+json says of itself, or as much as can be known without one. */
Comet.problemText = function (problem, status) {
  var text;
  if (problem && problem.title) {
    text = problem.title + (problem.detail ? ': ' + problem.detail : '');
    return /[.!?]$/.test(text) ? text : text + '.';
  }
  if (!status) return 'The gateway cannot be reached.';
  return status == 200 ? 'The answer is not one of /v1/poll.' : 'The gateway answered ' + status + '.';
};

/** Retry-After is a number of seconds or a date. */
Comet.retryAfterMs = function (request, status) {
  var text = status == 503 || status == 429 ? request.getResponseHeader('Retry-After') : '';
  if (!text) return 0;
  if (/^\s*\d+\s*$/.test(text)) return parseInt(text, 10) * 1000;
  return Math.max(Date.parse(text) - new Date().getTime(), 0) || 0;
};

/* ---- JSON ------------------------------------------------------------------------------------------------------- */

Comet.parse = function (text) {
  return window.JSON && JSON.parse ? JSON.parse(text) : new JsonText(text).whole();
};

/* A parser for browsers without JSON. Not eval: an answer carries what publishers wrote, and text is never run. */
function JsonText(text) {
  this.text = text;
  this.at = 0;
}

JsonText.ESCAPES = { b: '\b', f: '\f', n: '\n', r: '\r', t: '\t', '"': '"', '\\': '\\', '/': '/' };
JsonText.WORDS = { 'true': true, 'false': false, 'null': null };

JsonText.prototype.whole = function () {
  var value = this.value();
  if (this.peek() !== '') this.fail();
  return value;
};

JsonText.prototype.fail = function () {
  throw new Error('not JSON at ' + this.at);
};

/** The next character that is no white space. */
JsonText.prototype.peek = function () {
  while (' \t\r\n'.indexOf(this.text.charAt(this.at)) >= 0 && this.at < this.text.length) this.at += 1;
  return this.text.charAt(this.at);
};

JsonText.prototype.skip = function (mark) {
  if (this.peek() !== mark) return false;
  this.at += 1;
  return true;
};

JsonText.prototype.expect = function (mark) {
  if (!this.skip(mark)) this.fail();
};

JsonText.prototype.value = function () {
  var mark = this.peek();
  if (mark == '{') return this.object();
  if (mark == '[') return this.array();
  if (mark == '"') return this.string();
  return this.word();
};

JsonText.prototype.object = function () {
  var object = {}, name;
  this.expect('{');
  if (this.skip('}')) return object;
  do {
    if (this.peek() != '"') this.fail();
    name = this.string();
    this.expect(':');
    object[name] = this.value();
  } while (this.skip(','));
  this.expect('}');
  return object;
};

JsonText.prototype.array = function () {
  var array = [];
  this.expect('[');
  if (this.skip(']')) return array;
  do { array.push(this.value()); } while (this.skip(','));
  this.expect(']');
  return array;
};

JsonText.prototype.string = function () {
  var out = '', mark;
  this.at += 1;
  for (;;) {
    mark = this.text.charAt(this.at);
    this.at += 1;
    if (mark == '"') return out;
    if (mark < ' ') this.fail();     // also the end of the text, which is ''
    out += mark == '\\' ? this.escaped() : mark;
  }
};

JsonText.prototype.escaped = function () {
  var mark = this.text.charAt(this.at), hex = this.text.substring(this.at + 1, this.at + 5);
  this.at += 1;
  if (mark == 'u' && /^[0-9a-fA-F]{4}$/.test(hex)) {
    this.at += 4;
    return String.fromCharCode(parseInt(hex, 16));
  }
  if (!JsonText.ESCAPES.hasOwnProperty(mark)) this.fail();
  return JsonText.ESCAPES[mark];
};

/** true, false, null, or a number. */
JsonText.prototype.word = function () {
  var word = /^[-+.\w]*/.exec(this.text.substring(this.at, this.at + 400))[0];
  this.at += word.length;
  if (JsonText.WORDS.hasOwnProperty(word)) return JsonText.WORDS[word];
  if (!/^-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?$/.test(word)) this.fail();
  return Number(word);
};
