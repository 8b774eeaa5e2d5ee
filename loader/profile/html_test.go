// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// writers are the functions that write a whole report.
func writers(r *Report) map[string]func(io.Writer) error {
	return map[string]func(io.Writer) error{"JSON": r.WriteJSON, "page": r.WriteHTML, "trace": r.WriteTrace, "pprof": r.WritePprof}
}

func pageFile(t *testing.T, r *Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "page.html")
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// A page is one file that names no other, and whose names can't become markup.
func TestPageIsSelfContained(t *testing.T) {
	r := syntheticReport(6, 2000, 1, 1)
	r.What = hostileScript + hostileQuotes
	var b bytes.Buffer
	if err := r.WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	for _, c := range []struct {
		what, pattern string
		times         int
	}{
		{"address", `https?:|url\(|@import|\b(src|href)=`, 0},
		{"script element", `(?i)<script`, 2},
		{"end of a script element", `(?i)</script`, 2},
		{"policy", `content="default-src 'none'; script-src 'sha256-[\w+/]{43}='; style-src 'sha256-[\w+/]{43}='; base-uri 'none'; form-action 'none'"`, 1},
		{"placeholder", `\{\{[A-Z]`, 0},
		{"markup from text", `innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(`, 0},
	} {
		if found := regexp.MustCompile(c.pattern).FindAllString(text, -1); len(found) != c.times {
			t.Errorf("%s: found %d times, expected %d: %.3q", c.what, len(found), c.times, found)
		}
	}
}

// cssColour gives the light or the dark value of a colour of page.css.
func cssColour(t *testing.T, name string, dark bool) color.RGBA {
	t.Helper()
	style, err := page.ReadFile("page/page.css")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`\s--` + name + `: light-dark\(#(\w{6}), #(\w{6})\);`).FindSubmatch(style)
	if m == nil {
		t.Fatalf("page.css has no colour --%s", name)
	}
	hex := m[1]
	if dark {
		hex = m[2]
	}
	v, err := strconv.ParseUint(string(hex), 16, 32)
	if err != nil {
		t.Fatal(err)
	}
	return color.RGBA{uint8(v >> 16), uint8(v >> 8), uint8(v), 255}
}

// count counts the pixels of a colour in a part of a picture.
func pixels(picture image.Image, within image.Rectangle, c color.RGBA) int {
	n := 0
	within = within.Intersect(picture.Bounds())
	for y := within.Min.Y; y < within.Max.Y; y++ {
		for x := within.Min.X; x < within.Max.X; x++ {
			if color.RGBAModel.Convert(picture.At(x, y)) == c {
				n++
			}
		}
	}
	return n
}

func (r rect) pixels() image.Rectangle {
	return image.Rect(int(math.Ceil(r.X)), int(math.Ceil(r.Y)), int(r.X+r.Width), int(r.Y+r.Height))
}

// What is on the screen, in both looks and on a narrow screen: the ground is light or dark, stages and bars are there in their colours,
// where they must be, and the page asked for nothing.
func TestPageOnScreen(t *testing.T) {
	r := syntheticReport(6, 20000, 1, 1)
	file := pageFile(t, r)
	b := openBrowser(t, 1400, 900)
	for _, c := range []struct {
		name          string
		scheme        string
		fragment      string
		width, height int
		dark          bool
	}{
		{"light", "light", "", 1400, 900, false},
		{"dark", "dark", "", 1400, 900, true},
		{"dark by choice", "light", "#theme=dark", 1400, 900, true},
		{"narrow", "light", "", 480, 900, false},
		{"narrow dark", "dark", "", 480, 900, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			b.t = t
			b.prefer(c.scheme)
			b.size(c.width, c.height)
			b.open(file, c.fragment)
			name := strings.ReplaceAll(c.name, " ", "-")
			top := b.screenshot(name)
			all := top.Bounds()
			area := all.Dx() * all.Dy()
			if all.Dx() != c.width || all.Dy() != c.height {
				t.Fatalf("the picture is %v", all)
			}
			ground := pixels(top, all, cssColour(t, "page", c.dark)) + pixels(top, all, cssColour(t, "card", c.dark)) + pixels(top, all, cssColour(t, "stripe", c.dark))
			if ground < area/2 {
				t.Errorf("%d of %d pixels have the ground's colours", ground, area)
			}
			if n := pixels(top, all, cssColour(t, "text", c.dark)); n < area/1000 {
				t.Errorf("%d of %d pixels have the text's colour", n, area)
			}
			var wide struct{ Page, Window float64 }
			b.eval(`({Page: document.documentElement.scrollWidth, Window: innerWidth})`, &wide)
			if wide.Page > wide.Window {
				t.Errorf("the page is %v wide, the window %v", wide.Page, wide.Window)
			}
			var table struct{ Needs, Has float64 }
			b.eval(`(() => { const s = document.querySelector('#table-parts .scroll'); return {Needs: s.scrollWidth, Has: s.clientWidth}; })()`, &table)
			if c.width > 1000 && table.Needs > table.Has {
				t.Errorf("the table needs %v, and has %v", table.Needs, table.Has)
			}
			b.checkTimeline(r, name, c.dark)
			b.checkBars(r, name, c.dark)
			for _, url := range b.asked() {
				if url != "file://"+file+c.fragment && url != "file://"+file {
					t.Errorf("the page asked for %s", url)
				}
			}
			if complaints := b.complaints(); len(complaints) != 0 {
				t.Errorf("the browser complained: %s", strings.Join(complaints, "\n"))
			}
		})
	}
	b.t = t
}

