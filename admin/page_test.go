package admin

import (
	"io/fs"
	"regexp"
	"strings"
	"testing"
)

func TestBrowsersGetTheStatusPage(t *testing.T) {
	s := newServer(t, nil)
	r := ask(s, "GET", "/", "Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
	body := bodyOf(t, r)
	if r.StatusCode != 200 || r.Header.Get("Content-Type") != "text/html; charset=utf-8" || !strings.HasPrefix(body, "<!DOCTYPE html>") {
		t.Fatalf("%d %v %.100q", r.StatusCode, r.Header, body)
	}
	policy := r.Header.Values("Content-Security-Policy")
	if len(policy) != 1 || !strings.HasPrefix(policy[0], "default-src 'none'; script-src 'self'; ") || strings.Contains(policy[0], "unsafe") {
		t.Errorf("Content-Security-Policy is %q", policy)
	}
	for name, want := range map[string]string{"X-Frame-Options": "DENY", "Vary": "Accept", "Cross-Origin-Opener-Policy": "same-origin", "Cache-Control": "no-store"} {
		if got := r.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for _, m := range regexp.MustCompile(`(?:src|href)="(page/[^"]*)"`).FindAllStringSubmatch(body, -1) {
		if r := ask(s, "GET", "/"+m[1]); r.StatusCode != 200 || r.Header.Get("Content-Type") == "" {
			t.Errorf("%s: %d %v", m[1], r.StatusCode, r.Header)
		}
	}
}

func TestThePageIsNothingButItsFiles(t *testing.T) {
	s := newServer(t, nil)
	for _, path := range []string{"/page/", "/page/none.js", "/page/../page.go", "/page/%2e%2e/page.go", "/page/..%2fpage.go", "/page/sub/main.js"} {
		if r := ask(s, "GET", path); r.StatusCode == 200 {
			t.Errorf("%s: %d %.100q", path, r.StatusCode, bodyOf(t, r))
		}
	}
	if r := ask(s, "POST", "/page/main.js"); r.StatusCode != 405 {
		t.Errorf("POST: %d, want 405", r.StatusCode)
	}
}

// The page has to work where nothing else can be reached, and in a browser that
// keeps to its Content-Security-Policy.
func TestThePageIsSmallAndLoadsNothingForeign(t *testing.T) {
	foreign := regexp.MustCompile(`(?i)(?:src|href)\s*=\s*"(?:https?:)?//|url\(|@import|from '[^.]|import\(`)
	inline := regexp.MustCompile(`(?i)<style|\sstyle=|\son[a-z]+=|<script[^>]*>[^<]`)
	html := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\b|new Function|srcdoc`)
	size := 0
	err := fs.WalkDir(pageFiles, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := pageFiles.ReadFile(path)
		if err != nil {
			return err
		}
		size += len(body)
		for what, pattern := range map[string]*regexp.Regexp{"loads something foreign": foreign, "has inline code": inline, "makes HTML of strings": html} {
			if m := pattern.Find(body); m != nil {
				t.Errorf("%s %s: %q", path, what, m)
			}
		}
		if ext := path[strings.LastIndex(path, "."):]; pageTypes[ext] == "" {
			t.Errorf("%s has no content type", path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if size == 0 || size > 40_000 {
		t.Errorf("the page has %d bytes, want at most 40,000", size)
	}
}

func TestALinkFromElsewhereLeadsToThePageAndNothingElse(t *testing.T) {
	s := newServer(t, nil)
	navigation := []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Accept", "text/html"}
	for name, c := range map[string]struct {
		method, path string
		header       []string
		code         int
	}{
		"a link that somebody follows":  {"GET", "/", navigation, 200},
		"a link to the status document": {"GET", "/api/v1/status", navigation, 403},
		"a frame":                       {"GET", "/", append(navigation[:5:5], "iframe"), 403},
		"a fetch":                       {"GET", "/", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "empty"}, 403},
		"a form":                        {"POST", "/", append(navigation[:6:6], "Origin", "https://evil.example.org"), 403},
	} {
		if r := ask(s, c.method, c.path, c.header...); r.StatusCode != c.code {
			t.Errorf("%s: %d, want %d", name, r.StatusCode, c.code)
		}
	}
}
