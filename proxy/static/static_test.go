package static_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kuberelay/kuberelay/proxy/static"
)

// site makes a directory to serve, with secrets in it and beside it.
func site(t *testing.T) string {
	t.Helper()
	top := t.TempDir()
	dir := filepath.Join(top, "www")
	for name, content := range map[string]string{
		"outside.txt":              "outside",
		"www/hello.txt":            "hello\n",
		"www/app/index.html":       "<p>app</p>",
		"www/files/a b.txt":        "spaced",
		"www/files/.secret":        "secret",
		"www/.env":                 "secret",
		"www/.git/config":          "secret",
		"www/files/.hidden/in.txt": "secret",
	} {
		path := filepath.Join(top, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{
		"up.txt":   "../outside.txt",
		"abs.txt":  filepath.Join(top, "outside.txt"),
		"updir":    "..",
		"in.txt":   "hello.txt",
		"dangling": "nowhere",
	} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func serve(h http.Handler, method, path string) *http.Response {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestFiles(t *testing.T) {
	h, err := static.New(site(t), "/static/")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, path string
		code       int
		body       string // part of it
	}{
		{"a file", "/static/hello.txt", 200, "hello\n"},
		{"a name with a space", "/static/files/a%20b.txt", 200, "spaced"},
		{"a directory's index", "/static/app/", 200, "<p>app</p>"},
		{"a directory without its slash", "/static/app", 301, ""},
		{"an index by its name", "/static/app/index.html", 301, ""},
		{"a listing", "/static/files/", 200, `<a href="a%20b.txt">a b.txt</a>`},
		{"a link within the directory", "/static/in.txt", 200, "hello\n"},
		{"a link that leads out", "/static/up.txt", 404, "404 page not found\n"},
		{"an absolute link that leads out", "/static/abs.txt", 404, "404 page not found\n"},
		{"a path through a link that leads out", "/static/updir/outside.txt", 404, "404 page not found\n"},
		{"a link to nothing", "/static/dangling", 404, "404 page not found\n"},
		{"dots that lead out", "/static/../outside.txt", 404, "404 page not found\n"},
		{"encoded dots that lead out", "/static/%2e%2e/outside.txt", 404, "404 page not found\n"},
		{"a hidden file", "/static/.env", 404, "404 page not found\n"},
		{"a file in a hidden directory", "/static/.git/config", 404, "404 page not found\n"},
		{"a hidden file further down", "/static/files/.secret", 404, "404 page not found\n"},
		{"a path outside the prefix", "/other/hello.txt", 404, "404 page not found\n"},
		{"a missing file", "/static/nope", 404, "404 page not found\n"},
		{"a NUL byte", "/static/hello.txt%00", 404, "404 page not found\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := serve(h, "GET", tt.path)
			if got.StatusCode != tt.code {
				t.Errorf("GET %s: %s, want %d", tt.path, got.Status, tt.code)
			}
			if b := body(t, got); !strings.Contains(b, tt.body) {
				t.Errorf("GET %s: body %q, want %q in it", tt.path, b, tt.body)
			}
		})
	}
}

func TestListingsLeaveOutHiddenFiles(t *testing.T) {
	h, err := static.New(site(t), "/static/")
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/static/files/": "<!doctype html>\n<meta name=\"viewport\" content=\"width=device-width\">\n<pre>\n<a href=\"a%20b.txt\">a b.txt</a>\n</pre>\n",
	} {
		if diff := cmp.Diff(want, body(t, serve(h, "GET", path))); diff != "" {
			t.Errorf("GET %s (-want +got):\n%s", path, diff)
		}
	}
	if top := body(t, serve(h, "GET", "/static/")); strings.Contains(top, `href="."`) || strings.Contains(top, ".env") || !strings.Contains(top, "hello.txt") {
		t.Errorf("listing of the top:\n%s", top)
	}
}

func TestMethods(t *testing.T) {
	h, err := static.New(site(t), "/static/")
	if err != nil {
		t.Fatal(err)
	}
	head := serve(h, "HEAD", "/static/hello.txt")
	if head.StatusCode != 200 || head.ContentLength != 6 || body(t, head) != "" {
		t.Errorf("HEAD: %s, length %d; want 200, 6 and no body", head.Status, head.ContentLength)
	}
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS", "get", "FOO"} {
		got := serve(h, method, "/static/hello.txt")
		var status metav1.Status
		if err := json.Unmarshal([]byte(body(t, got)), &status); err != nil {
			t.Fatalf("%s: %v", method, err)
		}
		if got.StatusCode != 405 || got.Header.Get("Allow") != "GET, HEAD" || got.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %s %v", method, got.Status, got.Header)
		}
		want := metav1.Status{
			TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
			Status:   "Failure",
			Message:  "static files can be read with GET and HEAD, not with " + method,
			Reason:   "MethodNotAllowed",
			Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{
				{Type: "StaticFilesReadOnly", Message: "the path is below the static prefix of this listener"},
			}},
			Code: 405,
		}
		if diff := cmp.Diff(want, status); diff != "" {
			t.Errorf("%s (-want +got):\n%s", method, diff)
		}
	}
}

