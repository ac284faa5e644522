//go:build page

package page

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kuberelay/kuberelay/admin"
)

var (
	desk  = view{width: 1280, height: 900}
	night = view{width: 1280, height: 900, dark: true}
	phone = view{width: 360, height: 740, phone: true}
	pale  = view{width: 360, height: 740, phone: true, dark: true}
)

const shown = "!document.getElementById('main').hidden"

// Everything on one page in four looks, in which nothing is told by its color,
// too wide, or too pale to read.
func TestThePageCanBeRead(t *testing.T) {
	r := startRelay(t, busy())
	for name, v := range map[string]view{"light": desk, "dark": night, "phone-light": phone, "phone-dark": pale} {
		t.Run(name, func(t *testing.T) {
			p := chromium.open(t, r.base, v)
			p.await(shown)
			p.screenshot(name)
			var wide []string
			p.eval(`[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1 &&
				!e.closest('.unseen, thead')).map(e => e.tagName + ' ' + e.textContent.slice(0, 40))`, &wide)
			if len(wide) > 0 {
				t.Errorf("wider than the screen: %q", wide)
			}
			p.narrow()
			var faint []string
			p.eval(contrast, &faint)
			if len(faint) > 0 {
				t.Errorf("the contrast is less than 4.5: %q", faint)
			}
			p.quiet(r.base)
		})
	}
}

// contrast finds text whose contrast to what is behind it is less than WCAG 2.2
// asks for (1.4.3, level AA).
const contrast = `(() => {
	const rgb = c => c.match(/[\d.]+/g).map(Number);
	const luminance = c => { const [r, g, b] = rgb(c).map(v => { v /= 255; return v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4 }); return .2126 * r + .7152 * g + .0722 * b };
	const behind = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if ((rgb(c)[3] ?? 1) > 0) return c } return 'rgb(255, 255, 255)' };
	const faint = [];
	for (const e of document.querySelectorAll('body *')) {
		if (e.closest('.unseen, noscript, svg, .skip') || !e.checkVisibility() || ![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
		const [a, b] = [luminance(getComputedStyle(e).color), luminance(behind(e))].sort((a, b) => b - a);
		const ratio = (a + .05) / (b + .05);
		if (ratio < 4.5) faint.push(ratio.toFixed(2) + ' ' + e.textContent.slice(0, 40));
	}
	return faint;
})()`

func TestThePageShowsTheStatus(t *testing.T) {
	r := startRelay(t, busy())
	p := chromium.open(t, r.base, desk)
	p.await(shown)
	for selector, want := range map[string][]string{
		"header": {"kuberelay bastion-1", "v0.3.0, up 3 d"},
		"#warnings": {"The last reload was refused 5 min ago", "did you mean \"read-only\"?", "Credential eks: the last refresh failed", "Peer bastion-2 has another configuration.", "UDP to peer bastion-2 is blocked", "Peer bastion-3 does not answer.",
			"Two instances are named bastion-3, at 10.1.0.3:7946 and 10.1.0.9:7946",
			"Audit events cannot be written, and requests that change something are refused: audit log /var/log/kuberelay/audit.jsonl: no space left on device."},
		"#totals":       {"4 requests, 47 watches, 2 log follows, 1 upgrade"},
		"#clusters":     {"Cluster prod ✓ served", "Cluster staging ✓ served", "‖ drained", "↗ slow start, 40 %", "○ DOWN", "connect: connection refused, 3 of 3 probes failed", "◒ DEGRADED 9 min", "half-open", "dial tcp 10.0.0.12:6443: connect: connection refused", "max 240 ms"},
		"#peers":        {"bastion-1 this one ● alive", "≠ differs", "✗ blocked", "○ dead 10 min ago"},
		"#clients":      {"alice 2 30 0 48 211", "✗ revoked for 22 h more", "45 other configured clients not seen since the start."},
		"#credentials":  {"prod-broker in 340 d ✓ ok", "✗ failing", "prod-cert never, or not known"},
		"#listeners":    {"team 127.0.0.1:8443 shared prod yes bearer, certificate, oidc"},
		"#config":       {"/etc/kuberelay/config.yaml", "5f2c61e8a1b3c4d5", "✗ refused 5 min ago"},
		"#events tbody": {"prod 10.0.0.12:6443 DOWN, was SUSPECT: connect: connection refused", "mallory revoked for 26h"},
	} {
		got := p.text(selector)
		for _, want := range want {
			if !strings.Contains(got, want) {
				t.Errorf("%s shows\n%s\nwant %q in it", selector, got, want)
			}
		}
	}
	if got, want := p.text("#verdict"), "! Attention 1 of 4 API servers ready, all 2 clusters are served."; got != want {
		t.Errorf("the verdict is %q, want %q", got, want)
	}
	if got := p.text("#clusters section:first-child tbody tr:nth-child(2) td:nth-child(7)"); got != "○ DOWN bastion-2 ● READY bastion-3" {
		t.Errorf("peers see %q", got)
	}
	p.quiet(r.base)
}

