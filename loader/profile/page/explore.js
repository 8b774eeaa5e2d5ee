// SPDX-License-Identifier: Apache-2.0
// Moves through the timeline by mouse and keyboard.

const shortest = 100; // ns: the shortest time that fills the width

let keeping;

// show sets what the timeline shows, within what there is.
function show(from, to) {
  const span = Math.min(Math.max(to - from, shortest), end);
  from = Math.min(Math.max((from + to - span) / 2, 0), end - span);
  [view.from, view.to] = [from, from + span];
  redrawTimeline();
  clearTimeout(keeping);
  keeping = setTimeout(keepAddress, 300); // once, when it stands still
}

function zoom(factor, instant = (view.from + view.to) / 2) {
  show(instant - (instant - view.from) * factor, instant + (view.to - instant) * factor);
}

function pan(part) {
  const by = (view.to - view.from) * part;
  const from = Math.min(Math.max(view.from + by, 0), end - (view.to - view.from));
  show(from, from + view.to - view.from);
}

// find gives the item at a place of the canvas: {row, at}, or the lane if it is a name.
function find(event) {
  const box = timeline.getBoundingClientRect();
  const x = event.clientX - box.left, y = event.clientY - box.top - axisHeight + scroller.scrollTop;
  if (y < scroller.scrollTop) return {};
  const lane = lanes.find((l) => y >= l.y && y < l.bottom);
  if (x < gutter()) return {lane};
  const row = rows.find((r) => y >= r.y && y < r.y + r.height);
  if (!row) return {};
  const near = (view.to - view.from) / (box.width - gutter()); // a pixel
  const instant = instantAt(x, box.width);
  const at = firstAfter(row, instant - near);
  return at < row.items.length && startOf(row, row.items[at]) <= instant + near ? {row, at} : {};
}

function select(found) {
  selected = found?.row ? found : null;
  const details = $('details');
  details.textContent = '';
  if (selected) {
    const item = selected.row.items[selected.at];
    const [heading, pairs] = describe(selected.row, item);
    details.append(make('strong', {textContent: heading}), ...pairs.flatMap(([name, value]) => [' · ', make('span', {className: 'dim', textContent: `${name} `}), value]));
    if (selected.row.kind === 'stage') chooseHistogram(item.index, undefined);
    else chooseHistogram(calls.stage[item], calls.probe[item]);
  }
  redrawTimeline();
}

function fill(found) {
  if (!found?.row) return;
  const item = found.row.items[found.at];
  const from = startOf(found.row, item), to = endOf(found.row, item);
  show(from - (to - from) * 0.04, to + (to - from) * 0.04);
}

function toggle(lane) {
  if (!lane || lane.threads.length === 0) return;
  lane.open = !lane.open;
  resizeTimeline();
}

// step selects the item so many places further in the same row, and moves it into view.
function step(by) {
  const row = selected?.row || rows[0];
  if (!row) return;
  const at = selected ? Math.min(Math.max(selected.at + by, 0), row.items.length - 1) : Math.min(firstAfter(row, view.from), row.items.length - 1);
  reveal({row, at});
}

// stepRow selects what is at the same instant in the row above or below.
function stepRow(by) {
  if (!selected) return step(0);
  const from = rows.findIndex((r) => r.items === selected.row.items);
  const row = rows[Math.min(Math.max(from + by, 0), rows.length - 1)];
  const instant = startOf(selected.row, selected.row.items[selected.at]);
  reveal({row, at: Math.min(firstAfter(row, instant), row.items.length - 1)});
}

function reveal(found) {
  select(found);
  const item = found.row.items[found.at];
  const from = startOf(found.row, item), to = endOf(found.row, item), span = view.to - view.from;
  if (to < view.from || from > view.to) show((from + to - span) / 2, (from + to + span) / 2);
  const y = found.row.y, room = timeline.clientHeight - axisHeight;
  if (y < scroller.scrollTop) scroller.scrollTop = y - lanePadding;
  else if (y + found.row.height > scroller.scrollTop + room) scroller.scrollTop = y + found.row.height - room + lanePadding;
}