func TestDirectoryThatIsNotThere(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "www")
	h, err := static.New(dir, "/static/")
	if err == nil || err.Error() != "static file directory: stat "+dir+": no such file or directory" {
		t.Errorf("New: %v", err)
	}
	if got := serve(h, "GET", "/static/hello.txt"); got.StatusCode != 404 {
		t.Errorf("before the directory exists: %s, want 404", got.Status)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "hello.txt"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if got := serve(h, "GET", "/static/hello.txt"); got.StatusCode != 200 {
		t.Errorf("once the directory exists: %s, want 200", got.Status)
	}

	h, err = static.New(filepath.Join(dir, "hello.txt"), "/static/")
	if err == nil || !strings.HasSuffix(err.Error(), "hello.txt is not a directory") {
		t.Errorf("New on a file: %v", err)
	}
	if got := serve(h, "GET", "/static/"); got.StatusCode != 404 {
		t.Errorf("a file as the directory: %s, want 404", got.Status)
	}
}

// Opening a Unix socket fails, and opening a pipe would never return.
func TestSpecialFilesAreNotFound(t *testing.T) {
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	h, err := static.New(dir, "/static/")
	if err != nil {
		t.Fatal(err)
	}
	if got := serve(h, "GET", "/static/s"); got.StatusCode != 404 {
		t.Errorf("a socket: %s, want 404", got.Status)
	}
}

// FuzzPath asks for whatever a client can ask for: nothing but the two public
// files may come back.
func FuzzPath(f *testing.F) {
	dir := f.TempDir()
	top := filepath.Join(dir, "www")
	for name, content := range map[string]string{"outside": "SECRET", "www/a": "public", "www/b/c": "public", "www/.d": "SECRET", "www/b/.e/f": "SECRET"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			f.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			f.Fatal(err)
		}
	}
	if err := os.Symlink("..", filepath.Join(top, "up")); err != nil {
		f.Fatal(err)
	}
	h, err := static.New(top, "/static/")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range []string{"a", "b/", "../outside", "up/outside", ".d", "b/.e/f", "./a", "b/../.d", "/.d", "b//.e/f", "a\x00", `..\outside`} {
		f.Add("/static/" + path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", "/", nil)
		r.URL.Path = path
		h.ServeHTTP(w, r)
		switch got := w.Body.String(); {
		case strings.Contains(got, "SECRET"):
			t.Errorf("GET %q: a file that is none of the client's business", path)
		case w.Code == 200 && got != "public" && !strings.HasPrefix(got, "<!doctype html>"):
			t.Errorf("GET %q: 200 %q", path, got)
		case w.Code == 200 && (strings.Contains(got, `".`) || strings.Contains(got, "outside")):
			t.Errorf("GET %q lists a hidden or outer file: %q", path, got)
		case w.Code >= 500:
			t.Errorf("GET %q: %d %q", path, w.Code, got)
		}
	})
}
