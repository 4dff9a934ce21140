/* The admin page: what the gateway says of itself, live, and what an operator can do to it.
 *
 * Every action asks first, and says what it will do. Everything that is shown is put in as text. */

import { Gateway } from './gateway.js';

var Admin = {
  mayChange: false,
  isReadOnly: false,
  history: [],        // [events/s, deliveries/s], the oldest first
  readersShown: 25,
  topicsToken: null
};

Admin.HISTORY = 120;
Admin.READERS_EVERY_MS = 2000;
Admin.RETRY_MS = 3000;
Admin.MOST_READERS = 900;
Admin.LAGGING = 1000; // vids

function part(id) { return document.getElementById(id); }

function element(name, text, classes) {
  var made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (classes) made.className = classes;
  return made;
}

/* ---- numbers as a person reads them ----------------------------------------------------------------------------- */

var Show = {};

Show.number = function (value) {
  return value === null || value === undefined ? '\u2013' : Number(value).toLocaleString('en');
};

Show.bytes = function (value) {
  var units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'], at = 0;
  while (value >= 1024 && at + 1 < units.length) { value /= 1024; at += 1; }
  return (at && value < 100 ? value.toFixed(1) : Math.round(value)) + ' ' + units[at];
};

Show.span = function (seconds) {
  var minutes = Math.floor(seconds / 60), hours = Math.floor(seconds / 3600), days = Math.floor(seconds / 86400);
  if (days) return days + ' d ' + hours % 24 + ' h';
  if (hours) return hours + ' h ' + minutes % 60 + ' min';
  return minutes ? minutes + ' min ' + seconds % 60 + ' s' : seconds + ' s';
};

Show.TRANSPORTS = { long_poll: 'long-poll', sse: 'SSE', grpc: 'gRPC', legacy: 'legacy page' };

Show.transport = function (name) { return Show.TRANSPORTS[name] || name || 'opening'; };

/* ---- the state of the page -------------------------------------------------------------------------------------- */

Admin.state = function (name, words) {
  var badge = part('state');
  badge.className = 'badge is-' + name;
  badge.dataset.state = name;
  badge.textContent = words;
};

Admin.signIn = function (why) {
  Admin.state('stopped', 'not signed in');
  part('inside').hidden = true;
  part('sign-in').hidden = false;
  part('sign-in-why').textContent = why;
  part('token').focus();
};

Admin.enter = function () {
  part('sign-in').hidden = true;
  part('inside').hidden = false;
};

/** Follows the gateway, and comes back after each break. */
Admin.follow = async function () {
  for (;;) {
    var again;
    try {
      var status = await Gateway.get('status');
      Admin.history = status.history.slice(-Admin.HISTORY);
      Admin.enter();
      Admin.show(status);
      Admin.listTopics();
      Admin.listReaders();
      again = await Admin.watch();
    } catch (trouble) {
      if (trouble.status === 401 || trouble.status === 403) return Admin.signIn(trouble.message);
      again = { after: Admin.RETRY_MS, why: trouble.message };
    }
    await Admin.countDown(again);
  }
};

Admin.watch = async function () {
  var again = { after: Admin.RETRY_MS, why: 'The gateway ended the stream.' };
  await Gateway.watch(function (name, data) {
    if (name === 'vidette.closing') again = { after: data.retry_ms, why: Admin.CLOSING[data.reason] || again.why };
    if (name !== 'status') return;
    if (data.rates) Admin.history.push([data.rates.events_per_s, data.rates.deliveries_per_s]);
    Admin.history = Admin.history.slice(-Admin.HISTORY);
    Admin.state('live', 'live');
    Admin.show(data);
  });
  return again;
};

Admin.CLOSING = {
  shutdown: 'The gateway is shutting down.',
  expired: 'The credentials have expired or were revoked.'
};

Admin.countDown = async function (again) {
  part('trouble').textContent = again.why;
  for (var left = Math.ceil(again.after / 1000); left > 0; left -= 1) {
    Admin.state('waiting', 'retrying in ' + left + ' s');
    await new Promise(function (resolve) { setTimeout(resolve, 1000); });
  }
  Admin.state('connecting', 'connecting');
};

/* ---- the status ------------------------------------------------------------------------------------------------- */

