package main

import (
	"context"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

func TestProxyErrorsAreKubectls(t *testing.T) {
	dir := t.TempDir()
	malformed := filepath.Join(dir, "malformed")
	write(t, malformed, "clusters: {")
	const see = "\nSee 'kuberelay proxy --help' for usage.\n"
	for _, tc := range []struct {
		name string
		args []string
		code int
		want string // all of standard error, or a regular expression: ^…$
	}{
		{"an unknown flag", []string{"--bogus"}, 1, "error: unknown flag: --bogus" + see},
		{"a duration without a unit", []string{"--keepalive", "5"}, 1, `^error: invalid argument "5" for "--keepalive" flag: .*` + see + `$`},
		{"a port that is a word", []string{"-p", "x"}, 1, `^error: invalid argument "x" for "-p, --port" flag: .*` + see + `$`},
		{"a flag without its value", []string{"-u"}, 1, "error: flag needs an argument: 'u' in -u" + see},
		{"a bad pattern", []string{"--accept-hosts=["}, 255, `^F\d{4} [\d:.]{15} +\d+ \w+\.go:\d+\] Error compiling re: error parsing regexp: missing closing \]: ` + "`\\[`" + ` \(in --accept-hosts, .*\)\n$`},
		{"a socket and a port", []string{"--unix-socket=s", "--port=9000"}, 1, "error: cannot set --unix-socket and --port at the same time\n"},
		{"a port that is none", []string{"--port=70000"}, 1, "error: listen tcp: address 70000: invalid port\n"},
		{"an absent kubeconfig", []string{"--kubeconfig=/nonexistent/config"}, 1, "error: stat /nonexistent/config: no such file or directory\n"},
		{"a malformed kubeconfig", []string{"--kubeconfig=" + malformed}, 1, `^error: error loading config file "` + malformed + `": .*\n$`},
		{"an unknown context", []string{"--context=nope"}, 1, "error: context \"nope\" does not exist\n"},
		{"an unknown cluster", []string{"--cluster=nope"}, 1, "error: cluster \"nope\" does not exist\n"},
		{"an unknown user", []string{"--user=nope"}, 1, "error: auth info \"nope\" does not exist\n"},
		{"a server without a scheme", []string{"-s", "127.0.0.1:18080"}, 1, `^Unable to connect to the server: first path segment in URL cannot contain colon \(server "127.0.0.1:18080" .*\)\n$`},
		{"two ways to authenticate", []string{"--username=a", "--password=hunter2", "--token=b"}, 1, "error: more than one authentication method found for ; found [token basicAuth], only one is allowed\n"},
		{"an absent certificate authority", []string{"--certificate-authority=/nonexistent/ca"}, 1, "error: unable to read certificate-authority /nonexistent/ca for  due to open /nonexistent/ca: no such file or directory\n"},
		{"a group of nobody", []string{"--as-group=g"}, 1, "error: requesting uid, groups or user-extra for  without impersonating a user\n"},
		{"an extra without a value", []string{"--as=a", "--as-user-extra=k"}, 1, "error: --as-user-extra: \"k\": want KEY=VALUE\n"},
		{"two bad values", []string{"--servers=h:1", "--policy=best"}, 1, `^error: --servers: "h:1": .*\nerror: --policy: "best": .*\n$`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := execute(t, command(t, "kuberelay", append([]string{"proxy", "--port=0"}, tc.args...)...))
			if r.code != tc.code || !same(tc.want, r.stderr) {
				t.Errorf("exit code %d, standard error:\n%s\nwant %d:\n%s", r.code, r.stderr, tc.code, tc.want)
			}
			if r.stdout != "" {
				t.Errorf("standard output %q, want none", r.stdout)
			}
		})
	}
}

// same compares text with what is wanted, which is a regular expression if it
// begins with ^.
func same(want, text string) bool {
	if strings.HasPrefix(want, "^") {
		return regexp.MustCompile(want).MatchString(text)
	}
	return want == text
}

