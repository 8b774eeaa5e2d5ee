// SPDX-License-Identifier: Apache-2.0
// Tables that sort by any column, and show only the rows with a text in them. The address keeps how: #tab=…&sort=…&filter=….

const sorting = {parts: {by: 'stage', down: false}, processes: {by: 'process', down: false}, probes: {by: 'self', down: true}};
let tab = 'parts';
let smallToo = false; // also parts below 1 % of their stage, and probes that were never hit
const smallShare = 0.01;

// A column is {id, name, title, text, value, figure, places, size, cell}. size is the unit's, in ns; a figure's text has so many places.
function figureColumn(id, name, title, value, size, places) {
  return {id, name, title, value, figure: true, text: (row) => value(row) === null ? '' : fixed(value(row) / size, places)};
}

function partColumns() {
  const unit = stageUnit(stagesShown());
  const whole = (id, name, title, value) => figureColumn(id, `${name} ${unit.name}`, title, value, unit.size, unit.places);
  const single = (id, name, title, value) => figureColumn(id, `${name} µs`, title, value, 1e3, 2);
  return [
    {id: 'stage', name: 'stage', title: 'In the order in which they ran', value: (r) => r.order, text: (r) => r.stage, cell: (r) => [
      make('i', {className: 'swatch', style: {background: `var(${stageColour(stageIndex.get(r.of.name))})`}}), r.stage]},
    {id: 'probe', name: 'probe', title: 'The probed function', value: (r) => r.label, text: (r) => r.label, cell: probeCell},
    whole('self', 'self', 'Of the stage’s wall time: no instant counts twice', (r) => r.self),
    {...figureColumn('share', 'share %', 'Self of the stage’s wall time', (r) => r.share, 0.01, 1), cell: (r) => [
      make('i', {className: 'share', style: {'--part': `${Math.min(100, 100 * r.share)}%`}}), make('span', {className: 'percent', textContent: fixed(100 * r.share, 1)})]},
    figureColumn('calls', 'calls', 'That began in the stage', (r) => r.part ? r.part.calls : null, 1, 0),
    whole('total', 'total', 'All calls, each in full: nested ones count twice, and so do those at the same time', (r) => r.part ? r.part.total_ns : null),
    single('p50', 'p50', 'Half of the calls took no longer', (r) => r.part ? r.part.p50_ns : null),
    single('p99', 'p99', '99 of 100 calls took no longer', (r) => r.part ? r.part.p99_ns : null),
    single('max', 'max', 'The longest call', (r) => r.part ? r.part.max_ns : null),
    figureColumn('errors', 'errors', 'Calls that returned an error number', (r) => r.part?.errors || null, 1, 0),
  ];
}

function probeCell(r) {
  if (!r.part) return [make('i', {className: `swatch ${r.smaller ? 'small' : 'unexplained'}`}), make('em', {textContent: r.label})];
  const probe = report.probes[r.part.probe];
  const cell = [make('i', {className: `swatch${probe.wait ? ' waits' : ''}`, style: {'background-color': `var(${probeColour(r.part.probe)})`}}), r.label];
  if (probe.wait) cell.push(make('small', {className: 'badge', textContent: 'waits', title: 'It only waits: it has time in which nothing else was at work'}));
  if (probe.bias_ns && r.part.calls && r.part.total_ns / r.part.calls < 2 * probe.bias_ns) {
    cell.push(make('small', {className: 'badge', textContent: 'floor', title: `Its calls take less than twice the ${time(probe.bias_ns)} that the probe itself adds`}));
  }
  return cell;
}

function partRows() {
  return stagesShown().flatMap((stage, order) => {
    const row = (part, label, self) => ({order, of: stage, stage: printable(stage.name), part, label, self, share: stage.wall_ns > 0 ? self / stage.wall_ns : 0});
    const small = isFiltered() || smallToo ? [] : stage.parts.filter((p) => p.self_ns < smallShare * stage.wall_ns);
    const rows = stage.parts.filter((p) => small.length < 2 || !small.includes(p)).map((part) => row(part, printable(part.label), part.self_ns));
    if (small.length > 1) rows.push({...row(null, `${count(small.length)} smaller`, small.reduce((sum, p) => sum + p.self_ns, 0)), smaller: true});
    rows.push(row(null, 'unexplained', stage.unexplained_ns));
    return rows;
  });
}

