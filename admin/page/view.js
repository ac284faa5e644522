// The status document, drawn.

import { fill, Table } from './dom.js';
import * as words from './words.js';

const $ = id => document.getElementById(id);
const right = 'n';
const few = 50; // rows before a button asks for the others

const label = (level, sign, text) => ({ cls: `tag ${level}`, parts: [{ text: sign, attrs: { 'aria-hidden': 'true' } }, ` ${text}`] });
const small = text => text ? { tag: 'small', text } : '';
const ago = (date, now, after = '') => date
  ? { tag: 'time', text: words.since(date, now) + after, attrs: { datetime: date, title: date } } : '–';

function state(name) {
  const s = words.states[name] ?? { sign: '?', level: 'warn odd' };
  return label(s.level, s.sign, name);
}

// draw shows a status as of a time of the server's clock.
export function draw(s, now) {
  const v = words.verdict(s);
  const level = words.levels[v.level];
  $('verdict').className = v.level;
  fill($('verdict'), label(v.level, level.sign, level.word), ` ${v.text}.`);
  fill($('warnings'), ...words.warnings(s, now).map(text => ({ tag: 'li', text })));
  fill($('name'), s.node ?? '');
  fill($('about'), `${s.version}, up ${words.span(s.uptimeSeconds)}`);
  fill($('totals'), `In flight: ${words.plural(s.inFlight.requests, 'request')}, ${words.plural(s.inFlight.watches, 'watch').replace('watchs', 'watches')}, ` +
    `${words.plural(s.inFlight.logs, 'log follow')}, ${words.plural(s.inFlight.upgrades, 'upgrade')}`);
  document.title = `${level.sign} ${v.text} – kuberelay${s.node ? ' ' + s.node : ''}`;
  clusters(s, now);
  peers(s, now);
  clients(s, now);
  credentials(s, now);
  listeners(s);
  config(s, now);
  events(s, now);
  $('main').hidden = false;
}

const drawn = new Map(); // name → { section, heading, why, table }

function clusters(s, now) {
  const others = s.peers.filter(p => !p.self && p.state !== 'left');
  s.clusters.forEach((c, i) => {
    let d = drawn.get(c.name);
    if (!d) {
      d = { section: document.createElement('section'), heading: document.createElement('h2'), why: document.createElement('p') };
      d.heading.id = `h-cluster-${drawn.size}`;
      d.section.setAttribute('aria-labelledby', d.heading.id);
      d.table = new Table(`API servers of cluster ${c.name}`, ['API server', 'State', 'Breaker', { head: 'In flight', cls: right },
        { head: 'Streams', cls: right }, 'First byte', 'Peers see', 'Last error']);
      d.section.append(d.heading, d.why, d.table.table);
      drawn.set(c.name, d);
    }
    if ($('clusters').children[i] !== d.section) $('clusters').insertBefore(d.section, $('clusters').children[i] ?? null);
    fill(d.heading, 'Cluster ', { text: c.name }, ' ', c.ready ? label('good', '✓', 'served') : label('bad', '✗', 'not served'), small(c.policy));
    fill(d.why, c.ready ? '' : c.reason ?? '');
    d.why.hidden = c.ready;
    d.table.table.classList.toggle('alone', others.length === 0);
    d.table.show(c.upstreams.map(u => [u.id, server(u), health(u, now), label(words.breakers[u.breaker] ?? 'warn odd', '', u.breaker),
      words.number(u.inFlight), words.number(u.streams), latency(u.latency), seen(c, u, others), u.lastError || '–']));
  });
  for (const [name, d] of drawn) {
    if (!s.clusters.some(c => c.name === name)) {
      d.section.remove();
      drawn.delete(name);
    }
  }
}

function server(u) {
  return [{ cls: 'id', text: u.id }, small(u.source)];
}

function health(u, now) {
  return [state(u.state), ' ', ago(u.since, now), u.draining ? label('warn', '‖', 'drained') : '',
    u.weight < 1 && u.state === 'READY' ? label('warn', '↗', `slow start, ${Math.round(u.weight * 100)} %`) : '', small(u.reason)];
}

function latency(values) {
  const some = (values ?? []).filter(v => v > 0);
  if (some.length === 0) return '–';
  const last = values.at(-1) > 0 ? words.milliseconds(values.at(-1)) : '–';
  const most = words.milliseconds(Math.max(...some));
  return [{ spark: values, label: `nine of ten answers began within: now ${last}, at most ${most} in five minutes` },
    ' ', { cls: 'now', text: last }, { tag: 'small', text: `max ${most}`, attrs: { 'aria-hidden': 'true' } }];
}

// seen is what peers say of an upstream.
function seen(c, u, others) {
  const by = new Map();
  for (const p of others) {
    const o = p.observations.find(o => o.cluster === c.name && o.upstream === u.id);
    if (o) by.set(o.state, [...by.get(o.state) ?? [], p.name]);
  }
  if (by.size === 0) return '–';
  return [...by].flatMap(([s, names]) => [state(s), small(names.length > 2 ? `${names.length} peers` : names.join(', '))]);
}

const tables = new Map(); // section → { table, button, all }

