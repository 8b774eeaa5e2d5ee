// SPDX-License-Identifier: Apache-2.0
// How long the calls of one probe in one stage took: a bar for each power of two.

const chosen = {stage: -1, probe: -1}; // indexes into the report

// chooseHistogram shows a stage and a probe; without a probe, the one with the largest part.
function chooseHistogram(stage, probe) {
  const name = report.stages[stage]?.name;
  const shown = stagesShown().find((s) => s.name === name) || stagesShown()[0];
  chosen.stage = shown ? stageIndex.get(shown.name) ?? -1 : -1;
  chosen.probe = shown?.parts.some((p) => p.probe === probe) ? probe : shown?.parts[0]?.probe ?? -1;
  drawPickers(shown);
  drawHistogram(shown?.parts.find((p) => p.probe === chosen.probe));
  markRow();
}

function drawPickers(shown) {
  const option = (value, text, selected) => make('option', {value, textContent: text, selected});
  $('histogram-stage').replaceChildren(...stagesShown().map((s) => option(stageIndex.get(s.name), printable(s.name), s === shown)));
  $('histogram-probe').replaceChildren(...(shown?.parts || []).map((p) => option(p.probe, printable(p.label), p.probe === chosen.probe)));
}

$('histogram-stage').addEventListener('change', (event) => chooseHistogram(Number(event.target.value), chosen.probe));
$('histogram-probe').addEventListener('change', (event) => chooseHistogram(chosen.stage, Number(event.target.value)));

function svg(tag, attributes, text) {
  const element = document.createElementNS($('svg').namespaceURI, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

function drawHistogram(part) {
  const all = part?.hist.reduce((sum, n) => sum + n, 0) || 0;
  if (all === 0) {
    $('histogram').replaceChildren(make('p', {className: 'dim empty', textContent: 'No call began in this stage.'}));
    $('histogram-figures').textContent = '';
    return;
  }
  const first = part.hist.findIndex((n) => n > 0), last = part.hist.findLastIndex((n) => n > 0);
  // Some empty room on both sides: one lonely bar would be as wide as the picture.
  const low = Math.max(0, Math.min(first - 1, last - 6)), high = Math.max(last + 1, low + 7);
  const width = 440, height = 290, left = 44, right = 12, top = 26, bottom = 30;
  const most = Math.max(...part.hist);
  const x = (bucket) => left + (bucket - low) / (high - low + 1) * (width - left - right);
  const y = (n) => top + (1 - n / most) * (height - top - bottom);
  const picture = svg('svg', {viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': `Latency of ${plural(all, 'call')} of ${printable(part.label)}: p50 ${time(part.p50_ns)}, p99 ${time(part.p99_ns)}, max ${time(part.max_ns)}`});
  for (const n of marks(most)) {
    picture.append(svg('line', {class: 'grid', x1: left, x2: width - right, y1: y(n), y2: y(n)}), svg('text', {class: 'axis', x: left - 7, y: y(n) + 4, 'text-anchor': 'end'}, compact(n)));
  }
  const every = Math.ceil((high - low + 1) / 6);
  for (let i = low; i <= high; i++) {
    const n = part.hist[i] || 0;
    const [from, to] = bucketRange(i);
    if (n > 0) {
      const bar = svg('rect', {class: 'column', x: x(i) + 1, width: x(i + 1) - x(i) - 2, y: y(n), height: Math.max(1, height - bottom - y(n)), rx: 1.5});
      bar.style.fill = `var(${probeColour(part.probe)})`;
      picture.append(bar);
    }
    const target = svg('rect', {class: 'target', x: x(i), width: x(i + 1) - x(i), y: top, height: height - bottom - top});
    target.addEventListener('pointermove', (event) => showTip(event.clientX, event.clientY, i === 0 ? '0 ns' : `${time(from)} … ${time(to)}`,
      [['calls', count(n)], ['of all', percent(n / all, 2)]]));
    target.addEventListener('pointerleave', hideTip);
    picture.append(target);
    if ((i - low) % every === 0) picture.append(svg('text', {class: 'axis', x: x(i), y: height - bottom + 17, 'text-anchor': 'middle'}, time(from)));
  }
  picture.append(svg('line', {class: 'base', x1: left, x2: width - right, y1: height - bottom, y2: height - bottom}));
  // Where the percentiles are; within a bucket, evenly.
  const place = (ns) => {
    const bucket = ns < 1 ? 0 : Math.floor(Math.log2(ns)) + 1;
    const [from, to] = bucketRange(bucket);
    return Math.min(width - right, x(bucket + (ns - from) / (to - from)));
  };
  let free = -Infinity;
  for (const [name, ns] of [['p50', part.p50_ns], ['p99', part.p99_ns]]) {
    const at = place(ns);
    picture.append(svg('line', {class: 'quantile', x1: at, x2: at, y1: top - 6, y2: height - bottom}));
    const textAt = Math.max(at, free);
    picture.append(svg('text', {class: 'quantile-name', x: textAt, y: top - 11, 'text-anchor': 'middle'}, name));
    free = textAt + 32;
  }
  $('histogram').replaceChildren(picture);
  const figures = [['calls', count(part.calls)], ['p50', time(part.p50_ns)], ['p99', time(part.p99_ns)], ['max', time(part.max_ns)], ['deviation', time(part.stddev_ns)], ['errors', count(part.errors || 0)]];
  $('histogram-figures').replaceChildren(...figures.map(([name, value]) => make('span', {}, `${name} `, make('b', {textContent: value}))));
}

// marks gives round numbers up to the most, about four.
function marks(most) {
  const about = most / 4;
  const power = 10 ** Math.floor(Math.log10(Math.max(1, about)));
  const step = Math.max(1, [1, 2, 5, 10].map((n) => n * power).find((n) => n >= about));
  return Array.from({length: Math.floor(most / step) + 1}, (_, i) => i * step);
}

function compact(n) {
  return n >= 1e6 ? `${+(n / 1e6).toFixed(1)}M` : n >= 1e4 ? `${+(n / 1e3).toFixed(1)}k` : count(n);
}
