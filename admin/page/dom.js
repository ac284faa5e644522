// The document, by hand. Whatever comes from the status is put in as text:
// there is no HTML made of strings, and the page's Content-Security-Policy
// (require-trusted-types-for 'script') lets no script make any.

const shown = new WeakMap(); // element → what it was last filled with

// fill makes parts the content of an element, unless they are already. A part
// is a string, or an object: text, and optionally tag, cls, attrs, parts in
// place of text, or spark for a sparkline.
export function fill(element, ...parts) {
  const key = JSON.stringify(parts);
  if (shown.get(element) === key) return;
  shown.set(element, key);
  element.replaceChildren(...parts.filter(p => p !== '' && p != null).map(node));
}

function node(part) {
  if (typeof part !== 'object') return document.createTextNode(String(part));
  if (part.spark) return sparkline(part.spark, part.label);
  const e = document.createElement(part.tag ?? 'span');
  if (part.cls) e.className = part.cls;
  for (const [name, value] of Object.entries(part.attrs ?? {})) e.setAttribute(name, value);
  e.append(...(part.parts ? part.parts.filter(p => p !== '' && p != null).map(node) : [String(part.text ?? '')]));
  return e;
}

const svg = 'http://www.w3.org/2000/svg';

// sparkline draws figures as a line with gaps where there is none (0).
function sparkline(values, label) {
  const width = 120, height = 24, top = Math.max(...values, 1);
  const x = i => (width - 2) * (i + 60 - values.length) / 59 + 1;
  const y = v => height - 2 - (height - 4) * v / top;
  const e = document.createElementNS(svg, 'svg');
  for (const [k, v] of Object.entries({ viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': label, class: 'spark' })) e.setAttribute(k, v);
  let path = '';
  values.forEach((v, i) => {
    if (v > 0) path += `${values[i - 1] > 0 ? 'L' : 'M'}${x(i).toFixed(1)} ${y(v).toFixed(1)}${values[i - 1] > 0 ? '' : 'h.1'}`;
  });
  const line = document.createElementNS(svg, 'path');
  line.setAttribute('d', path);
  e.append(line);
  return e;
}

// Table keeps a table's rows in the order of what it shows, each found again by
// its key, so that the focus and a selection survive.
export class Table {
  constructor(caption, columns, empty) {
    this.columns = columns.map(c => typeof c === 'string' ? { head: c } : c);
    this.rows = new Map();
    this.table = document.createElement('table');
    this.table.setAttribute('role', 'table'); // which display: block takes away
    const cap = this.table.createCaption();
    cap.className = 'unseen';
    cap.textContent = caption;
    const head = this.table.createTHead();
    head.setAttribute('role', 'rowgroup');
    const row = head.insertRow();
    row.setAttribute('role', 'row');
    for (const c of this.columns) {
      const th = document.createElement('th');
      th.scope = 'col';
      th.setAttribute('role', 'columnheader');
      th.textContent = c.head;
      if (c.cls) th.className = c.cls;
      row.append(th);
    }
    this.body = this.table.createTBody();
    this.body.setAttribute('role', 'rowgroup');
    this.empty = empty;
  }

  // show has a row [key, cell, …] for each thing; a cell is a list of parts.
  show(rows) {
    const keep = new Set();
    let place = this.body.firstChild;
    for (const [key, ...cells] of rows) {
      keep.add(key);
      let tr = this.rows.get(key);
      if (!tr) this.rows.set(key, tr = this.row());
      cells.forEach((parts, i) => {
        fill(tr.cells[i], ...[parts].flat());
        tr.cells[i].classList.toggle('nil', parts === '–'); // a small screen leaves it out
      });
      if (tr === place) place = place.nextSibling;
      else this.body.insertBefore(tr, place);
    }
    for (const [key, tr] of this.rows) {
      if (!keep.has(key)) {
        tr.remove();
        this.rows.delete(key);
      }
    }
    this.table.hidden = rows.length === 0;
  }

  row() {
    const tr = document.createElement('tr');
    tr.setAttribute('role', 'row');
    this.columns.forEach((c, i) => {
      const cell = document.createElement(i === 0 ? 'th' : 'td');
      if (i === 0) cell.scope = 'row';
      cell.setAttribute('role', i === 0 ? 'rowheader' : 'cell');
      cell.dataset.head = c.head;
      if (c.cls) cell.className = c.cls;
      tr.append(cell);
    });
    return tr;
  }
}