func TestThePageSaysThatAllIsWellOrNot(t *testing.T) {
	r := startRelay(t, calm())
	p := chromium.open(t, r.base, desk)
	p.await(shown)
	if got, want := p.text("#verdict"), "✓ All is well 3 of 3 API servers ready, the cluster is served."; got != want {
		t.Errorf("the verdict is %q, want %q", got, want)
	}
	p.screenshot("calm")
	failed := calm()
	failed.AdminError = "admin server on 127.0.0.1:9801: gone"
	r.set(failed)
	p.await(`document.querySelector('#warnings').textContent === 'The admin server has failed; the control socket still answers: admin server on 127.0.0.1:9801: gone.'`)
	down := calm()
	down.Clusters[0].Ready, down.Clusters[0].Reason = false, "no API server is usable; 10.0.0.11:6443 is DOWN (connection refused)"
	r.set(down)
	p.await(`document.title.startsWith('✗ cluster prod: no API server is usable')`)
	if got, want := p.text("#verdict"), "✗ Not serving cluster prod: no API server is usable; 10.0.0.11:6443 is DOWN (connection refused)."; got != want {
		t.Errorf("the verdict is %q, want %q", got, want)
	}
	if got := p.text("#say"); !strings.HasPrefix(got, "Not serving: cluster prod") {
		t.Errorf("a screen reader is told %q", got)
	}
	p.quiet(r.base)
}

func TestThePageIsLive(t *testing.T) {
	r := startRelay(t, calm())
	p := chromium.open(t, r.base, desk)
	p.await(shown)
	p.eval("window.loaded = 'once'", nil)
	next := calm()
	up := &next.Clusters[0].Upstreams
	(*up)[1].State, (*up)[1].Reason = "DOWN", "frozen"
	*up = append(*up, admin.UpstreamStatus{ID: "10.0.0.14:6443", State: "SUSPECT", Breaker: "closed"})
	next.Clusters = append(next.Clusters, admin.ClusterStatus{Name: "new", Ready: true})
	next.Events = append([]admin.Event{{At: time.Now().UTC(), Kind: "state", Cluster: "prod", Upstream: "10.0.0.12:6443", Text: "DOWN, was READY: frozen"}}, next.Events...)
	r.set(next)
	p.await("document.querySelectorAll('#clusters tbody tr').length === 4")
	if got := p.text("#clusters"); !strings.Contains(got, "○ DOWN") || !strings.Contains(got, "frozen") || !strings.Contains(got, "Cluster new") {
		t.Errorf("it shows %s", got)
	}
	if got, want := p.text("#say"), "Attention: 2 of 4 API servers ready, all 2 clusters are served. prod 10.0.0.12:6443: DOWN, was READY: frozen."; got != want {
		t.Errorf("a screen reader is told %q, want %q", got, want)
	}
	r.set(calm())
	p.await("document.querySelectorAll('#clusters tbody tr').length === 3 && document.querySelectorAll('#clusters section').length === 1")
	var loaded string
	if p.eval("window.loaded", &loaded); loaded != "once" {
		t.Error("the page was loaded anew")
	}
	p.quiet(r.base)
}

