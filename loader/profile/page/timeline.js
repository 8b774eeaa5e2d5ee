// SPDX-License-Identifier: Apache-2.0
// Draws the timeline. Only what can be seen is drawn: of calls that share a pixel, one.

const gutter = () => innerWidth < 700 ? 84 : 176; // where names stand
const axisHeight = 24;
const view = {from: 0, to: end}; // ns
let selected = null; // {row, at}: the item row.items[at]
let hovered = null;

const timeline = $('timeline'), scroller = $('lanes');
let pending = false;

function redrawTimeline() {
  if (pending) return;
  pending = true;
  requestAnimationFrame(() => {
    pending = false;
    drawTimeline();
    drawOverview();
  });
}
onLook(redrawTimeline);

// resizeTimeline makes room for the rows, and a scroll bar where there is not enough.
function resizeTimeline() {
  const height = layout() + axisHeight + 2;
  const shown = Math.min(height, Math.max(260, Math.round(innerHeight * 0.46)));
  scroller.style.height = `${shown}px`;
  timeline.style.height = `${shown}px`;
  $('lanes-height').style.height = `${Math.max(0, height - shown)}px`;
  redrawTimeline();
}

const xOf = (instant, width) => gutter() + (instant - view.from) / (view.to - view.from) * (width - gutter());
const instantAt = (x, width) => view.from + (x - gutter()) / (width - gutter()) * (view.to - view.from);

// ticks gives the step between marks of an axis, in ns, so that they are some 110 pixels apart.
function tickStep(span, width) {
  const about = span / Math.max(1, width / 110);
  const power = 10 ** Math.floor(Math.log10(about));
  return [1, 2, 5, 10].map((n) => n * power).find((step) => step >= about);
}

function tickName(instant, step) {
  const [size, unit] = units.find(([size]) => step >= size * 0.999) || [1, 'ns'];
  return `${fixed(instant / size, step < 1 ? 1 : 0)} ${unit}`;
}

function drawTimeline() {
  const {context: c, width, height} = fitCanvas(timeline);
  const left = gutter();
  const top = scroller.scrollTop;
  c.save();
  c.beginPath();
  c.rect(0, axisHeight, width, height - axisHeight);
  c.clip();
  drawLanes(c, width, height, top);
  c.beginPath();
  c.rect(left, axisHeight, width - left, height - axisHeight);
  c.clip();
  for (const row of rows) {
    const y = row.y - top + axisHeight;
    if (y + row.height < axisHeight || y > height) continue;
    if (row.kind === 'stage') drawStages(c, row, y, width);
    else drawCalls(c, row, y, width);
  }
  c.restore();
  drawAxis(c, width);
}

function drawLanes(c, width, height, top) {
  const left = gutter();
  lanes.forEach((l, i) => {
    const y = l.y - top + axisHeight;
    if (l.bottom - top + axisHeight < 0 || y > height) return;
    if (i % 2) {
      c.fillStyle = colour('--stripe');
      c.fillRect(0, y, width, l.bottom - l.y);
    }
    c.fillStyle = colour('--text');
    c.font = '600 12px ' + fontFamily;
    c.textBaseline = 'middle';
    const middle = y + lanePadding + (l.rows.length ? stageHeight : callHeight) / 2;
    if (l.threads.length) triangle(c, 12, middle, l.open);
    clipText(c, l.name, 22, middle, left - 30);
    if (!l.open) return;
    c.font = '11px ' + fontFamily;
    c.fillStyle = colour('--dim');
    for (const thread of l.threads) {
      const at = thread.y - top + axisHeight + callHeight / 2;
      if (Math.abs(at - middle) >= 12) clipText(c, thread.name, 22, at, left - 30);
    }
  });
  c.fillStyle = colour('--grid');
  const step = tickStep(view.to - view.from, width - left);
  for (let t = Math.ceil(view.from / step) * step; t <= view.to; t += step) c.fillRect(Math.round(xOf(t, width)), axisHeight, 1, height);
}

function triangle(c, x, y, open) {
  c.beginPath();
  if (open) [[x - 4, y - 2], [x + 4, y - 2], [x, y + 3]].forEach(([px, py]) => c.lineTo(px, py));
  else [[x - 2, y - 4], [x - 2, y + 4], [x + 3, y]].forEach(([px, py]) => c.lineTo(px, py));
  c.fill();
}

// clipText writes a text as far as there is room for it, and … for the rest.
const widths = new Map();
function clipText(c, text, x, y, room) {
  const key = c.font + text;
  if (!widths.has(key)) {
    if (widths.size > 5000) widths.clear();
    widths.set(key, c.measureText(text).width);
  }
  if (widths.get(key) > room) {
    const letters = [...text];
    const keep = Math.floor(letters.length * room / widths.get(key)) - 1;
    if (keep < 2) return;
    text = letters.slice(0, keep).join('') + '…';
  }
  c.fillText(text, x, y);
}

const fontFamily = getComputedStyle(document.body).fontFamily;

function isSelected(row, at) { return selected && selected.row.items === row.items && selected.at === at; }
function isHovered(row, at) { return hovered && hovered.row.items === row.items && hovered.at === at; }