Admin.show = function (status) {
  Admin.mayChange = status.you.may_change;
  Admin.isReadOnly = status.health.read_only;
  part('summary').textContent = 'vidette ' + status.version + ', up ' + Show.span(status.uptime_s) + ', engine ' +
    status.engine + ' (' + status.durability + '). You are ' + status.you.name + '.';
  part('trouble').textContent = status.health.trouble || '';
  part('notice').textContent = Admin.isReadOnly ?
    'Read-only: nothing is published here until publishing is switched on again, or the gateway restarts.' : '';
  Admin.showRates(status.rates);
  Admin.showReaders(status);
  Admin.showLog(status);
  Admin.showMemory(status.memory);
  Admin.showTotals(status.totals);
  Admin.showSources(status.sources);
  Admin.showActions();
};

Admin.showRates = function (rates) {
  part('events-rate').textContent = Show.number(rates && rates.events_per_s);
  part('deliveries-rate').textContent = Show.number(rates && rates.deliveries_per_s);
  Admin.draw('events-spark', 0);
  Admin.draw('deliveries-spark', 1);
};

Admin.draw = function (id, column) {
  var values = Admin.history.map(function (rates) { return rates[column]; });
  var most = Math.max.apply(null, values.concat(1));
  var step = 120 / (Admin.HISTORY - 1), first = Admin.HISTORY - values.length;
  var points = values.map(function (value, at) {
    return ((first + at) * step).toFixed(1) + ',' + (27 - 25 * value / most).toFixed(1);
  });
  part(id).firstElementChild.setAttribute('points', points.join(' '));
};

Admin.showReaders = function (status) {
  part('readers').textContent = Show.number(status.subscribers);
  part('connections-count').textContent = 'on ' + Show.number(status.connections) +
    (status.connections === 1 ? ' connection' : ' connections');
  var used = status.transports.filter(function (one) { return one.subscribers || one.deliveries; });
  part('transports').textContent = used.map(function (one) {
    return Show.transport(one.transport) + ' ' + Show.number(one.subscribers) + ' (' +
      Show.number(one.deliveries_per_s) + '/s)';
  }).join(', ');
};

Admin.showLog = function (status) {
  part('events').textContent = Show.number(status.events);
  part('log').textContent = 'vids ' + status.first + ' to ' + status.last + ' of ' + status.epoch + ', ' +
    Show.bytes(status.bytes) + (status.wal_bytes ? ', WAL ' + Show.bytes(status.wal_bytes) : '');
};

Admin.showMemory = function (memory) {
  var kinds = Object.keys(memory.used_bytes), used = 0;
  kinds.forEach(function (kind) { used += memory.used_bytes[kind]; });
  part('memory-used').textContent = Show.bytes(used);
  part('memory-budget').textContent = 'of ' + Show.bytes(memory.budget_bytes);
  part('memory-bar').value = used / memory.budget_bytes;
  var held = kinds.filter(function (kind) { return memory.used_bytes[kind]; });
  part('memory-kinds').textContent = held.map(function (kind) {
    return kind.replace(/_/g, ' ') + ' ' + Show.bytes(memory.used_bytes[kind]);
  }).join(', ');
};

Admin.TOTALS = [
  ['events_published', 'published'], ['deliveries', 'delivered'], ['gaps', 'gaps'], ['duplicates', 'duplicates'],
  ['publishes_refused', 'refused'], ['commit_failures', 'commits failed'], ['cold_reads', 'cold reads'],
  ['trimmed_events', 'trimmed']
];

Admin.showTotals = function (totals) {
  var rows = [];
  Admin.TOTALS.forEach(function (named) {
    rows.push(element('dt', named[1]), element('dd', Show.number(totals[named[0]])));
  });
  part('totals').replaceChildren.apply(part('totals'), rows);
};

Admin.showSources = function (sources) {
  part('sources-panel').hidden = !sources.length;
  part('sources').replaceChildren.apply(part('sources'), sources.map(function (source) {
    var item = element('li', source.name || source.kind || 'source');
    var facts = Object.keys(source).filter(function (name) { return typeof source[name] !== 'object'; });
    item.append(element('span', facts.map(function (name) { return name + ' ' + source[name]; }).join(', ')));
    return item;
  }));
};

Admin.showActions = function () {
  part('may-not').hidden = Admin.mayChange;
  document.querySelectorAll('#actions button, #connections button, #topics button').forEach(function (button) {
    button.disabled = !Admin.mayChange;
  });
  part('read-only').textContent = Admin.isReadOnly ? 'Switch on' : 'Switch off';
  part('read-only-says').textContent = Admin.isReadOnly ? 'off: this gateway is read-only' : 'on';
};

