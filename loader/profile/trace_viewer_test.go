// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"testing"
)

// The viewer of chrome://tracing takes a trace without complaint and shows every slice at its depth. Chromium has that page no more, but
// Go's own distribution has the same viewer, for go tool trace.
func TestTraceInViewer(t *testing.T) {
	static := http.Dir(filepath.Join(goEnv(t, "GOROOT"), "src/internal/trace/traceviewer/static"))
	mux := http.NewServeMux()
	mux.Handle("/static/", http.StripPrefix("/static/", http.FileServer(static)))
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, `<!DOCTYPE html><html><head><meta charset="utf-8"><script src="/static/webcomponents.min.js"></script>`+
			`<link rel="import" href="/static/trace_viewer_full.html"></head><body></body></html>`)
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	r := syntheticReport(6, 5000, 1, 1)
	var trace bytes.Buffer
	if err := r.WriteTrace(&trace); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(trace.String())
	if err != nil {
		t.Fatal(err)
	}

	b := openBrowser(t, 1400, 900)
	loaded := make(chan json.RawMessage, 1)
	b.mu.Lock()
	b.events["Page.loadEventFired"] = loaded
	b.mu.Unlock()
	b.call("Page.navigate", map[string]any{"url": server.URL}, nil)
	select {
	case <-loaded:
	case <-b.gone:
		t.Fatal("chromium is gone")
	}
	var model struct {
		Warnings  []any
		Processes []string
		Slices    int
		Depths    []int // of the calls, by depth
	}
	b.eval(fmt.Sprintf(`new Promise((done) => HTMLImports.whenReady(done)).then(() => {
		const model = new tr.Model();
		new tr.importer.Import(model).importTraces([%s]);
		const found = {Warnings: model.importWarnings, Processes: [], Slices: 0, Depths: []};
		for (const process of Object.values(model.processes)) {
			found.Processes.push(process.name);
			for (const thread of Object.values(process.threads)) {
				found.Slices += thread.sliceGroup.slices.length;
				const level = (slice) => slice.parentSlice ? level(slice.parentSlice) + 1 : 0;
				for (const slice of thread.sliceGroup.slices) {
					if (slice.category === 'stage') continue;
					found.Depths[level(slice)] = (found.Depths[level(slice)] || 0) + 1;
				}
			}
		}
		return found;
	})`, text), &model)
	if len(model.Warnings) != 0 {
		t.Errorf("the viewer warns: %v", model.Warnings)
	}
	if expected := len(r.Spans) + len(r.Calls); model.Slices != expected {
		t.Errorf("the viewer shows %d slices, expected %d", model.Slices, expected)
	}
	depths := make([]int, len(model.Depths))
	for _, c := range r.Calls {
		if int(c.Depth) < len(depths) {
			depths[c.Depth]++
		}
	}
	if !slices.Equal(model.Depths, depths) {
		t.Errorf("the viewer has %v calls by depth, the report %v", model.Depths, depths)
	}
	for _, name := range []string{"whole tree", "trapline", "nginx", hostileScript, hostileRunes} {
		if !slices.Contains(model.Processes, name) {
			t.Errorf("the viewer shows the processes %q, and not %q", model.Processes, name)
		}
	}
}