const keys = {
  ArrowLeft: () => pan(-0.1), ArrowRight: () => pan(0.1), a: () => pan(-0.1), d: () => pan(0.1),
  ArrowUp: () => scroller.scrollBy(0, -40), ArrowDown: () => scroller.scrollBy(0, 40),
  '+': () => zoom(0.6), '=': () => zoom(0.6), w: () => zoom(0.6), '-': () => zoom(1 / 0.6), '_': () => zoom(1 / 0.6), s: () => zoom(1 / 0.6),
  0: () => show(0, end), Home: () => show(0, end),
  '[': () => step(-1), ']': () => step(1), '{': () => stepRow(-1), '}': () => stepRow(1),
  Enter: () => fill(selected), e: () => toggle(selected?.row.lane || lanes.find((l) => l.bottom > scroller.scrollTop && l.threads.length)),
  Escape: () => select(null),
};

timeline.addEventListener('keydown', (event) => {
  const action = keys[event.key] || keys[event.key.toLowerCase()];
  if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  hideTip();
  action();
});

(() => {
  let drag = null; // {x, y, from, to, top, moved}
  timeline.addEventListener('pointerdown', (event) => {
    if (event.button !== 0) return;
    timeline.setPointerCapture(event.pointerId);
    drag = {x: event.clientX, y: event.clientY, from: view.from, to: view.to, top: scroller.scrollTop, moved: false};
  });
  timeline.addEventListener('pointermove', (event) => {
    if (drag) {
      const dx = event.clientX - drag.x, dy = event.clientY - drag.y;
      drag.moved ||= Math.abs(dx) + Math.abs(dy) > 4;
      if (!drag.moved) return;
      hideTip();
      const by = -dx / (timeline.clientWidth - gutter()) * (drag.to - drag.from);
      const from = Math.min(Math.max(drag.from + by, 0), end - (drag.to - drag.from));
      show(from, from + drag.to - drag.from);
      scroller.scrollTop = drag.top - dy;
      return;
    }
    const found = find(event);
    timeline.style.cursor = found.lane?.threads.length || found.row ? 'pointer' : 'grab';
    if (found.row) showTip(event.clientX, event.clientY, ...describe(found.row, found.row.items[found.at]));
    else hideTip();
    const changed = hovered?.row !== found.row || hovered?.at !== found.at;
    hovered = found.row ? found : null;
    if (changed) redrawTimeline();
  });
  timeline.addEventListener('pointerup', (event) => {
    if (drag && !drag.moved) {
      const found = find(event);
      if (found.lane) toggle(found.lane);
      else select(found);
    }
    drag = null;
  });
  timeline.addEventListener('pointerleave', () => {
    hovered = null;
    hideTip();
    redrawTimeline();
  });
})();

timeline.addEventListener('dblclick', (event) => fill(find(event)));
timeline.addEventListener('wheel', (event) => {
  const box = timeline.getBoundingClientRect();
  if (event.ctrlKey || event.metaKey) {
    event.preventDefault();
    zoom(Math.exp(Math.min(Math.max(event.deltaY, -200), 200) * 0.004), instantAt(event.clientX - box.left, box.width));
  } else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
    event.preventDefault();
    pan((event.deltaX || event.deltaY) / box.width);
  }
}, {passive: false});
scroller.addEventListener('scroll', redrawTimeline);
addEventListener('resize', resizeTimeline);

$('zoom-in').addEventListener('click', () => zoom(0.5));
$('zoom-out').addEventListener('click', () => zoom(2));
$('zoom-all').addEventListener('click', () => show(0, end));
$('lanes-all').addEventListener('click', () => {
  const open = !lanes.every((l) => l.open || l.threads.length === 0);
  for (const l of lanes) l.open = open;
  $('lanes-all').setAttribute('aria-pressed', open);
  resizeTimeline();
});
