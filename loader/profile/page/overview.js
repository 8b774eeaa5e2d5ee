// SPDX-License-Identifier: Apache-2.0
// All of the operation in one strip, and the part of it that the timeline shows. Drag in it to choose another part.

const overview = $('overview');

function drawOverview() {
  const {context: c, width, height} = fitCanvas(overview);
  const left = gutter(), room = width - left;
  const x = (instant) => left + instant / end * room;
  c.fillStyle = colour('--stripe');
  c.fillRect(left, 0, room, height);
  // The tree's stages above, those of all processes below.
  for (const l of lanes) {
    l.rows.forEach((items, level) => {
      const inner = Math.min(level, 1) * 4;
      const [y, h] = l.pid === 0 ? [3 + inner, 9 - inner] : [15 + inner, height - 18 - inner];
      let drawn = -1;
      for (const item of items) {
        const from = x(item.start), to = x(item.end);
        if (to - from < 1 && Math.floor(to) <= drawn) continue;
        c.fillStyle = colour(stageColour(item.index));
        c.fillRect(from, y, Math.max(1, to - from - 0.5), h);
        drawn = Math.floor(to);
      }
    });
  }
  const from = x(view.from), to = Math.max(from + 2, x(view.to));
  c.fillStyle = colour('--veil');
  c.fillRect(left, 0, from - left, height);
  c.fillRect(to, 0, width - to, height);
  c.strokeStyle = colour('--accent');
  c.lineWidth = 1.5;
  c.strokeRect(from + 0.75, 0.75, to - from - 1.5, height - 1.5);
  c.fillStyle = colour('--dim');
  c.font = '11px ' + fontFamily;
  c.textBaseline = 'middle';
  c.fillText(`all: ${time(end)}`, 10, height / 2);
}

(() => {
  let drag = null; // {x, from, to, moves}
  const instant = (event) => {
    const box = overview.getBoundingClientRect();
    return (event.clientX - box.left - gutter()) / (box.width - gutter()) * end;
  };
  overview.addEventListener('pointerdown', (event) => {
    overview.setPointerCapture(event.pointerId);
    const at = instant(event);
    const all = view.from <= 0 && view.to >= end;
    drag = {at, from: view.from, to: view.to, moves: !all && at > view.from && at < view.to};
  });
  overview.addEventListener('pointermove', (event) => {
    if (!drag) return;
    const at = instant(event);
    if (drag.moves) show(drag.from + at - drag.at, drag.to + at - drag.at);
    else show(Math.min(at, drag.at), Math.max(at, drag.at));
  });
  overview.addEventListener('pointerup', (event) => {
    const at = instant(event);
    if (drag && !drag.moves && Math.abs(at - drag.at) < end / 300) { // a click: there, as much as was shown
      const half = (drag.to - drag.from) / 2;
      show(at - half, at + half);
    }
    drag = null;
  });
})();
