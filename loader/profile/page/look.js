// SPDX-License-Identifier: Apache-2.0
// Elements, colours and the tooltip.

const $ = (id) => document.getElementById(id);

// Makes an element. Names are only ever set as text, never as markup.
function make(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties || {})) {
    if (name === 'style') for (const [key, v] of Object.entries(value)) element.style.setProperty(key, v);
    else if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name in element && !name.startsWith('aria')) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

// The probes that matter most have colours of their own, the rest share one. Time counts, and in equal measure what part a probe has
// of each stage: short stages should not be all grey.
const ownColours = 12;
const selfOfProbe = report.probes.map(() => 0), weightOfProbe = report.probes.map(() => 0);
const wallOfAll = Math.max(1, report.stages.reduce((sum, s) => sum + s.wall_ns, 0));
for (const stage of report.stages) {
  for (const part of stage.parts) {
    selfOfProbe[part.probe] += part.self_ns;
    weightOfProbe[part.probe] += part.self_ns / wallOfAll + part.self_ns / Math.max(1, stage.wall_ns) / report.stages.length;
  }
}
const probesByWeight = report.probes.map((_, i) => i).filter((i) => selfOfProbe[i] > 0).sort((a, b) => weightOfProbe[b] - weightOfProbe[a]);
const colourOfProbe = new Map(probesByWeight.slice(0, ownColours).map((probe, i) => [probe, `--probe-${i}`]));

const probeColour = (probe) => colourOfProbe.get(probe) || '--probe-other';
const stageColour = (index) => index === undefined || index < 0 ? '--probe-other' : `--stage-${index % 13}`;

// A canvas needs colours and not their names.
let resolved = new Map();
function colour(name) {
  if (!resolved.has(name)) {
    document.body.style.setProperty('outline-color', `var(${name})`);
    resolved.set(name, getComputedStyle(document.body).outlineColor);
    document.body.style.removeProperty('outline-color');
  }
  return resolved.get(name);
}

// Black or white, whichever reads better on a colour.
const inks = new Map();
function ink(background) {
  if (!inks.has(background)) {
    const [r, g, b] = background.match(/[\d.]+/g).map((v) => {
      v /= 255;
      return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    });
    inks.set(background, 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? '#10161d' : '#ffffff');
  }
  return inks.get(background);
}

const redraws = [];
function onLook(redraw) { redraws.push(redraw); }

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  resolved = new Map();
  for (const redraw of redraws) redraw();
}

const dark = matchMedia('(prefers-color-scheme: dark)');
const systemTheme = () => dark.matches ? 'dark' : 'light';
dark.addEventListener('change', () => setTheme(systemTheme()));
$('theme').addEventListener('click', () => {
  setTheme(document.documentElement.dataset.theme === 'dark' ? 'light' : 'dark');
  keepAddress();
});

// Paper is white.
let themeOfScreen;
addEventListener('beforeprint', () => {
  themeOfScreen = document.documentElement.dataset.theme;
  setTheme('light');
});
addEventListener('afterprint', () => setTheme(themeOfScreen));

// showTip shows lines beside the pointer: a heading, and pairs of a name and a figure.
function showTip(x, y, heading, pairs) {
  const tip = $('tip');
  tip.replaceChildren(make('strong', {textContent: heading}));
  const list = make('dl');
  for (const [name, value] of pairs) list.append(make('dt', {textContent: name}), make('dd', {textContent: value}));
  tip.append(list);
  tip.hidden = false;
  const {width, height} = tip.getBoundingClientRect();
  const left = x + 14 + width > innerWidth - 8 ? x - width - 14 : x + 14;
  tip.style.left = `${Math.max(8, left)}px`;
  tip.style.top = `${Math.max(8, Math.min(y + 14, innerHeight - height - 8))}px`;
}

function hideTip() { $('tip').hidden = true; }

// fitCanvas gives a canvas the pixels of its size on the screen, and its context in units of CSS.
function fitCanvas(canvas) {
  const {width, height} = canvas.getBoundingClientRect();
  const scale = devicePixelRatio || 1;
  const [w, h] = [Math.round(width * scale), Math.round(height * scale)];
  if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
  const context = canvas.getContext('2d');
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  return {context, width, height};
}
