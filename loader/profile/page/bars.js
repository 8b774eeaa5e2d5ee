// SPDX-License-Identifier: Apache-2.0
// A bar for each stage: what each probe had of it, and what nothing explains. Together they are the stage's wall time.

let ofProcess = null; // the process that bars, histogram and table are of; null: all together
let byShare = false;

const stagesShown = () => ofProcess ? ofProcess.stages : report.stages;
const explained = (stage) => stage.wall_ns > 0 ? 1 - stage.unexplained_ns / stage.wall_ns : 0;

function drawBars() {
  const stages = stagesShown();
  const longest = Math.max(1, ...stages.map((s) => s.wall_ns));
  const unit = stageUnit(stages);
  $('bars').replaceChildren(
    make('div', {className: 'bar-row head', 'aria-hidden': 'true'}, make('span', {textContent: 'stage'}), make('span'),
      make('span', {className: 'figure', textContent: `wall ${unit.name}`}), make('span', {className: 'figure', textContent: 'explained'})),
    ...stages.map((stage) => barRow(stage, longest, unit)),
  );
  if (stages.length === 0) $('bars').append(make('p', {className: 'dim', textContent: 'No stage ran.'}));
  // The first letters of a name say less than none.
  const names = [...$('bars').querySelectorAll('.segment span')];
  const cut = names.filter((name) => name.parentElement.clientWidth < Math.min(64, name.scrollWidth));
  for (const name of cut) name.remove();
  drawLegend(stages);
}

function barRow(stage, longest, unit) {
  const name = printable(stage.name);
  const [large, small] = bySize(stage, byShare ? 1 : stage.wall_ns / longest);
  const segments = large.map((part) => segment(stage, part));
  if (small.length > 0) segments.push(smallSegment(stage, small));
  if (stage.unexplained_ns > 0) segments.push(unexplainedSegment(stage));
  const track = make('div', {
    className: 'track', role: 'img',
    'aria-label': `${name}: ${time(stage.wall_ns)}, ${percent(explained(stage))} explained; most by ${stage.parts[0] ? printable(stage.parts[0].label) : 'nothing'}`,
  }, ...segments);
  track.style.width = byShare ? '100%' : `${Math.max(0.2, 100 * stage.wall_ns / longest)}%`;
  const label = make('span', {className: 'stage-name', title: printable([stage.what, stage.peer && `as ${stage.peer}`].filter(Boolean).join('\n'))},
    make('i', {className: 'swatch', style: {background: `var(${stageColour(stageIndex.get(stage.name))})`}}), name);
  return make('div', {className: 'bar-row'}, label, make('div', {className: 'room'}, track),
    make('span', {className: 'figure', textContent: fixed(stage.wall_ns / unit.size, unit.places)}),
    make('span', {className: 'figure dim', textContent: percent(explained(stage))}));
}

// bySize tells the parts that are wide enough to be seen from those that are not, for a bar of so much of the room.
function bySize(stage, ofRoom) {
  const pixels = Math.max(3, ofRoom * ($('bars').clientWidth * 0.6));
  const parts = stage.parts.filter((p) => p.self_ns > 0);
  const wide = (part) => part.self_ns / stage.wall_ns * pixels >= 2.5;
  return [parts.filter(wide), parts.filter((p) => !wide(p))];
}

function smallSegment(stage, parts) {
  const self = parts.reduce((sum, p) => sum + p.self_ns, 0);
  const element = make('div', {className: 'segment small', style: {'flex-grow': self}});
  element.addEventListener('pointermove', (event) => showTip(event.clientX, event.clientY, plural(parts.length, 'smaller part'), [
    ['of stage', printable(stage.name)], ['self', time(self)], ['share', percent(self / stage.wall_ns)],
    ...parts.slice(0, 6).map((p) => [printable(p.label), time(p.self_ns)]),
  ]));
  element.addEventListener('pointerleave', hideTip);
  return element;
}

function segment(stage, part) {
  const probe = report.probes[part.probe];
  const label = printable(part.label);
  const background = probeColour(part.probe);
  const element = make('div', {className: `segment${probe.wait ? ' waits' : ''}`, style: {'flex-grow': part.self_ns, 'background-color': `var(${background})`}});
  if (part.self_ns > 0.05 * stage.wall_ns) {
    const text = make('span', {textContent: label});
    text.style.color = ink(colour(background));
    element.append(text);
  }
  element.addEventListener('pointermove', (event) => showTip(event.clientX, event.clientY, label, [
    ['of stage', printable(stage.name)], ['self', time(part.self_ns)], ['share', percent(part.share)], ['calls', count(part.calls)],
    ['p50', time(part.p50_ns)], ['p99', time(part.p99_ns)], ['max', time(part.max_ns)],
    ...(probe.wait ? [['kind', 'waits']] : []), ...(part.errors ? [['errors', count(part.errors)]] : []),
  ]));
  element.addEventListener('pointerleave', hideTip);
  element.addEventListener('click', () => chooseHistogram(stageIndex.get(stage.name), part.probe));
  return element;
}

function unexplainedSegment(stage) {
  const element = make('div', {className: 'segment unexplained', style: {'flex-grow': stage.unexplained_ns}});
  element.addEventListener('pointermove', (event) => showTip(event.clientX, event.clientY, 'unexplained', [
    ['of stage', printable(stage.name)], ['takes', time(stage.unexplained_ns)], ['share', percent(1 - explained(stage))],
    ['means', 'no task was in a probed function'],
  ]));
  element.addEventListener('pointerleave', hideTip);
  return element;
}

function drawLegend(stages) {
  const shown = new Set(stages.flatMap((s) => s.parts.filter((p) => p.self_ns > 0).map((p) => p.probe)));
  const entry = (className, style, text) => make('li', {}, make('i', {className: `swatch ${className}`, style}), text);
  const entries = [...colourOfProbe].filter(([probe]) => shown.has(probe))
    .map(([probe, name]) => entry(report.probes[probe].wait ? 'waits' : '', {'background-color': `var(${name})`}, printable(report.probes[probe].label)));
  if ([...shown].some((probe) => !colourOfProbe.has(probe))) entries.push(entry('', {'background-color': 'var(--probe-other)'}, 'other probes'));
  entries.push(entry('unexplained', {}, 'unexplained'));
  if ([...shown].some((probe) => report.probes[probe].wait)) entries.push(entry('waits', {'background-color': 'var(--dim)'}, 'striped: waits'));
  $('legend').replaceChildren(...entries);
}

// stageUnit gives the unit in which all wall times are written, so that they can be compared at a glance.
function stageUnit(stages) {
  const longest = Math.max(0, ...stages.map((s) => s.wall_ns));
  if (longest >= 100e9) return {size: 1e9, name: 's', places: 3};
  if (longest >= 100e3) return {size: 1e6, name: 'ms', places: 3};
  return {size: 1e3, name: 'µs', places: 3};
}

// chooseBars sets whether a bar is as long as its stage took, or all are the same.
function chooseBars(share) {
  byShare = share;
  $('bars-time').setAttribute('aria-pressed', !share);
  $('bars-share').setAttribute('aria-pressed', share);
  drawBars();
}

for (const [id, share] of [['bars-time', false], ['bars-share', true]]) {
  $(id).addEventListener('click', () => {
    chooseBars(share);
    keepAddress();
  });
}
onLook(drawBars);
addEventListener('resize', drawBars);
