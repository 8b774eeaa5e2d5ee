// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// A browser is a headless Chromium, driven by its DevTools protocol: messages in JSON, each ended by a zero byte, through two pipes.
type browser struct {
	t  *testing.T
	to *os.File

	mu       sync.Mutex
	next     int
	session  string // of the one page
	waiting  map[int]chan reply
	events   map[string]chan json.RawMessage // those that somebody waits for
	requests []string                        // every URL that the page asked for
	console  []string                        // what it complained about
	gone     chan struct{}                   // the browser ended
}

type reply struct {
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error"`
}

// openBrowser starts Chromium with an empty page of this size. It ends with the test.
func openBrowser(t *testing.T, width, height int) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatalf("%v: run internal/ci/packages test", err)
	}
	// Not the test's context: that ends before the browser is asked to.
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	cmd := exec.CommandContext(ctx, path, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
		"--force-device-scale-factor=1", "--remote-debugging-pipe", "--user-data-dir="+t.TempDir(), "about:blank")
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	theirIn, ourOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ourIn, theirOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.ExtraFiles = []*os.File{theirIn, theirOut} // 3 and 4
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output // it always complains that there is no D-Bus
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b := &browser{t: t, to: ourOut, waiting: map[int]chan reply{}, events: map[string]chan json.RawMessage{}, gone: make(chan struct{})}
	go b.read(ourIn)
	t.Cleanup(func() {
		b.mu.Lock()
		b.session = ""
		b.mu.Unlock()
		_ = b.send("Browser.close", nil, nil) // if it is gone already, so much the better
		if err := cmd.Wait(); err != nil {
			t.Errorf("chromium: %v\n%s", err, output.String())
		}
		cancel()
		ourOut.Close()
		ourIn.Close()
	})
	theirIn.Close()
	theirOut.Close()

	var targets struct {
		Infos []struct {
			ID   string `json:"targetId"`
			Type string `json:"type"`
		} `json:"targetInfos"`
	}
	b.call("Target.getTargets", nil, &targets)
	for _, target := range targets.Infos {
		if target.Type == "page" {
			var attached struct {
				Session string `json:"sessionId"`
			}
			b.call("Target.attachToTarget", map[string]any{"targetId": target.ID, "flatten": true}, &attached)
			b.mu.Lock()
			b.session = attached.Session
			b.mu.Unlock()
			break
		}
	}
	for _, domain := range []string{"Page", "Network", "Runtime", "Log"} {
		b.call(domain+".enable", nil, nil)
	}
	b.size(width, height)
	return b
}

// read takes what the browser says until it ends.
func (b *browser) read(from *os.File) {
	defer close(b.gone)
	in := bufio.NewReader(from)
	for {
		text, err := in.ReadBytes(0)
		if err != nil {
			return
		}
		var m struct {
			ID     int             `json:"id"`
			Method string          `json:"method"`
			Params json.RawMessage `json:"params"`
			reply
		}
		if err := json.Unmarshal(text[:len(text)-1], &m); err != nil {
			b.t.Errorf("chromium says %.200q: %v", text, err)
			continue
		}
		b.mu.Lock()
		if m.ID != 0 {
			if c := b.waiting[m.ID]; c != nil {
				c <- m.reply
			}
		} else {
			b.note(m.Method, m.Params)
		}
		b.mu.Unlock()
	}
}

// note keeps what a page did; b.mu is held.
func (b *browser) note(method string, params json.RawMessage) {
	switch method {
	case "Network.requestWillBeSent":
		var p struct {
			Request struct {
				URL string `json:"url"`
			} `json:"request"`
		}
		if json.Unmarshal(params, &p) == nil {
			b.requests = append(b.requests, p.Request.URL)
		}
	case "Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded":
		b.console = append(b.console, string(params))
	}
	if c := b.events[method]; c != nil {
		select {
		case c <- params:
		default:
		}
	}
}

// send calls a method of the protocol.
func (b *browser) send(method string, params, result any) error {
	b.mu.Lock()
	b.next++
	id, c := b.next, make(chan reply, 1)
	b.waiting[id] = c
	message := map[string]any{"id": id, "method": method}
	if params != nil {
		message["params"] = params
	}
	if b.session != "" {
		message["sessionId"] = b.session
	}
	b.mu.Unlock()
	text, err := json.Marshal(message)
	if err != nil {
		return err
	}
	if _, err := b.to.Write(append(text, 0)); err != nil {
		return err
	}
	select {
	case r := <-c:
		if r.Error != nil {
			return fmt.Errorf("%s: %s", method, r.Error.Message)
		}
		if result == nil {
			return nil
		}
		return json.Unmarshal(r.Result, result)
	case <-b.gone:
		return fmt.Errorf("%s: chromium is gone", method)
	}
}

func (b *browser) call(method string, params, result any) {
	b.t.Helper()
	if err := b.send(method, params, result); err != nil {
		b.t.Fatal(err)
	}
}

func (b *browser) size(width, height int) {
	b.t.Helper()
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}, nil)
}