/* ---- readers ---------------------------------------------------------------------------------------------------- */

Admin.listReaders = async function () {
  try {
    Admin.showReaderRows(await Gateway.get('connections?limit=' + Admin.readersShown));
    part('connections-note').textContent = '';
  } catch (trouble) {
    part('connections-note').textContent = trouble.message;
  }
};

Admin.showReaderRows = function (list) {
  var body = part('connections').tBodies[0], before = new Map();
  Array.from(body.rows).forEach(function (row) { before.set(row.dataset.id, row); });
  var rows = list.connections.map(function (reader) {
    var kept = before.get(String(reader.id));
    before.delete(String(reader.id));
    return kept ? Admin.updateReaderRow(kept, reader) : Admin.readerRow(reader);
  });
  before.forEach(function (row) { row.remove(); });
  rows.forEach(function (row, at) {
    if (body.rows[at] !== row) body.insertBefore(row, body.rows[at] || null);
  });
  part('connections-empty').hidden = list.connections.length > 0;
  part('connections-more').hidden = !list.next_page_token || Admin.readersShown >= Admin.MOST_READERS;
};

/** Its buttons stay: one may just be pressed, or have the focus. */
Admin.updateReaderRow = function (row, reader) {
  var fresh = Array.from(Admin.readerRow(reader).cells).slice(0, -1);
  fresh.forEach(function (cell, at) { row.cells[at].replaceWith(cell); });
  return row;
};

Admin.readerRow = function (reader) {
  var row = element('tr');
  row.dataset.id = reader.id;
  var lag = element('td', Show.number(reader.lag), 'number lag' + (reader.lag >= Admin.LAGGING ? ' lagging' : ''));
  lag.dataset.label = 'lag';
  var who = element('td', undefined, 'reader');
  who.append(element('span', Show.transport(reader.transport), 'tag'), ' ' + (reader.names.join(', ') || 'anonymous'));
  who.append(element('span', (reader.peer || '') + ', at vid ' + reader.position, 'sub'));
  var open = element('td', Show.span(reader.open_for_s), 'number open');
  open.dataset.label = 'open';
  row.append(lag, who, element('td', reader.topics.join(' '), 'topics'), open, Admin.readerButtons(reader));
  return row;
};

Admin.readerButtons = function (reader) {
  var cell = element('td', undefined, 'do');
  var cut = Admin.button('Cut', function () { Admin.cut(reader); });
  cell.append(cut);
  if (reader.names.length) cell.append(Admin.button('Revoke', function () { Admin.revoke(reader.names[0]); }));
  return cell;
};

Admin.button = function (text, act) {
  var button = element('button', text, 'small danger');
  button.type = 'button';
  button.disabled = !Admin.mayChange;
  button.onclick = act;
  return button;
};

/* ---- topics ----------------------------------------------------------------------------------------------------- */

Admin.TOPICS = 50;

Admin.listTopics = async function (goesOn) {
  var query = new URLSearchParams({ limit: Admin.TOPICS });
  part('topics-filter').value.split(/[\s,]+/).filter(Boolean).forEach(function (topic) { query.append('topic', topic); });
  if (goesOn) query.append('page_token', Admin.topicsToken);
  try {
    var list = await Gateway.get('topics?' + query);
    part('topics-answer').textContent = '';
    Admin.showTopicRows(list, goesOn);
  } catch (trouble) {
    part('topics-answer').textContent = trouble.message;
  }
};

Admin.showTopicRows = function (list, goesOn) {
  var body = part('topics').tBodies[0], rows = list.topics.map(Admin.topicRow);
  if (goesOn) body.append.apply(body, rows); else body.replaceChildren.apply(body, rows);
  Admin.topicsToken = list.next_page_token || null;
  part('topics-more').hidden = !Admin.topicsToken;
  part('topics-empty').hidden = body.rows.length > 0;
};

Admin.topicRow = function (topic) {
  var row = element('tr'), cell = element('td', undefined, 'do');
  row.dataset.topic = topic.topic;
  cell.append(Admin.button('Purge', function () { Admin.purge(topic.topic); }));
  row.append(element('td', topic.topic), element('td', topic.vid, 'number'), cell);
  return row;
};