func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	r := execute(t, command(t, "kuberelay", "proxy", "--port="+port))
	if want := "error: listen tcp " + l.Addr().String() + ": bind: address already in use\n"; r.code != 1 || !strings.HasSuffix(r.stderr, want) {
		t.Errorf("exit code %d, standard error %q, want 1, %q", r.code, r.stderr, want)
	}
}

func TestServesAndEndsWithASignal(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "path "+r.URL.Path)
	}))
	defer upstream.Close()
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		t.Run(s.String(), func(t *testing.T) {
			p := serveWith(t, "--port=0", "--server="+upstream.URL, "surplus", "arguments")
			if !regexp.MustCompile(`^127\.0\.0\.1:[1-9]\d*$`).MatchString(p.address) {
				t.Errorf("address %q, want 127.0.0.1 and the port", p.address)
			}
			if got := get(t, http.DefaultTransport, "http://"+p.address+"/version"); got != "path /version" {
				t.Errorf("GET /version: %q, want the API server's answer", got)
			}
			p.signal(s)
			if r := p.wait(); r.code != 0 || r.stdout != "" {
				t.Errorf("exit code %d, more output %q, want 0 and none; standard error:\n%s", r.code, r.stdout, r.stderr)
			}
		})
	}
}

// TestStaysUnderNohup ignores a hangup where nohup asked for that.
func TestStaysUnderNohup(t *testing.T) {
	nohup, err := exec.LookPath("nohup")
	if err != nil {
		t.Fatal(err)
	}
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") }))
	defer upstream.Close()
	cmd := command(t, "kuberelay", "proxy", "--port=0", "--server="+upstream.URL)
	cmd.Path, cmd.Args = nohup, append([]string{"nohup", cmd.Path}, cmd.Args[1:]...)
	p := serve(t, cmd)
	p.signal(syscall.SIGHUP)
	if got := get(t, http.DefaultTransport, "http://"+p.address+"/version"); got != "ok" {
		t.Errorf("GET /version: %q, want the API server's answer", got)
	}
	p.signal(syscall.SIGTERM)
	if r := p.wait(); r.code != 0 {
		t.Errorf("exit code %d, want 0; standard error:\n%s", r.code, r.stderr)
	}
}

func TestServesOnASocket(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") }))
	defer upstream.Close()
	path := filepath.Join(t.TempDir(), "s")
	p := serveWith(t, "--unix-socket="+path, "--server="+upstream.URL)
	if p.address != path {
		t.Errorf("address %q, want %q", p.address, path)
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}}
	defer transport.CloseIdleConnections()
	if got := get(t, transport, "http://localhost/version"); got != "ok" {
		t.Errorf("GET /version: %q, want the API server's answer", got)
	}
	p.signal(syscall.SIGTERM)
	if r := p.wait(); r.code != 0 {
		t.Errorf("exit code %d, want 0; standard error:\n%s", r.code, r.stderr)
	}
}

func TestNoKubeconfigIsLocalhost(t *testing.T) {
	p := serveWith(t, "--port=0", "--discover-servers=false")
	p.signal(syscall.SIGTERM)
	if r := p.wait(); r.code != 0 {
		t.Errorf("exit code %d, want 0; standard error:\n%s", r.code, r.stderr)
	}
}

// hanging is an API server that answers nothing but its health until it closes.
func hanging(t *testing.T) (url string, asked <-chan struct{}) {
	c, end := make(chan struct{}, 1), make(chan struct{})
	upstream := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/hang" {
			return
		}
		c <- struct{}{}
		select {
		case <-end:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(func() { close(end); upstream.Close() })
	return upstream.URL, c
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	url, asked := hanging(t)
	p := serveWith(t, "--port=0", "--server="+url, "--grace-period=1h")
	ended := make(chan struct{})
	go func() { defer close(ended); ask("http://" + p.address + "/hang") }()
	receive(t, "request upstream", asked)
	p.signal(syscall.SIGTERM)
	p.stderr.await(t, "shutting down")
	p.signal(syscall.SIGTERM)
	if r := p.wait(); r.code != 128+15 {
		t.Errorf("exit code %d, want 143; standard error:\n%s", r.code, r.stderr)
	}
	receive(t, "end of the request", ended)
}