// prefer sets what the reader's system says it likes: light or dark.
func (b *browser) prefer(scheme string) {
	b.t.Helper()
	b.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
}

// open shows a file and waits until its script is done. What went wrong in it fails the test.
func (b *browser) open(file, fragment string) {
	b.t.Helper()
	loaded := make(chan json.RawMessage, 1)
	b.mu.Lock()
	b.events["Page.loadEventFired"] = loaded
	b.mu.Unlock()
	b.call("Page.navigate", map[string]any{"url": "about:blank"}, nil) // another fragment alone would load nothing
	<-loaded
	b.mu.Lock()
	b.requests, b.console = nil, nil
	b.mu.Unlock()
	b.call("Page.navigate", map[string]any{"url": "file://" + file + fragment}, nil)
	select {
	case <-loaded:
	case <-b.gone:
		b.t.Fatal("chromium is gone")
	}
	b.settle()
	if state := b.text("document.documentElement.dataset.state"); state != "ready" {
		b.t.Fatalf("the page is %q: %s\n%s", state, b.text("document.getElementById('failure').textContent"), strings.Join(b.complaints(), "\n"))
	}
}

// settle waits until the page has drawn what it has to draw.
func (b *browser) settle() {
	b.t.Helper()
	b.eval(`new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => requestAnimationFrame(done))))`, nil)
}

func (b *browser) complaints() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.console...)
}

func (b *browser) asked() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.requests...)
}

// eval gives the value of an expression in the page, or what its promise comes to.
func (b *browser) eval(expression string, result any) {
	b.t.Helper()
	var r struct {
		Result struct {
			Value json.RawMessage `json:"value"`
		} `json:"result"`
		Exception *struct {
			Text      string          `json:"text"`
			Exception json.RawMessage `json:"exception"`
		} `json:"exceptionDetails"`
	}
	b.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &r)
	if r.Exception != nil {
		b.t.Fatalf("%s: %s %s", expression, r.Exception.Text, r.Exception.Exception)
	}
	if result == nil {
		return
	}
	if err := json.Unmarshal(r.Result.Value, result); err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
}

func (b *browser) text(expression string) string {
	b.t.Helper()
	var s string
	b.eval("String("+expression+")", &s)
	return s
}

func (b *browser) texts(selector string) []string {
	b.t.Helper()
	var s []string
	b.eval(fmt.Sprintf("[...document.querySelectorAll(%q)].map((e) => e.innerText.trim())", selector), &s)
	return s
}

// rect is where an element is on the screen.
type rect struct{ X, Y, Width, Height float64 }

func (b *browser) rect(selector string) rect {
	b.t.Helper()
	var r rect
	b.eval(fmt.Sprintf(`(() => { const {x, y, width, height} = document.querySelector(%q).getBoundingClientRect(); return {x, y, width, height}; })()`, selector), &r)
	return r
}

func (b *browser) key(keys ...string) {
	b.t.Helper()
	for _, key := range keys {
		params := map[string]any{"type": "keyDown", "key": key}
		if len(key) == 1 {
			params["text"] = key
		}
		b.call("Input.dispatchKeyEvent", params, nil)
		b.call("Input.dispatchKeyEvent", map[string]any{"type": "keyUp", "key": key}, nil)
	}
	b.settle()
}

func (b *browser) mouse(kind string, x, y float64, more map[string]any) {
	b.t.Helper()
	params := map[string]any{"type": kind, "x": x, "y": y}
	for name, value := range more {
		params[name] = value
	}
	b.call("Input.dispatchMouseEvent", params, nil)
}

func (b *browser) click(x, y float64) {
	b.t.Helper()
	left := map[string]any{"button": "left", "clickCount": 1}
	b.mouse("mouseMoved", x, y, nil)
	b.mouse("mousePressed", x, y, left)
	b.mouse("mouseReleased", x, y, left)
	b.settle()
}

// press clicks an element by its script: wherever it is.
func (b *browser) press(selector string) {
	b.t.Helper()
	b.eval(fmt.Sprintf("document.querySelector(%q).click()", selector), nil)
	b.settle()
}

// screenshot takes what is on the screen. With TRAPLINE_SCREENSHOTS=DIRECTORY it is kept there, under this name.
func (b *browser) screenshot(name string) image.Image {
	b.t.Helper()
	var shot struct {
		Data string `json:"data"`
	}
	b.call("Page.captureScreenshot", map[string]any{"format": "png"}, &shot)
	text, err := base64.StdEncoding.DecodeString(shot.Data)
	if err != nil {
		b.t.Fatal(err)
	}
	if dir := os.Getenv("TRAPLINE_SCREENSHOTS"); dir != "" {
		if err := os.WriteFile(dir+"/"+name+".png", text, 0o644); err != nil {
			b.t.Error(err)
		}
	}
	picture, err := png.Decode(bytes.NewReader(text))
	if err != nil {
		b.t.Fatal(err)
	}
	return picture
}
