// SPDX-License-Identifier: Apache-2.0
// The report, and the calls unpacked. Times are in ns.

const {report, calls: packed, tasks} = JSON.parse(document.getElementById('data').textContent);

report.stages ||= [];
report.probes ||= [];
report.spans ||= [];
report.processes ||= [];
for (const stage of [...report.stages, ...report.processes.flatMap((p) => p.stages ||= [])]) {
  stage.parts ||= [];
  for (const part of stage.parts) part.hist ||= [];
}

const stageIndex = new Map(report.stages.map((stage, i) => [stage.name, i]));

// The last instant of anything.
const end = Math.max(1, report.total_ns, ...[report.spans.reduce((max, s) => Math.max(max, s.start_ns + s.dur_ns), 0)]);

// Calls lie in columns, in order of their start: with 200,000 of them, objects would be slow.
const calls = unpack(packed.data, packed.kept);

function unpack(base64, n) {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const columns = {
    n, start: new Float64Array(n), dur: new Float64Array(n), task: new Uint32Array(n), probe: new Uint16Array(n),
    stage: new Int32Array(n), depth: new Uint16Array(n), failed: new Uint8Array(n),
  };
  let at = 0;
  const varint = () => { // times can have more bits than << takes
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = bytes[at++];
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
  };
  let start = 0;
  for (let i = 0; i < n; i++) {
    const delta = varint();
    start += delta % 2 ? -(delta + 1) / 2 : delta / 2; // zigzag
    columns.start[i] = start;
    columns.dur[i] = varint();
    columns.task[i] = varint();
    columns.probe[i] = varint();
    columns.stage[i] = varint() - 1;
    const rest = varint();
    columns.depth[i] = rest >> 1;
    columns.failed[i] = rest & 1;
  }
  return columns;
}

function processName(pid) {
  if (pid === 0) return 'whole tree';
  const known = report.processes.find((p) => p.pid === pid);
  const comm = known?.comm || tasks.find((t) => t.pid === pid)?.comm;
  return comm ? `${printable(comm)} ${pid}` : `process ${pid}`;
}

// What has no shape of its own, or turns the direction of the text around it, is shown as its code.
function printable(text) {
  return String(text).replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Co}\p{Cn}]/gu, (c) => c === '\u200d' ? c : `\\u{${c.codePointAt(0).toString(16)}}`);
}

const units = [[1e9, 's'], [1e6, 'ms'], [1e3, 'µs'], [1, 'ns']];

// A time with three digits.
function time(ns) {
  if (!Number.isFinite(ns)) return '–';
  if (ns < 0) return `−${time(-ns)}`;
  if (ns < 999.5) return `${ns < 10 && ns % 1 ? ns.toFixed(2) : Math.round(ns)} ns`;
  const [size, unit] = units.find(([size]) => ns >= size * 0.9995);
  const value = ns / size;
  return `${value.toFixed(value < 9.995 ? 2 : value < 99.95 ? 1 : 0)} ${unit}`;
}

// A time in one unit with fixed places, so that a column of them lines up.
const grouped = new Map();
function fixed(value, places) {
  if (!grouped.has(places)) {
    grouped.set(places, new Intl.NumberFormat('en-US', {minimumFractionDigits: places, maximumFractionDigits: places}));
  }
  return grouped.get(places).format(value);
}

const count = (n) => fixed(n, 0);
const percent = (share, places = 1) => `${fixed(100 * share, places)} %`;

function plural(n, one, many = `${one}s`) {
  return `${count(n)} ${n === 1 ? one : many}`;
}

// bucketRange gives the latencies of a histogram's bucket: from low on, below high.
function bucketRange(i) {
  return i === 0 ? [0, 1] : [2 ** (i - 1), 2 ** i];
}
