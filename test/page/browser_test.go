//go:build page

package page

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// deadline is how long a test waits for what should happen at once.
const deadline = 20 * time.Second

// browser is one Chromium process, and the messages to and from it: JSON with
// a zero byte at the end (--remote-debugging-pipe).
type browser struct {
	in *os.File

	mu      sync.Mutex
	last    int                         // guarded by mu
	waiting map[int]chan message        // guarded by mu
	heard   map[string][]chan<- message // guarded by mu; events of a session
	ended   bool                        // guarded by mu
}

type message struct {
	ID        int             `json:"id,omitempty"`
	Method    string          `json:"method,omitempty"`
	SessionID string          `json:"sessionId,omitempty"`
	Params    json.RawMessage `json:"params,omitempty"`
	Result    json.RawMessage `json:"result,omitempty"`
	Error     *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

// chromium is the browser that all tests share; each has tabs of its own.
var chromium *browser

func TestMain(m *testing.M) {
	os.Exit(func() int {
		b, stop, err := startBrowser()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer stop()
		chromium = b
		return m.Run()
	}())
}

// startBrowser starts Chromium, which ends with stop.
func startBrowser() (b *browser, stop func(), err error) {
	program := os.Getenv("CHROMIUM")
	if program == "" {
		program = "chromium"
	}
	profile, err := os.MkdirTemp("", "kuberelay-page-")
	if err != nil {
		return nil, nil, err
	}
	toRead, in, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	out, toWrite, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions", "--hide-scrollbars",
		"--force-color-profile=srgb", "--remote-debugging-pipe", "--user-data-dir="+profile, "about:blank")
	cmd.ExtraFiles = []*os.File{toRead, toWrite}
	if err := cmd.Start(); err != nil {
		cancel()
		return nil, nil, fmt.Errorf("%s: %w", program, err)
	}
	toRead.Close()
	toWrite.Close()
	b = &browser{in: in, waiting: map[int]chan message{}, heard: map[string][]chan<- message{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.read(out)
	}()
	return b, func() {
		_, _ = b.call("", "Browser.close", nil)
		in.Close()
		timer := time.AfterFunc(deadline, cancel)
		_ = cmd.Wait()
		timer.Stop()
		cancel()
		<-done
		out.Close()
		_ = os.RemoveAll(profile)
	}, nil
}

func (b *browser) read(out *os.File) {
	scanner := bufio.NewScanner(out)
	scanner.Buffer(nil, 64<<20) // screenshots
	scanner.Split(func(data []byte, _ bool) (int, []byte, error) {
		if i := bytes.IndexByte(data, 0); i >= 0 {
			return i + 1, data[:i], nil
		}
		return 0, nil, nil
	})
	for scanner.Scan() {
		var m message
		if json.Unmarshal(scanner.Bytes(), &m) != nil {
			continue
		}
		b.mu.Lock()
		if answer := b.waiting[m.ID]; answer != nil {
			answer <- m
			delete(b.waiting, m.ID)
		}
		listeners := b.heard[m.SessionID]
		b.mu.Unlock()
		if m.Method != "" {
			for _, l := range listeners {
				l <- m
			}
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = true
	for _, answer := range b.waiting {
		close(answer)
	}
}

// call sends a command and waits for its result.
func (b *browser) call(session, method string, params any) (json.RawMessage, error) {
	answer := make(chan message, 1)
	b.mu.Lock()
	if b.ended {
		b.mu.Unlock()
		return nil, fmt.Errorf("%s: the browser has ended", method)
	}
	b.last++
	id := b.last
	b.waiting[id] = answer
	b.mu.Unlock()
	raw, err := json.Marshal(map[string]any{"id": id, "method": method, "params": params})
	if err == nil && session != "" {
		raw, err = json.Marshal(map[string]any{"id": id, "method": method, "params": params, "sessionId": session})
	}
	if err != nil {
		return nil, err
	}
	if _, err := b.in.Write(append(raw, 0)); err != nil {
		return nil, err
	}
	select {
	case m, ok := <-answer:
		switch {
		case !ok:
			return nil, fmt.Errorf("%s: the browser has ended", method)
		case m.Error != nil:
			return nil, fmt.Errorf("%s: %s", method, m.Error.Message)
		}
		return m.Result, nil
	case <-time.After(deadline):
		return nil, fmt.Errorf("%s: no answer", method)
	}
}

// tab is a page in the browser. It remembers what a person would find in its
// developer tools.
type tab struct {
	t       *testing.T
	b       *browser
	session string

	mu       sync.Mutex
	trouble  []string // guarded by mu; console messages, exceptions, violated policies
	requests []string // guarded by mu; URLs
}

// view is how a tab looks.
type view struct {
	width, height int
	dark, phone   bool
}

// open opens a URL in a new tab.
func (b *browser) open(t *testing.T, url string, v view) *tab {
	t.Helper()
	var target struct{ TargetID, SessionID string }
	b.must(t, "", "Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	b.must(t, "", "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &target)
	p := &tab{t: t, b: b, session: target.SessionID}
	events := make(chan message, 1000)
	b.mu.Lock()
	b.heard[p.session] = append(b.heard[p.session], events)
	b.mu.Unlock()
	end := make(chan struct{})
	var work sync.WaitGroup
	work.Go(func() {
		for {
			select {
			case m := <-events:
				p.note(m)
			case <-end:
				return
			}
		}
	})
	t.Cleanup(func() {
		_, _ = b.call("", "Target.closeTarget", map[string]any{"targetId": target.TargetID})
		b.mu.Lock()
		delete(b.heard, p.session)
		b.mu.Unlock()
		close(end)
		work.Wait()
	})
	for _, domain := range []string{"Page", "Runtime", "Log", "Network", "Audits", "Accessibility"} {
		p.do(domain+".enable", nil, nil)
	}
	scheme := "light"
	if v.dark {
		scheme = "dark"
	}
	p.do("Emulation.setEmulatedMedia", map[string]any{"features": []any{map[string]any{"name": "prefers-color-scheme", "value": scheme}}}, nil)
	p.do("Emulation.setDeviceMetricsOverride", map[string]any{"width": v.width, "height": v.height, "deviceScaleFactor": 1, "mobile": v.phone}, nil)
	p.do("Page.navigate", map[string]any{"url": url}, nil)
	return p
}

func (b *browser) must(t *testing.T, session, method string, params, into any) {
	t.Helper()
	result, err := b.call(session, method, params)
	if err != nil {
		t.Fatal(err)
	}
	if into != nil {
		if err := json.Unmarshal(result, into); err != nil {
			t.Fatal(err)
		}
	}
}

func (p *tab) do(method string, params, into any) {
	p.t.Helper()
	if params == nil {
		params = map[string]any{}
	}
	p.b.must(p.t, p.session, method, params, into)
}

func (p *tab) note(m message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch m.Method {
	case "Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded", "Audits.issueAdded":
		p.trouble = append(p.trouble, m.Method+" "+string(m.Params))
	case "Network.requestWillBeSent":
		var sent struct{ Request struct{ URL string } }
		if json.Unmarshal(m.Params, &sent) == nil {
			p.requests = append(p.requests, sent.Request.URL)
		}
	}
}

// eval evaluates a JavaScript expression, awaits it, and decodes its value.
func (p *tab) eval(expression string, into any) {
	p.t.Helper()
	var answer struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct{ Exception struct{ Description string } }
	}
	p.do("Runtime.evaluate", map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true}, &answer)
	if answer.ExceptionDetails != nil {
		p.t.Fatalf("%s: %s", expression, answer.ExceptionDetails.Exception.Description)
	}
	if into != nil {
		if err := json.Unmarshal(answer.Result.Value, into); err != nil {
			p.t.Fatalf("%s: %v", expression, err)
		}
	}
}

// await waits until an expression is true.
func (p *tab) await(expression string) {
	p.t.Helper()
	var good bool
	p.eval(fmt.Sprintf(`new Promise(done => {
		const end = Date.now() + %d;
		const look = () => {
			let good = false;
			try { good = !!(%s) } catch {}
			if (good || Date.now() > end) done(good); else setTimeout(look, 20);
		};
		look();
	})`, (deadline-5*time.Second).Milliseconds(), expression), &good)
	if !good {
		var text string
		p.eval("document.body.innerText", &text)
		p.t.Fatalf("it did not become true: %s\nthe page shows:\n%s", expression, text)
	}
}

// text is what an element shows.
func (p *tab) text(selector string) (text string) {
	p.t.Helper()
	p.eval(fmt.Sprintf("document.querySelector(%q)?.innerText ?? 'there is no '+%[1]q", selector), &text)
	return strings.Join(strings.Fields(text), " ")
}

// press presses a key that has a name.
func (p *tab) press(key string, code int) {
	p.t.Helper()
	text := ""
	if key == "Enter" {
		text = "\r"
	}
	for _, kind := range []string{"keyDown", "keyUp"} {
		p.do("Input.dispatchKeyEvent", map[string]any{"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text}, nil)
		text = ""
	}
}

// screenshot writes a picture of the whole page, and says where.
func (p *tab) screenshot(name string) {
	p.t.Helper()
	dir := os.Getenv("KUBERELAY_SCREENSHOTS")
	if dir == "" {
		return
	}
	var metrics struct {
		CSSContentSize struct{ Width, Height float64 }
	}
	p.do("Page.getLayoutMetrics", nil, &metrics)
	clip := map[string]any{"x": 0, "y": 0, "scale": 1, "width": metrics.CSSContentSize.Width, "height": metrics.CSSContentSize.Height}
	var shot struct{ Data string }
	p.do("Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": true, "clip": clip}, &shot)
	png, err := base64.StdEncoding.DecodeString(shot.Data)
	if err != nil {
		p.t.Fatal(err)
	}
	path := filepath.Join(dir, name+".png")
	if err := os.WriteFile(path, png, 0o600); err != nil {
		p.t.Fatal(err)
	}
	p.t.Logf("screenshot: %s", path)
}

// narrow fails the test if one has to scroll sideways.
func (p *tab) narrow() {
	p.t.Helper()
	var width struct{ Has, Needs int }
	p.eval("({ has: innerWidth, needs: document.documentElement.scrollWidth })", &width)
	if width.Needs > width.Has {
		p.t.Errorf("it is %d pixels wide on a screen of %d", width.Needs, width.Has)
	}
}

// quiet fails the test if the developer tools have anything to say, or a request
// went anywhere but to base.
func (p *tab) quiet(base string) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, text := range p.trouble {
		p.t.Errorf("the developer tools say: %s", text)
	}
	for _, url := range p.requests {
		if !strings.HasPrefix(url, base) {
			p.t.Errorf("it asked for %s", url)
		}
	}
	if len(p.requests) == 0 {
		p.t.Error("no request was seen")
	}
}
