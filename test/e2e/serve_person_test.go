package e2e

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// person is one of the people who share a listener: a Unix user of this
// machine, where the tests can be that user, and the bearer of a token.
type person struct {
	name    string
	group   string
	uid     uint32
	isUser  bool // processes of the uid can be started
	token   string
	expires time.Time // of the token; zero: never
	home    string
}

// The uids of the tests' people, who need no account.
const firstUID = 2001

// people makes a person for each name. Only root can be several users: else the
// first person is the user who runs the tests, and the others have tokens.
func people(t *testing.T, names ...string) []*person {
	t.Helper()
	var all []*person
	for i, name := range names {
		p := &person{name: name, group: groupOf(name), token: "kuberelay_" + rand.Text()}
		var err error
		p.home, err = os.MkdirTemp(cacheDir, "home-"+name+"-")
		check(t, err)
		switch {
		case os.Getuid() == 0:
			p.uid, p.isUser = uint32(firstUID+i), true
			check(t, os.Chown(p.home, int(p.uid), int(p.uid)))
		case i == 0:
			p.uid, p.isUser = uint32(os.Getuid()), true
		}
		all = append(all, p)
	}
	return all
}

// groupOf is the group that a person has in the cluster.
func groupOf(name string) string {
	if name == "bob" {
		return "ops"
	}
	return "dev"
}

// client is the person's entry in the configuration, with more fields.
func (p *person) client(policy string, more ...string) string {
	return p.clientWith("broker", fmt.Sprintf("impersonate: {user: %s, groups: [%s]}, ", p.name, p.group), policy, more...)
}

func (p *person) clientWith(credential, impersonate, policy string, more ...string) string {
	fields := append([]string{
		"name: " + p.name,
		"match: [" + p.match() + "]",
		fmt.Sprintf("grants: [{cluster: lab, credential: %s, %spolicy: %s}]", credential, impersonate, policy),
		"limits: {requestsPerSecond: 0, maxInFlight: 0}",
	}, more...)
	return "{" + strings.Join(fields, ", ") + "}"
}

func (p *person) match() string {
	sum := sha256.Sum256([]byte(p.token))
	match := fmt.Sprintf(`{tokenSHA256: "%s"}`, hex.EncodeToString(sum[:]))
	if !p.expires.IsZero() {
		match = fmt.Sprintf(`{tokenSHA256: "%s", expires: %s}`, hex.EncodeToString(sum[:]), p.expires.UTC().Format(time.RFC3339))
	}
	if p.isUser {
		match += fmt.Sprintf(", {uid: %d}", p.uid)
	}
	return match
}

// prepare makes a command one of the person's own.
func (p *person) prepare(cmd *exec.Cmd, env ...string) *exec.Cmd {
	cmd.Dir = p.home
	cmd.Env = append([]string{"HOME=" + p.home, "PATH=" + os.Getenv("PATH")}, env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if p.isUser && os.Getuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: p.uid, Gid: p.uid}
	}
	return cmd
}

