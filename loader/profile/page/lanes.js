// SPDX-License-Identifier: Apache-2.0
// What the timeline shows: a lane for each process, with its stages and its threads' calls. Rows lie one below the other; nothing in a
// row overlaps, so what is at an instant is found by halving.

const crowded = report.processes.length > 24;
const [stageHeight, innerStageHeight, stripHeight, lanePadding] = crowded ? [15, 6, 4, 3] : [20, 13, 5, 7];
const callHeight = 13;

// rowsOf puts items with a start and an end into as few rows as nest: one that lies within another is a row below it.
function rowsOf(items) {
  const rows = [];
  const open = [];
  for (const item of [...items].sort((a, b) => a.start - b.start || b.end - a.end)) {
    let level = 0;
    while (open[level] !== undefined && open[level] > item.start) level++;
    open[level] = item.end;
    (rows[level] ||= []).push(item);
  }
  return rows;
}

// callRows gives the calls of a thread by depth: lists of indexes into calls, in order of their start.
function callRows() {
  const byTask = tasks.map(() => []);
  for (let i = 0; i < calls.n; i++) (byTask[calls.task[i]][calls.depth[i]] ||= []).push(i);
  return byTask.map((rows) => rows.map((row) => Uint32Array.from(row)).filter((row) => row.length > 0));
}

function makeLanes() {
  const byPID = new Map();
  const lane = (pid) => {
    if (!byPID.has(pid)) byPID.set(pid, {pid, name: processName(pid), spans: [], threads: [], calls: 0, open: false});
    return byPID.get(pid);
  };
  for (const p of report.processes) lane(p.pid);
  for (const s of report.spans) {
    lane(s.pid).spans.push({start: s.start_ns, end: s.start_ns + s.dur_ns, name: printable(s.stage), index: stageIndex.get(s.stage), pid: s.pid});
  }
  const rows = callRows();
  tasks.forEach((task, i) => {
    const n = rows[i].reduce((sum, row) => sum + row.length, 0);
    if (n === 0) return;
    const l = lane(task.pid);
    l.calls += n;
    l.threads.push({...task, n, name: task.tid === task.pid ? 'main thread' : `${task.comm ? `${printable(task.comm)} ` : 'thread '}${task.tid}`, rows: rows[i]});
  });
  const lanes = [...byPID.values()].filter((l) => l.spans.length > 0 || l.calls > 0);
  for (const l of lanes) {
    l.rows = rowsOf(l.spans);
    l.threads.sort((a, b) => a.tid - b.tid);
  }
  // The whole tree first. If it has stages, they are those of our own engine, whose processes come next: they have none of their own.
  const own = byPID.get(0)?.spans.length > 0;
  const rank = (l) => l.pid === 0 ? 0 : (l.spans.length === 0) === own ? 1 : 2;
  return lanes.sort((a, b) => rank(a) - rank(b));
}

const lanes = makeLanes();

// openHeight is how much room a lane's threads take when it is open.
function openHeight(lane) {
  return lane.threads.reduce((sum, thread) => sum + thread.rows.length * callHeight + 4, 0);
}

// At first, threads with the most calls are open, as long as everything fits.
function openSome(room) {
  let used = layout();
  for (const l of [...lanes].sort((a, b) => b.calls - a.calls)) {
    if (used + openHeight(l) > room) continue;
    l.open = true;
    used += openHeight(l);
  }
  layout();
}

// Every row with its place: {y, height, kind, lane, thread, items}. Kinds are stage, strip and call.
let rows = [];

// layout places all rows, and returns their height together.
function layout() {
  rows = [];
  let y = 0;
  for (const l of lanes) {
    l.y = y;
    y += lanePadding;
    l.rows.forEach((items, level) => {
      const height = level === 0 ? stageHeight : innerStageHeight;
      rows.push({y, height, kind: 'stage', lane: l, items});
      y += height + 1;
    });
    for (const thread of l.open ? l.threads : []) {
      thread.y = y + 2;
      y += 3;
      for (const items of thread.rows) {
        rows.push({y, height: callHeight, kind: 'call', lane: l, thread, items});
        y += callHeight;
      }
      y += 1;
    }
    if (!l.open && l.threads.length > 0) {
      y += 2;
      const thin = l.rows.length === 0; // nothing else tells where the lane is
      const height = thin ? callHeight : stripHeight;
      for (const thread of [...l.threads].sort((a, b) => b.n - a.n).slice(0, 3)) {
        rows.push({y, height, kind: 'strip', lane: l, thread, items: thread.rows[0]});
        y += height + 1;
      }
    }
    y += lanePadding;
    l.bottom = y;
  }
  return y;
}

const startOf = (row, item) => row.kind === 'stage' ? item.start : calls.start[item];
const endOf = (row, item) => row.kind === 'stage' ? item.end : calls.start[item] + calls.dur[item];

// firstAfter gives the place of the first item of a row that ends after an instant, from a place on.
function firstAfter(row, instant, from = 0) {
  let low = from, high = row.items.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (endOf(row, row.items[middle]) > instant) high = middle;
    else low = middle + 1;
  }
  return low;
}

// describe says of an item what a reader wants to know: a heading, and pairs of a name and a figure.
function describe(row, item) {
  const duration = endOf(row, item) - startOf(row, item);
  if (row.kind === 'stage') {
    const stage = report.stages[item.index];
    const own = report.processes.find((p) => p.pid === item.pid)?.stages.find((s) => printable(s.name) === item.name);
    const pairs = [['takes', time(duration)], ['begins at', `${fixed(item.start / 1e6, 3)} ms`], ['of', processName(item.pid)]];
    if (stage?.what) pairs.push(['does', printable(stage.what)]);
    if (own && own.wall_ns > 0) {
      pairs.push(['at work', time(own.wall_ns)], ['unexplained', percent(own.unexplained_ns / own.wall_ns)]);
    }
    return [item.name, pairs];
  }
  const probe = report.probes[calls.probe[item]];
  const pairs = [['takes', time(duration)], ['begins at', `${fixed(calls.start[item] / 1e6, 6)} ms`], ['by', row.lane.name]];
  if (row.thread.tid !== row.thread.pid) pairs.push(['thread', row.thread.name]);
  const stage = report.stages[calls.stage[item]];
  pairs.push(['in stage', stage ? printable(stage.name) : 'none']);
  if (probe.wait) pairs.push(['kind', 'waits']);
  if (calls.failed[item]) pairs.push(['result', 'an error']);
  return [printable(probe.label), pairs];
}
