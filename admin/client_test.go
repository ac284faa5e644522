package admin

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func askHandler(h http.Handler, method, target, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Host = "localhost"
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestClientAndControlAgree(t *testing.T) {
	c := newControlled(t, nil)
	client := NewClient(c.socket)
	defer client.Close()
	ctx := t.Context()

	status, err := client.Status(ctx)
	if err != nil || status.Version != "v1.2.3" {
		t.Errorf("Status: %+v, %v", status, err)
	}
	changed, err := client.Reload(ctx, false)
	if err != nil || cmp.Diff([]string{"client bob added"}, changed) != "" {
		t.Errorf("Reload: %q, %v", changed, err)
	}
	revoked, err := client.Revoke(ctx, "alice", 24*time.Hour, "lost")
	if want := (Revoked{Client: "alice", Cut: 3, Until: noon.Add(24 * time.Hour)}); err != nil || revoked != want {
		t.Errorf("Revoke: %+v, %v, want %+v", revoked, err, want)
	}
	forever, err := client.Revoke(ctx, "alice", 0, "")
	if want := (Revoked{Client: "alice", Cut: 3}); err != nil || forever != want {
		t.Errorf("Revoke without a time: %+v, %v, want %+v", forever, err, want)
	}
	for name, err := range map[string]error{
		"Drain": client.Drain(ctx, "prod", "a"), "Undrain": client.Undrain(ctx, "prod", "a"),
		"Unrevoke": client.Unrevoke(ctx, "alice"),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := len(c.done); n != 6 {
		t.Errorf("%d operations were done, want 6", n)
	}
}

func TestEveryProblemOfAReloadArrives(t *testing.T) {
	c := newControlled(t, func(o *ControlOptions) {
		o.Operations.Reload = func(context.Context, bool) ([]string, error) {
			return nil, errors.Join(errors.New("k.yaml:3: a"), errors.Join(errors.New("k.yaml:4: b"), errors.New("k.yaml:5: c")))
		}
	})
	client := NewClient(c.socket)
	defer client.Close()
	changed, err := client.Reload(t.Context(), false)
	refused, ok := errors.AsType[*RefusedError](err)
	if !ok || refused.Code != 422 || changed != nil || cmp.Diff([]string{"k.yaml:3: a", "k.yaml:4: b", "k.yaml:5: c"}, refused.Problems) != "" {
		t.Errorf("Reload: %q, %#v, want three problems", changed, err)
	}
	if err == nil || err.Error() != "k.yaml:3: a\nk.yaml:4: b\nk.yaml:5: c" {
		t.Errorf("error %q, want a line for each problem", err)
	}
}

func TestAddressesOfAdminServers(t *testing.T) {
	for address, want := range map[string]string{
		"127.0.0.1:9801": "http://127.0.0.1:9801", "http://localhost:9801/": "http://localhost:9801", "[::1]:9801": "http://[::1]:9801",
		"": "", "h": "", ":9801": "", "https://h:1": "", "h:1/metrics": "", "u:p@h:1": "", "h:x": "", "h:1?a": "",
	} {
		c, err := NewAddressClient(address)
		switch {
		case want == "" && err == nil:
			t.Errorf("%q: %s, want an error", address, c.base)
		case want != "" && (err != nil || c.base != want):
			t.Errorf("%q: %v, want %s", address, err, want)
		}
	}
}

func TestAnAddressServesTheStatus(t *testing.T) {
	s := newServer(t, nil)
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown(t.Context())
	client, err := NewAddressClient(s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if status, err := client.Status(t.Context()); err != nil || status.Version != "v1.2.3" {
		t.Errorf("Status: %+v, %v", status, err)
	}
	if err := client.Unrevoke(t.Context(), "alice"); err == nil {
		t.Error("an admin address lifted a revocation")
	}
}

func TestNobodyAnswers(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale")
	l, err := net.Listen("unix", stale)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	for path, want := range map[string]string{filepath.Join(dir, "none"): "there is no socket", stale: "nobody answers on"} {
		_, err := NewClient(path).Status(t.Context())
		if !errors.Is(err, ErrNotRunning) || !strings.Contains(err.Error(), want+" "+path) {
			t.Errorf("%v, want ErrNotRunning with %q", err, want)
		}
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tcp.Close()
	client, err := NewAddressClient(tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Status(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("%v, want ErrNotRunning", err)
	}
}

func TestPermissionIsExplained(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Chmod(socket, 0o660); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(socket)
	if err != nil {
		t.Fatal(err)
	}
	denied := &net.OpError{Op: "dial", Net: "unix", Err: os.NewSyscallError("connect", syscall.EACCES)}
	text := NewClient(socket).unreachable(denied).Error()
	if want := "the socket " + socket + " is mode 0660 of group " + groupOf(info) + ": run with sudo, or join that group"; !strings.HasPrefix(text, want) {
		t.Errorf("%q, want %q", text, want)
	}
	text = NewClient(filepath.Join(socket, "x")).unreachable(denied).Error()
	if want := "is in a directory that is closed to you"; !strings.Contains(text, want) {
		t.Errorf("%q, want %q", text, want)
	}
}

func TestAnswersOfSomethingElse(t *testing.T) {
	for name, tc := range map[string]struct {
		code int
		body string
		want string
	}{
		"a page":               {200, "<html>", "does not answer as kuberelay does"},
		"a page that is error": {502, "<html>", "does not answer as kuberelay does: HTTP status 502"},
		"another object":       {404, `{"kind":"Pod"}`, "does not answer as kuberelay does: HTTP status 404"},
		"a Status of no cause": {403, `{"kind":"Status","message":"no"}`, "no"},
		"a redirect":           {302, "", "does not answer as kuberelay does: HTTP status 302"},
		"an endless answer":    {200, strings.Repeat(" ", maxAnswer+1), "larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "http://elsewhere.invalid/")
				w.WriteHeader(tc.code)
				io.WriteString(w, tc.body)
			}))
			defer s.Close()
			client, err := NewAddressClient(s.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			if _, err := client.Status(t.Context()); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q", err, tc.want)
			}
		})
	}
}

func TestNotFoundNamesWhatThereIs(t *testing.T) {
	var many []string
	for range 15 {
		many = append(many, "x")
	}
	for _, tc := range []struct {
		err  NotFoundError
		want string
	}{
		{NotFoundError{Kind: "client", Name: "eve"}, `there is no client "eve"`},
		{NotFoundError{Kind: "cluster", Name: "c", Have: []string{"prod"}}, `there is no cluster "c"; there is prod`},
		{NotFoundError{Kind: "client", Name: "eve", Have: many}, `there is no client "eve"; there is x, x, x, x, x, x, x, x, x, x and 5 more`},
	} {
		if got := tc.err.Error(); got != tc.want {
			t.Errorf("%q, want %q", got, tc.want)
		}
	}
}