// list shows rows in a section, the first few unless all are asked for.
function list(id, caption, columns, rows, note = '') {
  const section = $(id);
  let t = tables.get(id);
  if (!t) {
    t = { table: new Table(caption, columns), more: document.createElement('p'), button: document.createElement('button'), note: document.createElement('span'), all: false };
    t.button.type = 'button';
    t.button.addEventListener('click', () => {
      t.all = !t.all;
      t.redraw();
    });
    t.more.append(t.button, ' ', t.note);
    section.append(t.table.table, t.more);
    tables.set(id, t);
  }
  t.redraw = () => {
    t.table.show(t.all ? rows : rows.slice(0, few));
    t.button.textContent = t.all ? `Show ${few}` : `Show all ${rows.length}`;
    t.button.hidden = rows.length <= few;
    t.note.textContent = note;
    t.more.hidden = t.button.hidden && note === '';
  };
  t.redraw();
  section.hidden = rows.length === 0 && note === '';
}

function peers(s, now) {
  list('peers', 'Other instances of kuberelay', ['Peer', 'State', 'Heard', 'Version', 'Configuration', 'Keys', 'UDP'],
    s.peers.map(p => [p.name, [{ cls: 'id', parts: admin(p) }, small(p.self ? 'this one' : p.address)], state(p.state),
      p.self ? '–' : ago(p.lastHeard, now, ' ago'), p.version || '–',
      p.configHash ? [{ tag: 'code', text: p.configHash.slice(0, 8) }, s.config?.hash && p.configHash !== s.config.hash ? label('warn', '≠', 'differs') : ''] : '–',
      p.keyIDs.join(', ') || '–',
      p.self ? '–' : p.udp === 'blocked' ? label('bad', '✗', 'blocked') : p.udp]));
}

// admin is a peer's name, as a link to its own page where it has one.
function admin(p) {
  const href = `http://${p.adminAddress}/`;
  if (p.self || !p.adminAddress || !/^[\w.:[\]-]+$/.test(p.adminAddress) || !URL.canParse(href)) return [p.name];
  return [{ tag: 'a', text: p.name, attrs: { href, rel: 'noreferrer' } }];
}

function clients(s, now) {
  const active = s.clients.filter(c => c.requests > 0 || c.revoked || c.inFlight + c.watches + c.upgrades > 0);
  const rest = Math.max(s.clientsTotal ?? 0, s.clients.length) - active.length;
  list('clients', 'Clients and their usage', ['Client', { head: 'In flight', cls: right }, { head: 'Watches', cls: right }, { head: 'Upgrades', cls: right },
    { head: 'Requests', cls: right }, 'Seen', 'Access'],
  active.map(c => [c.name, { cls: 'id', text: c.name }, words.number(c.inFlight), words.number(c.watches), words.number(c.upgrades), words.number(c.requests),
    ago(c.lastSeen, now, ' ago'), !c.revoked ? 'allowed'
      : [label('bad', '✗', 'revoked'), small(c.revokedUntil ? `for ${words.span((Date.parse(c.revokedUntil) - now) / 1000)} more` : 'until lifted')]]),
  rest > 0 ? `${words.plural(rest, 'other configured client')} not seen since the start.` : '');
}

function credentials(s, now) {
  list('credentials', 'Credentials', ['Credential', 'Expires', 'State'],
    s.credentials.map(c => [c.name, { cls: 'id', text: c.name },
      c.expiresAt ? { tag: 'time', text: words.expiry(c.expiresAt, now), attrs: { datetime: c.expiresAt, title: c.expiresAt } } : words.expiry('', now),
      c.error ? [label('bad', '✗', 'failing'), small(c.error)] : c.expiresAt && Date.parse(c.expiresAt) <= now ? label('bad', '✗', 'expired') : label('good', '✓', 'ok')]));
}

function listeners(s) {
  list('listeners', 'Listeners', ['Listener', 'Address', 'Mode', 'Cluster', 'TLS', 'Identifies by'],
    s.listeners.map(l => [l.name, { cls: 'id', text: l.name }, l.address, l.mode, l.cluster, l.tls ? 'yes' : 'no', (l.identify ?? []).join(', ') || '–']));
}

function config(s, now) {
  const c = s.config;
  $('config').hidden = !c;
  if (!c) return;
  const r = c.lastReload;
  const pairs = [['File', { tag: 'code', text: c.file }], ['Loaded', ago(c.loadedAt, now, ' ago')], ['Hash', { tag: 'code', text: (c.hash ?? '').slice(0, 16) || '–' }],
    ['Last reload', !r ? 'none since the start' : r.ok ? label('good', '✓', `done ${words.since(r.at, now)} ago`) : label('bad', '✗', `refused ${words.since(r.at, now)} ago`)]];
  fill(document.querySelector('#config dl'), ...pairs.flatMap(([k, v]) => [{ tag: 'dt', text: k }, { tag: 'dd', parts: [v] }]));
}

function events(s, now) {
  list('events', 'Recent events, the latest first', ['When', 'What', 'Where', 'Event'],
    s.events.map((e, i) => [[e.at, e.kind, e.cluster, e.upstream, e.client, e.text, repeated(s.events, i)].join('\n'),
      [{ tag: 'time', text: words.clock(e.at), attrs: { datetime: e.at, title: e.at } }, small(`${words.since(e.at, now)} ago`)], e.kind, where(e) || '–', e.text]),
    s.events.length === 0 ? 'None since the start.' : '');
}

// repeated tells equal events apart, which would be one row otherwise.
function repeated(all, i) {
  return all.slice(i + 1).filter(e => e.at === all[i].at && e.text === all[i].text).length;
}

// where is what an event is about, '' if that is the process itself.
export function where(e, after = '') {
  const what = [e.cluster, e.upstream, e.client].filter(Boolean).join(' ');
  return what && what + after;
}
