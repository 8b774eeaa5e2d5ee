// SPDX-License-Identifier: Apache-2.0
// A listening server, timers, promises, workers of libuv, buffers, a Map; asks itself by HTTP after the restore.
'use strict';
const fs = require('fs');
const http = require('http');
const crypto = require('crypto');

const failures = [];
const check = (cond, text) => { if (!cond) failures.push(text); };
const say = (line) => {
  const fd = fs.openSync('out', 'w');
  fs.writeSync(fd, line + '\n');
  fs.closeSync(fd);
};

const map = new Map();
for (let i = 0; i < 10000; i++) map.set('key ' + i, { i, b: Buffer.alloc(16, i) });
const big = crypto.randomBytes(4 << 20);
const sum = crypto.createHash('sha256').update(big).digest('hex');
let ticks = 0;
let served = 0;
const interval = setInterval(() => ticks++, 10);
const later = new Promise((resolve) => setTimeout(resolve, 500, 'later'));
const server = http.createServer((req, res) => { served++; res.end('hello ' + req.url); });

const get = (path) => new Promise((resolve, reject) => {
  http.get({ host: '127.0.0.1', port: server.address().port, path, agent: false }, (res) => {
    let body = '';
    res.on('data', (d) => { body += d; });
    res.on('end', () => resolve(body));
  }).on('error', reject);
});

async function main() {
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const port = server.address().port;
  // Wakes a thread of the pool, so that the pool is there.
  await new Promise((resolve) => crypto.pbkdf2('a', 'b', 10, 16, 'sha1', resolve));
  say('ready');
  // A synchronous read would hold the event loop: another thread of the pool waits in open.
  await fs.promises.readFile('cmd');
  const before = ticks;
  check(await later === 'later', 'the timer');
  check(server.address().port === port, 'the port');
  check(await get('/x') === 'hello /x', 'an answer over HTTP');
  check(served === 1, 'requests served: ' + served);
  check(map.size === 10000 && map.get('key 77').i === 77 && map.get('key 77').b[3] === 77, 'the map');
  check(crypto.createHash('sha256').update(big).digest('hex') === sum, 'the buffer');
  const key = await new Promise((resolve, reject) => crypto.pbkdf2('a', 'b', 10, 16, 'sha1', (e, k) => e ? reject(e) : resolve(k)));
  check(key.length === 16, 'a job in the pool');
  await new Promise((resolve) => setTimeout(resolve, 50));
  check(ticks > before, 'the interval stands still');
  const f = new Function('a', 'let s = 0; for (let i = 0; i < a; i++) s += i; return s');
  for (let i = 0; i < 1000; i++) check(f(1000) === 499500, 'compiled code');
  for (const text of failures) say('FAIL: ' + text);
  say(failures.length ? 'failed' : 'ok');
  clearInterval(interval);
  server.close();
}

main().catch((e) => { say('FAIL: ' + e); say('failed'); });