// byToken is the TLS listener as the person calls it with their token, kubectl
// included. Each call has connections of its own.
func (s *served) byToken(p *person) *relay {
	s.t.Helper()
	return s.withKubeconfig(p, "token", fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: c,
clusters: [{name: c, cluster: {server: %q, certificate-authority-data: %q}}],
users: [{name: u, user: {token: %q}}],
contexts: [{name: c, context: {cluster: c, user: u}}]}`, s.team, s.authorityData(), p.token))
}

// byUser is the TLS listener as the person calls it with the kubeconfig that
// kuberelay makes, which is the same for everybody: kubectl gets a token for
// its user on the Unix socket.
func (s *served) byUser(p *person) *relay {
	s.t.Helper()
	if !p.isUser {
		return s.byToken(p)
	}
	return s.withKubeconfig(p, "user", s.must("kubeconfig", "--listener=team", "--server="+strings.TrimPrefix(s.team, "https://"),
		"--certificate-authority="+cluster.CAFile(), "--command="+kuberelay))
}

// byUID is the plain listener, where the person is known by their uid alone.
func (s *served) byUID(p *person) *relay {
	s.t.Helper()
	if !p.isUser {
		return s.byToken(p)
	}
	return s.withKubeconfig(p, "uid", s.must("kubeconfig", "--listener=local", "--server="+strings.TrimPrefix(s.local, "http://")))
}

func (s *served) withKubeconfig(p *person, name, text string) *relay {
	s.t.Helper()
	t := s.t.(*testing.T)
	path := filepath.Join(p.home, name+".kubeconfig")
	check(t, os.WriteFile(path, []byte(text), 0o600))
	program := kubectlPath
	if p.isUser && os.Getuid() == 0 {
		check(t, os.Chown(path, int(p.uid), int(p.uid)))
		var err error
		program, err = sharedKubectl()
		check(t, err)
	}
	config := cluster.TLSConfig()
	config.Certificates = nil
	transport := &http.Transport{TLSClientConfig: config, MaxIdleConnsPerHost: 256, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	r := *s.relay
	r.URL = s.team
	r.as = &caller{
		token: p.token,
		http:  &http.Client{Transport: transport},
		kubectl: func(ctx context.Context, args ...string) *exec.Cmd {
			return p.prepare(exec.CommandContext(ctx, program, args...), "KUBECONFIG="+path)
		},
	}
	return &r
}

// authorityData is the lab's CA, as a kubeconfig has it.
func (s *served) authorityData() string {
	s.t.Helper()
	pem, err := os.ReadFile(cluster.CAFile())
	check(s.t.(*testing.T), err)
	return base64.StdEncoding.EncodeToString(pem)
}

// sharedKubectl is a copy of kubectl, and sharedSelf one of this program, where
// other users can run them.
var (
	sharedKubectl = sync.OnceValues(func() (string, error) { return shareProgram(kubectlPath, "kubectl") })
	sharedSelf    = sync.OnceValues(func() (string, error) {
		self, err := os.Executable()
		if err != nil {
			return "", err
		}
		return shareProgram(self, "e2e.test")
	})
)

func shareProgram(from, name string) (to string, err error) {
	source, err := os.Open(from)
	if err != nil {
		return "", err
	}
	defer source.Close()
	to = filepath.Join(cacheDir, name)
	target, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(target, source)
	return to, errors.Join(err, target.Close(), os.Chmod(to, 0o755))
}

// requestVariable makes this program send one request and print the answer, so
// that it can be another user's client.
const requestVariable = "KUBERELAY_E2E_REQUEST"

// withoutRaceDelay is for the race detector, which lets a program end a second
// late.
const withoutRaceDelay = "GORACE=atexit_sleep_ms=0"

// answer is what sendRequest prints.
type answer struct {
	Code    int
	AuditID string
	Body    string
}

// sendRequest sends "METHOD URL" and returns an exit code.
func sendRequest(request string, out, errs io.Writer) int {
	method, url, _ := strings.Cut(request, " ")
	err := func() error {
		req, err := http.NewRequest(method, url, nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return err
		}
		return json.NewEncoder(out).Encode(answer{resp.StatusCode, resp.Header.Get("Audit-Id"), string(body)})
	}()
	if err != nil {
		fmt.Fprintln(errs, err)
		return 1
	}
	return 0
}

// ask sends a request to the plain listener from a process of the person's, or
// to the TLS listener with their token where there can be no such process.
func (s *served) ask(p *person, method, path string) answer {
	s.t.Helper()
	if !p.isUser {
		code, header, body, err := s.byToken(p).request(method, path, "")
		check(s.t.(*testing.T), err)
		return answer{code, header.Get("Audit-Id"), string(body)}
	}
	self, err := sharedSelf()
	check(s.t.(*testing.T), err)
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	cmd := p.prepare(exec.CommandContext(ctx, self), requestVariable+"="+method+" "+s.local+path, withoutRaceDelay)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("%s asks %s %s: %v: %s", p.name, method, path, err, errs.String())
	}
	var a answer
	check(s.t.(*testing.T), unmarshal(out, &a))
	return a
}