// checkTimeline looks for the stages where they are: a span of the stage pages in the lane of its process, and in the overview.
func (b *browser) checkTimeline(r *Report, name string, dark bool) {
	b.t.Helper()
	b.eval(`document.getElementById('overview').scrollIntoView()`, nil)
	b.settle()
	picture := b.screenshot(name + "-timeline")
	lanes, overview := b.rect("#timeline"), b.rect("#overview")
	gutter := 176.0
	if picture.Bounds().Dx() < 700 {
		gutter = 84
	}
	for i, s := range r.Stages {
		var from, to float64 // the longest span of the tree's stages, or of the first process
		for _, span := range r.Spans {
			if span.Stage == s.Name && (span.PID == 0 || span.PID == r.Processes[1].PID) && float64(span.Dur) > to-from {
				from, to = float64(span.Start), float64(span.Start+span.Dur)
			}
		}
		perNS := (overview.Width - gutter) / float64(r.Total)
		x, w := gutter+from*perNS, (to-from)*perNS
		if w < 6 {
			continue
		}
		c := cssColour(b.t, fmt.Sprintf("stage-%d", i), dark)
		for what, box := range map[string]rect{
			"overview": {overview.X + x + 1, overview.Y, w - 3, overview.Height},
			"timeline": {lanes.X + x + 1, lanes.Y, w - 3, lanes.Height},
		} {
			if n := pixels(picture, box.pixels(), c); n < int(w-3)*3 {
				b.t.Errorf("stage %s in the %s: %d pixels of its colour in %v", s.Name, what, n, box.pixels())
			}
		}
		left := image.Rect(int(lanes.X+gutter), int(lanes.Y), int(lanes.X+x-2), int(lanes.Y+lanes.Height))
		if n := pixels(picture, left, c); s.N == 1 && n > 0 {
			b.t.Errorf("stage %s: %d pixels of its colour before it began", s.Name, n)
		}
	}
}

// checkBars looks for the longest stage's largest parts in its bar, as wide as their share of it.
func (b *browser) checkBars(r *Report, name string, dark bool) {
	b.t.Helper()
	b.eval(`document.getElementById('bars').scrollIntoView()`, nil)
	b.settle()
	picture := b.screenshot(name + "-bars")
	longest := 0
	for i := range r.Stages {
		if r.Stages[i].Wall > r.Stages[longest].Wall {
			longest = i
		}
	}
	row := fmt.Sprintf("#bars .bar-row:nth-child(%d)", longest+2) // the first is the heading
	room, track := b.rect(row+" .room"), b.rect(row+" .track")
	if math.Abs(room.Width-track.Width) > 1 {
		b.t.Errorf("the longest stage's bar is %v wide; the room is %v", track.Width, room.Width)
	}
	largest := r.Stages[longest].Parts[0]
	segment := b.rect(row + " .segment")
	if expected := track.Width * largest.Share; math.Abs(segment.Width-expected) > 0.03*track.Width {
		b.t.Errorf("the bar of %s is %v wide, expected %v", largest.Label, segment.Width, expected)
	}
	if n := pixels(picture, segment.pixels(), cssColour(b.t, "probe-0", dark)); n < int(segment.Width*segment.Height)/3 {
		b.t.Errorf("the bar of %s has %d pixels of its colour in %v", largest.Label, n, segment.pixels())
	}
}

// Texts must be readable: 4.5 is what WCAG asks for.
func TestPageContrast(t *testing.T) {
	luminance := func(c color.RGBA) float64 {
		channel := func(v uint8) float64 {
			if f := float64(v) / 255; f > 0.04045 {
				return math.Pow((f+0.055)/1.055, 2.4)
			}
			return float64(v) / 255 / 12.92
		}
		return 0.2126*channel(c.R) + 0.7152*channel(c.G) + 0.0722*channel(c.B)
	}
	for _, dark := range []bool{false, true} {
		for _, pair := range [][2]string{
			{"text", "page"},
			{"text", "card"},
			{"text", "stripe"},
			{"text", "mark"},
			{"dim", "page"},
			{"dim", "card"},
			{"dim", "stripe"},
			{"dim", "mark"},
			{"accent", "card"},
			{"accent", "mark"},
			{"bad", "bad-ground"},
			{"text", "bad-ground"},
			{"text", "warn-ground"},
		} {
			a, b := luminance(cssColour(t, pair[0], dark)), luminance(cssColour(t, pair[1], dark))
			if contrast := (max(a, b) + 0.05) / (min(a, b) + 0.05); contrast < 4.5 {
				t.Errorf("%s on %s, dark %v: the contrast is %.2f", pair[0], pair[1], dark, contrast)
			}
		}
		for i := range 12 { // neighbours differ in lightness, also for those who see no colours
			a, b := luminance(cssColour(t, fmt.Sprintf("stage-%d", i), dark)), luminance(cssColour(t, fmt.Sprintf("stage-%d", i+1), dark))
			if contrast := (max(a, b) + 0.05) / (min(a, b) + 0.05); contrast < 1.2 {
				t.Errorf("stages %d and %d, dark %v: the contrast is %.2f", i, i+1, dark, contrast)
			}
		}
	}
}

func same(a, b image.Image) bool {
	if a.Bounds() != b.Bounds() {
		return false
	}
	for y := range a.Bounds().Dy() {
		for x := range a.Bounds().Dx() {
			if a.At(x, y) != b.At(x, y) {
				return false
			}
		}
	}
	return true
}
