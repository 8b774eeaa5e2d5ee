// SPDX-License-Identifier: Apache-2.0
// The head of the page, what it lacks, and the address that keeps how it is looked at.

function drawHead() {
  $('title').textContent = `Profile of ${printable(report.what)}`;
  $('command').textContent = (report.command || []).map((word) => /^[\w@%+=:,./-]+$/.test(word) ? word : `'${printable(word)}'`).join(' ');
  const began = new Date(report.began);
  const facts = [
    printable(report.engine), `Linux ${printable(report.kernel)}`, printable(report.arch), plural(report.cpus, 'CPU'),
    Number.isNaN(began.getTime()) ? '' : began.toISOString().replace('T', ' ').replace(/\.\d+Z$/, ' UTC'),
    report.stage_map && `stages by ${printable(report.stage_map)}`,
  ];
  $('facts').textContent = facts.filter(Boolean).join('  ·  ');
  const own = report.processes.filter((p) => p.pid !== 0).length;
  const walls = report.stages.reduce((sum, s) => sum + s.wall_ns, 0), rest = report.stages.reduce((sum, s) => sum + s.unexplained_ns, 0);
  const slowest = report.stages.reduce((max, s) => s.wall_ns > (max?.wall_ns ?? -1) ? s : max, null);
  const tiles = [
    ['total', time(report.total_ns), report.outside_ns > 0 ? `${time(report.outside_ns)} in no stage` : 'first to last stage'],
    report.frozen_ns ? ['frozen', time(report.frozen_ns), `${percent(report.frozen_ns / Math.max(1, report.total_ns))} of the total`] : null,
    ['explained', walls > 0 ? percent(1 - rest / walls) : '–', `${time(rest)} unexplained`],
    slowest && ['longest stage', printable(slowest.name), `${time(slowest.wall_ns)}, ${percent(slowest.wall_ns / Math.max(1, walls))}`],
    ['calls', count(packed.total || report.stages.reduce((sum, s) => sum + s.parts.reduce((n, p) => n + p.calls, 0), 0)), `of ${plural(report.probes.length, 'probe')}`],
    own > 0 ? ['processes', count(own), `${plural(report.stages.length, 'stage')}`] : ['stages', count(report.stages.length), 'of the whole operation'],
  ];
  $('tiles').replaceChildren(...tiles.filter(Boolean).map(([name, value, below]) => make('div', {}, make('dt', {textContent: name}), make('dd', {}, splitUnit(value), make('small', {textContent: below})))));
  $('timeline-note').textContent = packed.kept < packed.total
    ? `${plural(report.spans.length, 'stage')} and the longest ${count(packed.kept)} of ${count(packed.total)} calls; the figures are of all`
    : calls.n > 0 ? `${plural(report.spans.length, 'stage')} and ${plural(calls.n, 'call')}` : `${plural(report.spans.length, 'stage')}; this report has no single calls`;
  $('lanes-all').hidden = calls.n === 0;
  $('foot').textContent = 'Self times count no instant twice: of the tasks in probed functions at an instant each has an equal share, and of each task the innermost function has it. What only waits has the instants in which nothing else was at work.';
}

// splitUnit writes a figure's unit smaller than its digits.
function splitUnit(text) {
  const [, digits, unit] = /^([\d.,−]+)\s(\D+)$/.exec(text) || [];
  return digits ? make('span', {}, digits, make('i', {textContent: `\u2009${unit}`})) : make('span', {textContent: text});
}

function drawNotes() {
  const {dropped = 0, missed = 0, beyond = 0} = report.lost || {};
  const lost = [];
  if (dropped) lost.push(`${plural(dropped, 'call')} found no room in the event ring`);
  if (missed) lost.push(`${plural(missed, 'hit')} did not reach a probe`);
  if (beyond) lost.push(`${plural(beyond, 'call')} are more than a report keeps`);
  const notes = [];
  if (lost.length) {
    notes.push(make('p', {className: 'lost'}, make('strong', {textContent: 'Calls are missing: '}), `${lost.join('; ')}. Parts are too small, and unexplained rests too large.`));
  }
  const warnings = report.warnings || [];
  if (warnings.length) {
    const list = make('ul', {}, ...warnings.map((text) => make('li', {textContent: printable(text)})));
    notes.push(make('details', {open: warnings.length <= 3}, make('summary', {textContent: plural(warnings.length, 'warning')}), list));
  }
  $('notes').hidden = notes.length === 0;
  $('notes').replaceChildren(...notes);
}

function drawProcesses() {
  const option = (value, text) => make('option', {value, textContent: text});
  $('process').replaceChildren(option('all', 'all processes together'), ...report.processes.map((p) => option(String(p.pid), processName(p.pid))));
  $('process').disabled = report.processes.length === 0;
}

function chooseProcess(value) {
  ofProcess = report.processes.find((p) => String(p.pid) === value) || null;
  $('process').value = ofProcess ? String(ofProcess.pid) : 'all';
  drawBars();
  chooseHistogram(chosen.stage, chosen.probe);
  drawTable();
}
$('process').addEventListener('change', (event) => {
  chooseProcess(event.target.value);
  keepAddress();
});

// The address has what differs from how a page opens, so that a link shows the same.
function keepAddress() {
  const address = new URLSearchParams();
  if (tab !== 'parts') address.set('tab', tab);
  const {by, down} = sorting[tab];
  address.set('sort', `${by}${down ? '-down' : ''}`);
  if ($('filter').value) address.set('filter', $('filter').value);
  if (ofProcess) address.set('process', ofProcess.pid);
  if (view.from > 0 || view.to < end) address.set('from-to', `${Math.round(view.from)}-${Math.round(view.to)}`);
  const theme = document.documentElement.dataset.theme;
  if (theme !== systemTheme()) address.set('theme', theme);
  if (smallToo) address.set('small', 'too');
  if (byShare) address.set('bars', 'share');
  try {
    history.replaceState(null, '', `#${address}`);
  } catch {
    // Some browsers keep no addresses of files.
  }
}

function followAddress() {
  const address = new URLSearchParams(location.hash.slice(1));
  setTheme(['light', 'dark'].includes(address.get('theme')) ? address.get('theme') : document.documentElement.dataset.theme || systemTheme());
  $('filter').value = address.get('filter') || '';
  const sort = /^(\w+?)(-down)?$/.exec(address.get('sort') || '');
  tab = Object.hasOwn(tables, address.get('tab')) ? address.get('tab') : 'parts';
  if (sort) sorting[tab] = {by: sort[1], down: Boolean(sort[2])};
  if (address.get('lanes') === 'all') for (const l of lanes) l.open = true;
  chooseSmall(address.get('small') === 'too');
  chooseBars(address.get('bars') === 'share');
  chooseProcess(address.get('process'));
  chooseTab(tab);
  const [from, to] = (address.get('from-to') || '').split('-').map(Number);
  show(...to > from ? [from, to] : [0, end]);
  resizeTimeline();
}
addEventListener('hashchange', followAddress);

drawHead();
drawNotes();
drawProcesses();
openSome(Math.max(240, Math.round(innerHeight * 0.46)) - axisHeight - 2);
const largest = report.stages.reduce((best, s, i) => s.wall_ns > (report.stages[best]?.wall_ns ?? -1) ? i : best, 0);
chooseHistogram(largest, undefined);
followAddress();
requestAnimationFrame(() => {
  drawTimeline();
  drawOverview();
  if (document.documentElement.dataset.state === 'loading') document.documentElement.dataset.state = 'ready';
});