/* ---- actions, each behind a question ---------------------------------------------------------------------------- */

/** Asks, does, and says what was done. */
Admin.act = async function (question, action, body) {
  if (!await Admin.isSure(question)) return;
  Admin.say('', 'Working\u2026');
  try {
    var done = await Gateway.post(action, body);
    Admin.say('good', 'Done: ' + done.says + '.');
  } catch (trouble) {
    Admin.say('bad', trouble.message);
  }
  Admin.listReaders();
  Admin.listTopics();
};

/** What became of the last action; it stays until it is closed, or until the next one. */
Admin.say = function (kind, text) {
  part('answer').className = 'answer ' + kind;
  part('answer').textContent = text;
  part('toast').hidden = false;
};

Admin.isSure = function (question) {
  var dialog = part('confirm');
  part('confirm-title').textContent = question.title;
  part('confirm-says').textContent = question.says;
  part('confirm-yes').textContent = question.yes;
  dialog.returnValue = 'no';
  dialog.showModal();
  return new Promise(function (resolve) {
    dialog.onclose = function () { resolve(dialog.returnValue === 'yes'); };
  });
};

Admin.cut = function (reader) {
  Admin.act({
    title: 'Cut connection ' + reader.id + '?',
    says: 'Its reader (' + Show.transport(reader.transport) + ', ' + (reader.peer || 'unknown') + ') is told to come back ' +
      'later. It keeps its cursor and loses nothing. If it takes nothing, the connection is closed after two seconds, ' +
      'with everything else on it.',
    yes: 'Cut connection ' + reader.id
  }, 'cut', { id: reader.id });
};

Admin.revoke = function (name) {
  Admin.act({
    title: 'Revoke ' + name + '?',
    says: 'Whoever shows a token, key or certificate of this name is refused from now on, and what is served on it ends ' +
      'within 3 seconds. It is taken back only in the list of the revoked (auth.revoked_file), or by a restart where ' +
      'there is no such list.',
    yes: 'Revoke ' + name
  }, 'revoke', { name: name });
};

Admin.purge = function (topic) {
  Admin.act({
    title: 'Purge ' + topic + '?',
    says: 'All events that this topic has now are deleted for good. Readers that have not seen them pass over them; their ' +
      'vids stay empty.',
    yes: 'Purge ' + topic
  }, 'purge', { topic: topic });
};

Admin.remove = function (vid) {
  Admin.act({
    title: 'Delete event ' + vid + '?',
    says: 'The event is deleted for good. Readers that have not seen it pass over it; its vid stays empty.',
    yes: 'Delete event ' + vid
  }, 'delete', { vid: vid });
};

Admin.switchPublishing = function () {
  var on = !Admin.isReadOnly;
  Admin.act({
    title: on ? 'Switch publishing off?' : 'Switch publishing on?',
    says: on ? 'Publishers are refused with 503 and asked to come back, and sources hold what they have. Reading goes on. It ' +
      'lasts until it is switched on again, or the gateway restarts.' : 'Publishers and sources are served again.',
    yes: on ? 'Switch off' : 'Switch on'
  }, 'read-only', { on: on });
};

/* ---- begin ------------------------------------------------------------------------------------------------------ */

function onSubmit(id, act) {
  part(id).onsubmit = function (event) {
    event.preventDefault();
    act();
  };
}

onSubmit('sign-in-form', function () {
  Gateway.sign(part('token').value.trim());
  part('token').value = '';
  Admin.state('connecting', 'connecting');
  Admin.follow();
});
onSubmit('topics-form', function () { Admin.listTopics(); });
onSubmit('delete-form', function () { Admin.remove(Number(part('delete-vid').value)); });
onSubmit('revoke-form', function () { Admin.revoke(part('revoke-name').value.trim()); });
part('topics-more').onclick = function () { Admin.listTopics(true); };
part('connections-more').onclick = function () {
  Admin.readersShown = Math.min(Admin.readersShown * 2, Admin.MOST_READERS);
  Admin.listReaders();
};
part('read-only').onclick = Admin.switchPublishing;
part('dismiss').onclick = function () { part('toast').hidden = true; };

setInterval(function () {
  var isLive = part('state').dataset.state === 'live';
  if (isLive && !document.hidden && !part('confirm').open) Admin.listReaders();
}, Admin.READERS_EVERY_MS);

Admin.follow();