func TestThePageSaysWhenNobodyAnswers(t *testing.T) {
	r := startRelay(t, calm())
	p := chromium.open(t, r.base, desk)
	p.await(shown)
	r.stop()
	p.await("!document.getElementById('lost').hidden")
	if got := p.text("#lost"); !strings.HasPrefix(got, "Connection lost: nobody answers. What is below is of ") {
		t.Errorf("it says %q", got)
	}
	if got := p.text("#clusters"); !strings.Contains(got, "10.0.0.11:6443") {
		t.Errorf("what was known is gone: %q", got)
	}
	p.screenshot("lost")
	next := calm()
	next.Version = "v0.4.0"
	r.set(next)
	r.start()
	p.await("document.getElementById('lost').hidden && document.getElementById('about').textContent.startsWith('v0.4.0')")
	if got := p.text("#say"); got != "Connected again." {
		t.Errorf("a screen reader is told %q", got)
	}
}

func TestThePageRestsWhileNobodyLooks(t *testing.T) {
	r := startRelay(t, calm())
	p := chromium.open(t, r.base, desk)
	p.await(shown)
	p.eval(`Object.defineProperty(document, 'hidden', { get: () => window.away, configurable: true }); window.away = true; document.dispatchEvent(new Event('visibilitychange'))`, nil)
	p.eval("new Promise(done => setTimeout(done, 200))", nil) // for a question that is under way
	asked := r.asked.Load()
	p.eval("new Promise(done => setTimeout(done, 3000))", nil)
	if n := r.asked.Load(); n != asked {
		t.Errorf("it asked %d times while nobody looked", n-asked)
	}
	p.eval(`window.away = false; document.dispatchEvent(new Event('visibilitychange'))`, nil)
	p.await("true")
	for begin := time.Now(); r.asked.Load() == asked; {
		if time.Since(begin) > deadline {
			t.Fatal("it does not ask when somebody looks again")
		}
		p.eval("new Promise(done => setTimeout(done, 20))", nil)
	}
}

// Nothing in the status is the operator's own word for certain: an API server's
// error, a client's name, a peer's address.
func TestHostileTextStaysText(t *testing.T) {
	const canary = `"><img src=x onerror="window.pwned=1"><script>window.pwned=1</script><svg onload="window.pwned=1"></svg>'; --{{7*7}}`
	s := busy()
	s.Version, s.Node, s.IsolatedReason, s.Isolated = canary, canary, canary, true
	for i := range s.Clusters {
		c := &s.Clusters[i]
		c.Name, c.Reason, c.Policy = fmt.Sprint(canary, i), canary, canary
		for j := range c.Upstreams {
			u := &c.Upstreams[j]
			u.ID, u.Reason, u.LastError, u.State, u.Breaker, u.Source = fmt.Sprint(canary, j), canary, canary, canary, canary, canary
		}
	}
	s.Clusters[0].Ready = false
	s.Listeners[0] = admin.ListenerStatus{Name: canary, Address: canary, Mode: canary, Cluster: canary, Identify: []string{canary}}
	s.Config.File, s.Config.Hash, s.Config.LastReload.Error = canary, canary, canary
	s.Clients[0].Name, s.Credentials[0].Name, s.Credentials[0].Error = canary, canary, canary
	s.Peers = []admin.PeerStatus{
		{Name: canary, Address: canary, State: canary, Version: canary, ConfigHash: canary, KeyIDs: []string{canary}, AdminAddress: canary, UDP: canary,
			Observations: []admin.ObservationStatus{{Cluster: s.Clusters[0].Name, Upstream: s.Clusters[0].Upstreams[0].ID, State: canary}}},
		{Name: "script", State: "alive", AdminAddress: "javascript:window.pwned=1"},
		{Name: "path", State: "alive", AdminAddress: "10.0.0.1:80/evil?x#y"},
		{Name: "userinfo", State: "alive", AdminAddress: "a@evil.example.org:80"},
	}
	s.Events = []admin.Event{{At: time.Now(), Kind: canary, Cluster: canary, Upstream: canary, Client: canary, Text: canary}}
	r := startRelay(t, s)
	p := chromium.open(t, r.base, desk)
	p.await(shown)
	s.Events = append([]admin.Event{{At: time.Now().Add(time.Second), Kind: "state", Text: canary}}, s.Events...)
	r.set(s)
	p.await("document.querySelectorAll('#events tbody tr').length === 2")
	p.screenshot("hostile")
	p.narrow()
	var found struct {
		Pwned, Elements, Times int
		Links                  []string
	}
	p.eval(`({ pwned: window.pwned ?? 0,
		elements: document.querySelectorAll('img, script:not([src="page/main.js"]), iframe, [onerror], [onload], main svg:not(.spark)').length,
		times: document.body.textContent.split('<img src=x onerror=').length - 1,
		links: [...document.querySelectorAll('main a')].map(a => a.href) })`, &found)
	if found.Pwned != 0 || found.Elements != 0 || found.Times < 25 || len(found.Links) != 0 {
		t.Errorf("%+v, want nothing run, no element made, no link, and the text as it is", found)
	}
	p.quiet(r.base)
}

