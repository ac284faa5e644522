// Asks for the status every two seconds while somebody looks, and says so when
// there is no answer.

import { fill } from './dom.js';
import { draw, where } from './view.js';
import { clock, levels, span, verdict } from './words.js';

const interval = 2000; // ms, between an answer and the next question
const patience = 5000; // ms, for an answer

const $ = id => document.getElementById(id);

let last = null; // the last status
let answered = 0; // when it came, by this machine's clock
let timer = 0;
let asking = false;

async function look() {
  if (asking || document.hidden) return;
  asking = true;
  clearTimeout(timer);
  try {
    const response = await fetch('api/v1/status', { signal: AbortSignal.timeout(patience), cache: 'no-store', redirect: 'error' });
    if (!response.ok) throw new Error(`HTTP status ${response.status}`);
    const status = await response.json();
    draw(status, Date.parse(response.headers.get('Date')) || Date.now());
    tell(status);
    last = status;
    answered = Date.now();
    found();
  } catch (error) {
    lost(error);
  } finally {
    asking = false;
    timer = setTimeout(look, interval);
  }
}

function lost(error) {
  const why = error.name === 'TimeoutError' ? `no answer within ${span(patience / 1000)}` : error.name === 'TypeError' ? 'nobody answers' : error.message;
  document.body.classList.add('stale');
  $('lost').hidden = false;
  // The text stays the same while it lasts, so that it is read out once.
  fill($('lost'), `Connection lost: ${why}. ` + (last ? `What is below is of ${clock(answered)}. ` : '') + 'Trying again every two seconds.');
  document.title = `${levels.lost.sign} connection lost – kuberelay`;
}

function found() {
  if ($('lost').hidden) return;
  document.body.classList.remove('stale');
  $('lost').hidden = true;
  fill($('lost'));
  fill($('say'), 'Connected again.');
}

// tell has screen readers say what changed, and nothing else.
function tell(status) {
  if (!last) return;
  const news = [];
  const was = verdict(last), is = verdict(status);
  if (was.level !== is.level || was.text !== is.text) news.push(`${levels[is.level].word}: ${is.text}.`);
  const latest = last.events[0]?.at ?? '';
  for (const e of status.events.filter(e => e.at > latest).slice(0, 3)) news.push(`${where(e, ': ')}${e.text}.`);
  if (news.length > 0) fill($('say'), news.join(' '));
}

document.addEventListener('visibilitychange', () => {
  if (document.hidden) clearTimeout(timer);
  else look();
});
look();
