// SPDX-License-Identifier: Apache-2.0
// What goes wrong is said on the page: nobody looks into a console.

function fail(what) {
  const pre = document.getElementById('failure');
  pre.hidden = false;
  pre.textContent += `This page could not be drawn: ${what}\n`;
  document.documentElement.dataset.state = 'failed';
}

window.addEventListener('error', (event) => fail(`${event.message} (line ${event.lineno})`));
window.addEventListener('unhandledrejection', (event) => fail(String(event.reason)));
document.addEventListener('securitypolicyviolation', (event) => fail(`${event.violatedDirective}: ${event.blockedURI}`));