function drawStages(c, row, y, width) {
  c.textBaseline = 'middle';
  c.font = `600 ${row.height < stageHeight ? 10 : crowded ? 11 : 11.5}px ${fontFamily}`;
  let drawn = -1;
  for (let i = firstAfter(row, view.from); i < row.items.length && row.items[i].start < view.to; i++) {
    const item = row.items[i];
    const x = Math.max(gutter() - 4, xOf(item.start, width)), right = Math.min(width + 4, xOf(item.end, width));
    if (right - x < 1 && Math.floor(right) <= drawn) continue;
    const w = Math.max(1, right - x - (right - x > 4 ? 1 : 0));
    drawn = Math.floor(x + w);
    const fill = colour(stageColour(item.index));
    c.fillStyle = fill;
    c.beginPath();
    c.roundRect(x, y, w, row.height, w > 8 ? 3 : 0);
    c.fill();
    frame(c, row, i, x, y, w);
    if (w < 26 || row.height < 12) continue;
    c.fillStyle = ink(fill);
    const from = Math.max(x, gutter()) + 6, room = x + w - from - 4;
    clipText(c, w > 130 ? `${item.name}  ${time(item.end - item.start)}` : item.name, from, y + row.height / 2 + 0.5, room);
  }
}

function drawCalls(c, row, y, width) {
  c.textBaseline = 'middle';
  c.font = '10.5px ' + fontFamily;
  const perPixel = (view.to - view.from) / (width - gutter());
  const height = row.kind === 'strip' ? row.height : row.height - 1;
  for (let i = firstAfter(row, view.from); i < row.items.length;) {
    const call = row.items[i];
    const start = calls.start[call];
    if (start > view.to) break;
    const x = Math.max(gutter() - 4, xOf(start, width)), right = Math.min(width + 4, xOf(start + calls.dur[call], width));
    const w = Math.max(1, right - x - (right - x > 3 ? 0.6 : 0));
    const fill = colour(probeColour(calls.probe[call]));
    c.fillStyle = fill;
    c.fillRect(x, y, w, height);
    if (w > 4 && report.probes[calls.probe[call]].wait) {
      c.fillStyle = stripes(c);
      c.fillRect(x, y, w, height);
    }
    if (w > 3 && calls.failed[call]) {
      c.fillStyle = colour('--bad');
      c.fillRect(x, y + height - 2, w, 2);
    }
    frame(c, row, i, x, y, w);
    if (w > 44 && row.kind === 'call') {
      const probe = report.probes[calls.probe[call]];
      const from = Math.max(x, gutter()) + 4, label = printable(probe.label);
      if (probe.wait) { // no stripes behind letters
        c.fillStyle = fill;
        c.fillRect(from - 3, y, Math.min(c.measureText(label).width + 6, right - from), height);
      }
      c.fillStyle = ink(fill);
      clipText(c, label, from, y + height / 2 + 0.5, right - from - 4);
    }
    // What ends within the same pixel can't be seen.
    i = w > 1 ? i + 1 : firstAfter(row, instantAt(Math.floor(x) + 1, width) - perPixel * 0.01, i + 1);
  }
}

// frame marks what is selected or under the pointer.
function frame(c, row, at, x, y, w) {
  const chosen = isSelected(row, at);
  if (!chosen && !isHovered(row, at)) return;
  c.strokeStyle = colour(chosen ? '--accent' : '--text');
  c.lineWidth = chosen ? 2 : 1;
  c.strokeRect(x + 0.5, y + 0.5, Math.max(1, w - 1), row.height - 1);
}

// stripes marks what waits.
function stripes(c) {
  const tile = document.createElement('canvas');
  tile.width = tile.height = 6;
  const t = tile.getContext('2d');
  t.strokeStyle = 'rgba(255,255,255,.5)';
  t.lineWidth = 1.5;
  for (const d of [-6, 0, 6]) {
    t.beginPath();
    t.moveTo(d, 6);
    t.lineTo(d + 6, 0);
    t.stroke();
  }
  stripes.pattern ||= c.createPattern(tile, 'repeat');
  return stripes.pattern;
}

function drawAxis(c, width) {
  const left = gutter();
  c.fillStyle = colour('--card');
  c.fillRect(0, 0, width, axisHeight);
  c.fillStyle = colour('--line');
  c.fillRect(0, axisHeight - 1, width, 1);
  c.fillRect(left - 1, 0, 1, timeline.clientHeight);
  c.fillStyle = colour('--dim');
  c.font = '11px ' + fontFamily;
  c.textBaseline = 'middle';
  const step = tickStep(view.to - view.from, width - left);
  for (let t = Math.ceil(view.from / step) * step; t <= view.to; t += step) {
    const x = Math.round(xOf(t, width));
    c.fillRect(x, axisHeight - 6, 1, 5);
    const name = tickName(t, step);
    if (x + 4 + c.measureText(name).width < width) c.fillText(name, x + 4, axisHeight / 2 - 1);
  }
  c.fillText(left > 100 ? `${time(view.to - view.from)} shown` : time(view.to - view.from), 10, axisHeight / 2 - 1);
}