func TestGracePeriodCutsWhatIsLeft(t *testing.T) {
	url, asked := hanging(t)
	p := serveWith(t, "--port=0", "--server="+url, "--grace-period=100ms")
	ended := make(chan struct{})
	go func() { defer close(ended); ask("http://" + p.address + "/hang") }()
	receive(t, "request upstream", asked)
	p.signal(syscall.SIGTERM)
	if r := p.wait(); r.code != 0 || !strings.Contains(r.stderr, `"msg":"the grace period ended with requests in flight","error":`) {
		t.Errorf("exit code %d, want 0 and a warning of the request; standard error:\n%s", r.code, r.stderr)
	}
	receive(t, "end of the request", ended)
}

func TestNoSecretInTheLogAtAnyVerbosity(t *testing.T) {
	upstream := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Header.Get("Authorization"))
	}))
	defer upstream.Close()
	ca := filepath.Join(t.TempDir(), "ca.crt")
	write(t, ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: upstream.Certificate().Raw})))
	p := serveWith(t, "--port=0", "--server="+upstream.URL, "--certificate-authority="+ca, "--token=hunter2", "-v=9", "--access-log")
	if got := get(t, http.DefaultTransport, "http://"+p.address+"/api"); got != "Bearer hunter2" {
		t.Errorf("Authorization upstream: %q, want the token", got)
	}
	req, err := http.NewRequest(http.MethodGet, "http://"+p.address+"/api", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer hunter3")
	if res, err := http.DefaultTransport.RoundTrip(req); err != nil {
		t.Fatal(err)
	} else {
		res.Body.Close()
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	p.signal(syscall.SIGTERM)
	r := p.wait()
	if r.code != 0 || !strings.Contains(r.stderr, `"level":"info"`) {
		t.Errorf("exit code %d, want 0 and a log; standard error:\n%s", r.code, r.stderr)
	}
	if strings.Contains(r.stderr, "hunter") {
		t.Errorf("standard error holds a token:\n%s", r.stderr)
	}
}

func TestKubeconfigThatIsMissingIsNamed(t *testing.T) {
	cmd := command(t, "kuberelay", "proxy", "--port=70000")
	cmd.Env = append(cmd.Env, "KUBECONFIG=/nonexistent/config")
	if r := execute(t, cmd); !strings.Contains(r.stderr, "Config not found: /nonexistent/config") {
		t.Errorf("standard error %q, want the file named", r.stderr)
	}
}

func TestUnheededFlagsWarnWhereKubectlHeedsThem(t *testing.T) {
	r := execute(t, command(t, "kuberelay", "proxy", "--port=70000", "--match-server-version", "--profile=cpu", "-n", "ns",
		"--cache-dir=/x", "--warnings-as-errors", "--disable-compression", "--vmodule=a=1", "--request-timeout=1s", "--log_flush_frequency=1s"))
	for _, want := range []string{"--match-server-version has no effect", "--profile has no effect", "invalid port"} {
		if !strings.Contains(r.stderr, want) {
			t.Errorf("standard error %q, want %q in it", r.stderr, want)
		}
	}
	if n := strings.Count(r.stderr, "\n"); n != 3 {
		t.Errorf("standard error has %d lines, want 3:\n%s", n, r.stderr)
	}
}

func get(t *testing.T, transport http.RoundTripper, url string) string {
	t.Helper()
	res, err := (&http.Client{Transport: transport}).Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// ask makes a request of which only that it ends matters.
func ask(url string) {
	transport := &http.Transport{DisableKeepAlives: true}
	if res, err := (&http.Client{Transport: transport}).Get(url); err == nil {
		res.Body.Close()
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
