// What the page says, in words: times, the verdict, warnings. Nothing here
// touches the document.

const units = [[86400 * 365, 'y'], [86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']];

// span writes a number of seconds as people say it: 42 s, 3 min, 2 h.
export function span(seconds) {
  const s = Math.max(0, Math.round(seconds));
  const [size, name] = units.find(([size]) => s >= 2 * size) ?? units.at(-1);
  return `${Math.floor(s / size)} ${name}`;
}

// since is the time between a date and now, '' without a date.
export function since(date, now) {
  return date ? span((now - Date.parse(date)) / 1000) : '';
}

// clock is a date as the wall clock of whoever looks shows it.
export function clock(date) {
  return new Date(date).toLocaleTimeString([], { hour12: false });
}

export function number(n) {
  return (n ?? 0).toLocaleString('en').replaceAll(',', '\u202f');
}

export function milliseconds(ms) {
  return ms >= 1000 ? `${(ms / 1000).toFixed(1)} s` : `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
}

export function plural(n, noun) {
  return `${number(n)} ${noun}${n === 1 ? '' : 's'}`;
}

// Every level has a sign and a word: none is told by its color alone.
export const levels = {
  good: { sign: '✓', word: 'All is well' },
  warn: { sign: '!', word: 'Attention' },
  bad: { sign: '✗', word: 'Not serving' },
  lost: { sign: '?', word: 'Connection lost' },
};

export const states = {
  READY: { sign: '●', level: 'good' },
  SUSPECT: { sign: '◐', level: 'warn' },
  DEGRADED: { sign: '◒', level: 'warn' },
  DOWN: { sign: '○', level: 'bad' },
  MISCONFIGURED: { sign: '⊘', level: 'bad' },
  alive: { sign: '●', level: 'good' },
  dead: { sign: '○', level: 'bad' },
  left: { sign: '–', level: 'off' },
};

export const breakers = {
  closed: 'off',
  'half-open': 'warn',
  open: 'bad',
};

// verdict is the level and one sentence about everything.
export function verdict(s) {
  const down = s.clusters.filter(c => !c.ready);
  if (down.length > 0) {
    const why = down.map(c => `cluster ${c.name}: ${c.reason || 'no API server is usable'}`);
    return { level: 'bad', text: why.join('; ') };
  }
  const upstreams = s.clusters.flatMap(c => c.upstreams);
  const ready = upstreams.filter(u => u.state === 'READY' && !u.draining);
  const text = `${ready.length} of ${plural(upstreams.length, 'API server')} ready, ` +
    `${s.clusters.length === 1 ? 'the cluster is' : `all ${s.clusters.length} clusters are`} served`;
  return { level: ready.length < upstreams.length || warnings(s).length > 0 ? 'warn' : 'good', text };
}

// warnings are sentences about what an operator should look at.
export function warnings(s, now = Date.now()) {
  const w = [];
  if (s.draining) w.push('The process is stopping: requests in flight may finish.');
  if (s.isolated) w.push(`This host seems cut off: ${s.isolatedReason || 'peers reach API servers that it does not'}.`);
  if (s.adminError) w.push(`The admin server has failed; the control socket still answers: ${s.adminError}.`);
  if (s.audit?.error) {
    w.push(`Audit events cannot be written${s.audit.blocks ? ', and requests that change something are refused' : ''}: ${s.audit.error}.`);
  }
  if (s.gossipError) w.push(`Gossip does not run, and is tried again: ${s.gossipError}.`);
  const reload = s.config?.lastReload;
  if (reload && !reload.ok) {
    w.push(`The last reload was refused ${since(reload.at, now)} ago; the configuration before it is in force:\n${reload.error ?? ''}`);
  }
  for (const c of s.credentials) {
    if (c.error) w.push(`Credential ${c.name}: ${c.error}.`);
    else if (c.expiresAt && Date.parse(c.expiresAt) <= now) w.push(`Credential ${c.name} has expired.`);
  }
  for (const p of s.peers) {
    if (p.state === 'dead') w.push(`Peer ${p.name} does not answer.`);
    else if (p.state === 'alive' && p.configHash && s.config?.hash && p.configHash !== s.config.hash) {
      w.push(`Peer ${p.name} has another configuration.`);
    }
    if (p.nameConflict) w.push(`Two instances are named ${p.name}, at ${p.address} and ${p.nameConflict}: change gossip.nodeName on one of them.`);
    if (p.udp === 'blocked') w.push(`UDP to peer ${p.name} is blocked: it is reached over TCP only. Open its gossip port for UDP, both ways.`);
  }
  return w;
}

// expiry says when a credential expires.
export function expiry(date, now) {
  if (!date) return 'never, or not known';
  const left = (Date.parse(date) - now) / 1000;
  return left > 0 ? `in ${span(left)}` : `${span(-left)} ago`;
}
