package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// socketServer answers on a Unix socket.
func socketServer(t *testing.T, h http.HandlerFunc) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "api.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(h)
	s.Listener.Close()
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	return socket
}

const given = `{"token":"kuberelay-m1.x.y","expirationTimestamp":"2026-01-02T12:10:00Z","client":"alice"}`

func TestCredential(t *testing.T) {
	asked := make(chan string, 10)
	socket := socketServer(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked <- fmt.Sprintf("%s %s %q %s", r.Method, r.URL.Path, body, r.Header.Get("Authorization"))
		io.WriteString(w, given)
	})
	for _, tc := range []struct {
		name, info, version string
	}{
		{"called by hand", "", "client.authentication.k8s.io/v1"},
		{"v1", `{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","spec":{"interactive":false}}`, "client.authentication.k8s.io/v1"},
		{"v1beta1", `{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1beta1"}`, "client.authentication.k8s.io/v1beta1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cmd := command(t, "kuberelay", "credential", "--socket", socket)
			cmd.Env = append(cmd.Env, "KUBERNETES_EXEC_INFO="+tc.info)
			r := execute(t, cmd)
			var got struct {
				Kind, APIVersion string
				Status           struct{ Token, ExpirationTimestamp string }
			}
			if err := json.Unmarshal([]byte(r.stdout), &got); err != nil || r.code != 0 || r.stderr != "" {
				t.Fatalf("%+v, %v", r, err)
			}
			if got.Kind != "ExecCredential" || got.APIVersion != tc.version || got.Status.Token != "kuberelay-m1.x.y" || got.Status.ExpirationTimestamp != "2026-01-02T12:09:30Z" {
				t.Errorf("%+v, want the token in %s, until half a minute before its end", got, tc.version)
			}
			if want := `POST /kuberelay/v1/credential "" `; receive(t, "request", asked) != want {
				t.Errorf("asked otherwise than %q", want)
			}
		})
	}
}

func TestCredentialSaysWhatToDo(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	answer := func(code int, body string) string {
		return socketServer(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code); io.WriteString(w, body) })
	}
	status := `{"kind":"Status","message":"uid 7 is\nno client"}`
	for _, tc := range []struct {
		name, socket, info, want string
	}{
		{"nobody there", none, "", "nobody answers on " + none + ": is kuberelay running?"},
		{"no client", answer(401, status), "", fmt.Sprintf("user ID %d is not a client of kuberelay on ", os.Getuid())},
		{"the reason", answer(403, status), "", "ask the operator (HTTP status 403: uid 7 is no client)"},
		{"another listener", answer(404, ""), "", "gives no tokens: want the socket of a shared listener that identifies by uid"},
		{"a process that cannot", answer(503, status), "", "HTTP status 503: uid 7 is no client"},
		{"another program", answer(200, "<html>hunter2"), "", "does not answer as kuberelay does"},
		{"no expiry", answer(200, `{"token":"hunter2"}`), "", "does not answer as kuberelay does"},
		{"a token of two lines", answer(200, `{"token":"hunter2\nx","expirationTimestamp":"2026-01-02T12:10:00Z"}`), "", "does not answer as kuberelay does"},
		{"an endless answer", answer(200, given+strings.Repeat(" ", maxCredential)), "", "more than 65536 bytes"},
		{"an old protocol", none, `{"apiVersion":"client.authentication.k8s.io/v1alpha1"}`, `asks for apiVersion "client.authentication.k8s.io/v1alpha1": want client.authentication.k8s.io/v1 or`},
		{"no protocol", none, `{`, "KUBERNETES_EXEC_INFO is no ExecCredential"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cmd := command(t, "kuberelay", "credential", "--socket", tc.socket)
			cmd.Env = append(cmd.Env, "KUBERNETES_EXEC_INFO="+tc.info)
			r := execute(t, cmd)
			if r.code != exitFailure || r.stdout != "" || !strings.HasPrefix(r.stderr, "error: ") || !strings.Contains(r.stderr, tc.want) {
				t.Errorf("%+v, want exit code 1 and %q", r, tc.want)
			}
			if strings.Count(r.stderr, "\n") != 1 || strings.Contains(r.stderr, "hunter2") {
				t.Errorf("standard error %q, want one line with nothing secret", r.stderr)
			}
		})
	}
}

// Whatever the socket answers becomes a token that is fit for a header, or an
// error without it.
func FuzzParseCredential(f *testing.F) {
	for _, seed := range []string{given, "{}", `{"token":"a b","expirationTimestamp":"2026-01-02T12:10:00Z"}`, `{"token":"é"}`, "null"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		c, err := parseCredential("s", body)
		if err != nil {
			return
		}
		if !regexp.MustCompile(`^[!-~]+$`).MatchString(c.token) || c.expires.IsZero() {
			t.Errorf("%q: %q until %v", body, c.token, c.expires)
		}
	})
}

func TestToken(t *testing.T) {
	r := execute(t, command(t, "kuberelay", "token", "--name", "alice"))
	m := regexp.MustCompile(`\n  (kuberelay_[\w-]{43})\n(?s:.*)- \{tokenSHA256: "([0-9a-f]{64})"\}\n$`).FindStringSubmatch(r.stdout)
	if m == nil || r.code != 0 || r.stderr != "" || !strings.Contains(r.stdout, "for alice alone") {
		t.Fatalf("%+v, want a token and its line", r)
	}
	if sum := sha256.Sum256([]byte(m[1])); hex.EncodeToString(sum[:]) != m[2] {
		t.Errorf("%s is not the SHA-256 of the token", m[2])
	}
	if again := execute(t, command(t, "kuberelay", "token", "--name", "alice")); again.stdout == r.stdout {
		t.Error("the same token twice")
	}
}