function processColumns() {
  const unit = stageUnit(report.stages);
  return [
    {id: 'process', name: 'process', title: 'The process', value: (r) => r.order, text: (r) => r.name},
    figureColumn('wall', `all ${unit.name}`, 'All its stages', (r) => r.wall, unit.size, unit.places),
    figureColumn('explained', 'explained %', 'Of all its stages', (r) => r.explained, 0.01, 1),
    ...report.stages.map((stage, i) => {
      const slowest = Math.max(0, ...report.processes.map((p) => p.stages.find((s) => s.name === stage.name)?.wall_ns || 0));
      const value = (r) => r.walls[i];
      return {...figureColumn(`stage${i}`, printable(stage.name), `${printable(stage.name)}, ${unit.name}`, value, unit.size, unit.places), heat: (r) => {
        const wall = value(r);
        return wall === null || slowest === 0 || stage.n < 2 ? null : {share: wall / slowest, slowest: wall === slowest};
      }};
    }),
  ];
}

function processRows() {
  return report.processes.map((p, order) => {
    const wall = p.stages.reduce((sum, s) => sum + s.wall_ns, 0), rest = p.stages.reduce((sum, s) => sum + s.unexplained_ns, 0);
    return {order, name: processName(p.pid), wall, explained: wall > 0 ? 1 - rest / wall : null, walls: report.stages.map((s) => p.stages.find((own) => own.name === s.name)?.wall_ns ?? null)};
  });
}

function probeColumns() {
  const unit = stageUnit(report.stages);
  return [
    {id: 'probe', name: 'probe', title: 'The probed function', value: (r) => r.label, text: (r) => r.label, cell: probeCell},
    {id: 'mechanism', name: 'hits by', title: 'How the kernel reports its hits', value: (r) => r.mechanism, text: (r) => r.mechanism},
    figureColumn('self', `self ${unit.name}`, 'Of all stages', (r) => r.self, unit.size, unit.places),
    figureColumn('stages', 'stages', 'In how many stages it was called', (r) => r.stages, 1, 0),
    figureColumn('calls', 'calls', 'In the kernel’s count', (r) => r.calls, 1, 0),
    figureColumn('bias', 'adds ns', 'How much longer than the call itself a measured latency is', (r) => r.bias, 1, 1),
  ];
}

function probeRows() {
  const shown = report.probes.map((probe, i) => [probe, i]).filter(([probe, i]) => isFiltered() || smallToo || probe.calls > 0 || selfOfProbe[i] > 0);
  return shown.map(([probe, i]) => {
    const parts = report.stages.flatMap((s) => s.parts.filter((p) => p.probe === i));
    return {label: printable(probe.label), mechanism: printable(probe.mechanism), part: {probe: i}, self: selfOfProbe[i], stages: parts.length, calls: probe.calls, bias: probe.bias_ns || null};
  });
}

const tables = {
  parts: {columns: partColumns, rows: partRows},
  processes: {columns: processColumns, rows: processRows},
  probes: {columns: probeColumns, rows: probeRows},
};

const filterText = () => $('filter').value.trim().toLowerCase();
const isFiltered = () => filterText() !== '';

function drawTable() {
  const {columns: makeColumns, rows: makeRows} = tables[tab];
  const columns = makeColumns();
  const how = sorting[tab];
  const by = columns.find((c) => c.id === how.by) || columns[0];
  const wanted = filterText();
  const all = makeRows();
  const shown = all.filter((r) => wanted === '' || columns.some((c) => !c.figure && c.text(r).toLowerCase().includes(wanted)));
  sortRows(shown, by, how.down);
  const body = make('tbody');
  const grouped = tab === 'parts' && by.id === 'stage';
  let group;
  for (const row of shown) {
    if (grouped && row.order !== group) body.append(groupRow(row.of, columns.length));
    group = row.order;
    body.append(tableRow(row, columns, grouped));
  }
  const table = make('table', {}, make('thead', {}, make('tr', {}, ...columns.map((c) => headCell(c, how)))), body);
  $(`table-${tab}`).replaceChildren(make('div', {className: 'scroll'}, table));
  $('table-note').textContent = [
    shown.length < all.length ? `${count(shown.length)} of ${plural(all.length, 'row')}` : plural(all.length, 'row'),
    tab === 'probes' && all.length < report.probes.length ? `${plural(report.probes.length - all.length, 'probe')} never hit` : '',
  ].filter(Boolean).join(', ');
  markRow();
}