func TestThePageWorksByKeyboard(t *testing.T) {
	s := crowd(120)
	s.Peers = busy().Peers
	r := startRelay(t, s)
	p := chromium.open(t, r.base, desk)
	p.await(shown)
	var path []string
	for range 12 {
		p.press("Tab", 9)
		var at struct {
			Name    string
			Visible bool
		}
		p.eval(`(() => { const e = document.activeElement, s = getComputedStyle(e), r = e.getBoundingClientRect();
			return { name: e === document.body ? 'body' : e.textContent, visible: s.outlineStyle === 'solid' && parseFloat(s.outlineWidth) >= 2 && r.width > 0 && r.left >= 0 } })()`, &at)
		if at.Name == "body" {
			break
		}
		if !at.Visible {
			t.Errorf("the focus on %q cannot be seen", at.Name)
		}
		path = append(path, at.Name)
		if at.Name == "Show all 120" {
			break
		}
	}
	if got := strings.Join(path, ", "); got != "To the status, bastion-2, Show all 120" {
		t.Fatalf("Tab leads to %s", got)
	}
	p.press("Enter", 13)
	p.await("document.querySelectorAll('#clients tbody tr').length === 120")
	before := r.asked.Load()
	p.await(fmt.Sprintf("document.activeElement.textContent === 'Show 50' && %d >= 0", before))
	p.eval("new Promise(done => setTimeout(done, 2500))", nil)
	if r.asked.Load() == before {
		t.Error("it was not updated meanwhile")
	}
	p.await("document.activeElement.textContent === 'Show 50' && document.querySelectorAll('#clients tbody tr').length === 120")
	p.quiet(r.base)
}

// What a screen reader is given: tables with names and headers in whichever
// layout, headings in order, live regions.
func TestThePageHasItsMeaningWithoutSight(t *testing.T) {
	r := startRelay(t, busy())
	for name, v := range map[string]view{"desk": desk, "phone": phone} {
		t.Run(name, func(t *testing.T) {
			p := chromium.open(t, r.base, v)
			p.await(shown)
			var tree struct {
				Nodes []struct {
					Ignored    bool
					Role, Name struct{ Value any }
				}
			}
			p.do("Accessibility.getFullAXTree", nil, &tree)
			count := map[string]int{}
			names := map[string]bool{}
			for _, n := range tree.Nodes {
				if n.Ignored {
					continue
				}
				role, name := fmt.Sprint(n.Role.Value), fmt.Sprint(n.Name.Value)
				count[role]++
				names[role+": "+name] = true
				if (role == "table" || role == "image" || role == "link" || role == "button") && strings.TrimSpace(name) == "" {
					t.Errorf("a %s has no name", role)
				}
			}
			for role, want := range map[string]int{"table": 7, "rowheader": 4 + 3 + 3 + 3 + 2 + 6, "image": 3, "main": 1, "status": 1, "banner": 1, "contentinfo": 1, "region": 9} {
				if count[role] != want {
					t.Errorf("%d × %s, want %d", count[role], role, want)
				}
			}
			for _, want := range []string{"table: API servers of cluster prod", "columnheader: State", "heading: Cluster prod served sticky", "region: Peers"} {
				if !names[want] && (!v.phone || !strings.HasPrefix(want, "columnheader")) {
					t.Errorf("there is no %q in %q", want, slices.DeleteFunc(slices.Sorted(maps.Keys(names)), func(n string) bool { return !strings.HasPrefix(n, want[:7]) }))
				}
			}
		})
	}
}