// sortRows sorts by a column, rows with no figure last.
function sortRows(rows, by, down) {
  const sign = down ? -1 : 1;
  rows.sort((a, b) => {
    const [x, y] = [by.value(a), by.value(b)];
    if (x === null || y === null) return (x === null) - (y === null);
    return sign * (typeof x === 'string' ? x.localeCompare(y) : x - y);
  });
}

function headCell(column, how) {
  const current = how.by === column.id;
  const cell = make('th', {scope: 'col', title: column.title, className: column.figure ? 'figure' : ''});
  if (current) cell.setAttribute('aria-sort', how.down ? 'descending' : 'ascending');
  cell.append(make('button', {type: 'button', onclick: () => {
    sorting[tab] = {by: column.id, down: current ? !how.down : Boolean(column.figure)};
    drawTable();
    keepAddress();
  }}, column.name, make('span', {className: 'arrow', 'aria-hidden': 'true', textContent: current ? (how.down ? '▾' : '▴') : ''})));
  return cell;
}

function groupRow(stage, width) {
  const texts = [`${time(stage.wall_ns)}`, `${percent(explained(stage))} explained`];
  if (!ofProcess && stage.n > 1) texts.push(`in ${plural(stage.n, 'process', 'processes')}`);
  if (!ofProcess && stage.slowest_pid) texts.push(`slowest ${processName(stage.slowest_pid)} with ${time(stage.slowest_wall_ns)}`);
  const what = printable([stage.what, stage.peer && `(as ${stage.peer})`].filter(Boolean).join(' '));
  return make('tr', {className: 'group'}, make('th', {colSpan: width, scope: 'rowgroup'}, make('div', {className: 'group-line'},
    make('b', {}, make('i', {className: 'swatch', style: {background: `var(${stageColour(stageIndex.get(stage.name))})`}}), printable(stage.name)),
    make('span', {textContent: texts.join(' · ')}), make('span', {className: 'dim what', textContent: what, title: what}))));
}

function tableRow(row, columns, grouped) {
  const line = make('tr');
  columns.forEach((column, i) => {
    const cell = make('td', {className: column.figure ? 'figure' : 'name'});
    if (grouped && i === 0) line.classList.add('grouped');
    else cell.append(...(column.cell ? column.cell(row) : [column.text(row)]));
    const heat = column.heat?.(row);
    if (heat) {
      cell.style.setProperty('--heat', `${Math.round(heat.share * 55)}%`);
      cell.classList.add('heat');
      if (heat.slowest) cell.append(make('span', {className: 'hidden', textContent: ' slowest'}));
      cell.classList.toggle('slowest', heat.slowest);
    }
    line.append(cell);
  });
  if (tab === 'parts' && row.part) {
    line.dataset.part = `${stageIndex.get(row.of.name)}/${row.part.probe}`;
    line.tabIndex = 0;
    const choose = () => chooseHistogram(stageIndex.get(row.of.name), row.part.probe);
    line.addEventListener('click', choose);
    line.addEventListener('keydown', (event) => { if (event.key === 'Enter') choose(); });
  }
  return line;
}

// markRow marks the row that the histogram is of.
function markRow() {
  for (const line of document.querySelectorAll('tr[data-part]')) {
    line.classList.toggle('chosen', line.dataset.part === `${chosen.stage}/${chosen.probe}`);
  }
}

function chooseTab(name) {
  tab = Object.hasOwn(tables, name) ? name : 'parts';
  for (const other of Object.keys(tables)) {
    const current = other === tab;
    $(`tab-${other}`).setAttribute('aria-selected', current);
    $(`tab-${other}`).tabIndex = current ? 0 : -1;
    $(`table-${other}`).hidden = !current;
  }
  $('small').hidden = tab === 'processes';
  drawTable();
}

for (const name of Object.keys(tables)) {
  $(`tab-${name}`).addEventListener('click', () => {
    chooseTab(name);
    keepAddress();
  });
  $(`tab-${name}`).addEventListener('keydown', (event) => {
    const by = {ArrowRight: 1, ArrowLeft: -1}[event.key];
    if (!by) return;
    const names = Object.keys(tables);
    const next = names[(names.indexOf(name) + by + names.length) % names.length];
    chooseTab(next);
    $(`tab-${next}`).focus();
    keepAddress();
  });
}
$('small').addEventListener('click', () => {
  chooseSmall(!smallToo);
  drawTable();
  keepAddress();
});

function chooseSmall(too) {
  smallToo = too;
  $('small').setAttribute('aria-pressed', too);
}

$('filter').addEventListener('input', () => {
  drawTable();
  keepAddress();
});
