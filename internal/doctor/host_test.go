package doctor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kuberelay/kuberelay/admin"
	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/internal/fakeapi"
)

func TestAHealthyConfiguration(t *testing.T) {
	_, f := brokered(t, &reviews{})
	want := `ok configuration of configuration DIR/config.yaml
ok kubeconfig of cluster prod
ok credential of cluster prod
ok tcp of cluster prod, A
warning tls of cluster prod, A
ok clock of cluster prod, A
ok readyz of cluster prod, A
ok discovery of cluster prod
ok api-groups of cluster prod
ok credential of credential broker
ok identity of credential broker
ok impersonation of credential broker
ok secret-files of this host
ok control-socket of this host
ok audit of this host
ok state of this host
ok port of listener tls
warning certificate of listener tls
ok socket of listener sock
warning process of process
`
	found := f.examine()
	addr, _, _ := strings.Cut(strings.SplitAfter(found[3].Of, ", ")[1], " ")
	if d := cmp.Diff(want, short(found, f.dir, "DIR", addr, "A")); d != "" {
		t.Error(d)
	}
	names, err := os.ReadDir(f.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if strings.Contains(n.Name(), "doctor") || n.Name() == "audit.jsonl" || n.Name() == "state.json" {
			t.Errorf("%s was left behind", n.Name())
		}
	}
}

func TestTroubleOnTheHost(t *testing.T) {
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, tc := range map[string]struct {
		trouble  func(s *fakeapi.Server, f *folder)
		replace  []string
		check    string
		text, do string
		verdict  Verdict
	}{
		"a secret that others can read":                  {func(_ *fakeapi.Server, f *folder) { chmod(f, "token", 0o644) }, nil, "secret-files", "DIR/token can be read or written by others (mode 0644)", "nobody else", Failed},
		"a configuration that is wrong":                  {nil, []string{"policy: p,", "policy: q,"}, "configuration", "config.yaml:10: clients[0].grants[0].policy", "kuberelay check", Failed},
		"a configuration that is no YAML":                {nil, []string{"clusters:", "clusters: ["}, "configuration", "config.yaml", "kuberelay check", Failed},
		"a client without a grant":                       {nil, []string{"listeners:", "- {name: bob, match: [{uid: 5}]}\nlisteners:"}, "configuration", "bob", "unless it is meant so", Warning},
		"no directory for the audit log":                 {nil, []string{"DIR/audit.jsonl", "DIR/none/audit.jsonl"}, "audit", "DIR/none: no such file or directory", "LogsDirectory=", Failed},
		"an audit log that is a directory":               {func(_ *fakeapi.Server, f *folder) { mkdir(f, "audit.jsonl", 0o700) }, nil, "audit", "is a directory", "kuberelay's user", Failed},
		"a state file of something else":                 {func(_ *fakeapi.Server, f *folder) { write(f.t, f.path("state.json"), "{") }, nil, "state", "is not one of kuberelay's", "restore it", Failed},
		"no directory for a socket":                      {nil, []string{"unix://DIR/api.sock", "unix://DIR/none/api.sock"}, "socket", "directory DIR/none is missing", "RuntimeDirectory=", Warning},
		"a socket where everybody can write":             {func(_ *fakeapi.Server, f *folder) { mkdir(f, "open", 0o777) }, []string{"unix://DIR/api.sock", "unix://DIR/open/api.sock"}, "socket", "anybody can put another socket in the place of", "chmod o-w DIR/open", Failed},
		"one where nobody can remove what is not theirs": {func(_ *fakeapi.Server, f *folder) { mkdir(f, "open", 0o777|os.ModeSticky) }, []string{"unix://DIR/api.sock", "unix://DIR/open/api.sock"}, "socket", "is fit for it", "", OK},
		"a socket in a file":                             {nil, []string{"DIR/admin.sock", "DIR/token/admin.sock"}, "control-socket", "is no directory", "name a path", Failed},
		"a port that is in use":                          {nil, []string{"127.0.0.1:0", taken.Addr().String()}, "port", "address already in use", "ss -ltnp", Failed},
		"an address of another host":                     {nil, []string{"127.0.0.1:0", "192.0.2.1:8443"}, "port", "cannot assign requested address", "ip address", Failed},
		"a certificate with another's key": {func(s *fakeapi.Server, f *folder) {
			_, key := s.CA.ServerCertificate(f.t)
			write(f.t, f.path("tls.key"), string(key))
		}, nil, "certificate", "does not match", "its own key", Failed},
		"a certificate for another name": {nil, []string{"identify: [bearer],", "identify: [bearer], hosts: [relay.example.org],"}, "certificate", "tls.crt expires", "renew it", Warning},
		"no control socket":              {nil, []string{"admin: {controlSocket: DIR/admin.sock}", "admin: {}"}, "process", "names no control socket", "admin.controlSocket", Warning},
		"no process":                     {nil, nil, "process", "kuberelay is not running", "systemctl start kuberelay", Warning},
	} {
		t.Run(name, func(t *testing.T) {
			s, f := brokered(t, &reviews{})
			if tc.trouble != nil {
				tc.trouble(s, f)
			}
			got := first(t, f.examine(tc.replace...), tc.check)
			text, do := strings.ReplaceAll(tc.text, "DIR", f.dir), strings.ReplaceAll(tc.do, "DIR", f.dir)
			if got.Verdict != tc.verdict || !strings.Contains(got.Text, text) || !strings.Contains(got.Do, do) {
				t.Errorf("%+v, want %s with %q and %q", got, tc.verdict, text, do)
			}
		})
	}
}

func chmod(f *folder, name string, mode os.FileMode) {
	f.t.Helper()
	if err := os.Chmod(f.path(name), mode); err != nil {
		f.t.Fatal(err)
	}
}

func mkdir(f *folder, name string, mode os.FileMode) {
	f.t.Helper()
	if err := os.Mkdir(f.path(name), 0o700); err != nil {
		f.t.Fatal(err)
	}
	chmod(f, name, mode)
}

func TestACertificateIsForTheNameThatClientsUse(t *testing.T) {
	_, f := brokered(t, &reviews{})
	for _, one := range f.examine("identify: [bearer],", "identify: [bearer], hosts: [relay.example.org],") {
		if one.Check == "certificate" && strings.Contains(one.Text, "is not for relay.example.org, but for localhost") {
			return
		}
	}
	t.Error("nothing is said of the name")
}

func TestClientAuthorities(t *testing.T) {
	s, f := brokered(t, &reviews{})
	write(t, f.path("client-ca.crt"), string(s.CA.PEM)+string(s.CA.PEM))
	with := []string{"keyFile: DIR/tls.key}", "keyFile: DIR/tls.key, clientCAFile: DIR/client-ca.crt}", "identify: [bearer]", "identify: [bearer, certificate]"}
	if got := first(t, f.examine(with...), "client-ca"); got.Verdict != Warning || !strings.Contains(got.Text, "expires in") {
		t.Errorf("%+v, want that the authority expires soon", got)
	}
	write(t, f.path("client-ca.crt"), "none")
	if got := first(t, f.examine(with...), "client-ca"); got.Verdict != Failed {
		t.Errorf("%+v, want that there is none", got)
	}
}

// run makes a process of ours that answers with a status.
func (f *folder) run(status admin.Status) {
	f.t.Helper()
	control, err := admin.NewControl(admin.ControlOptions{Options: admin.Options{
		Status: func() admin.Status { return status }, Ready: func() error { return nil }, Registry: admin.NewMetrics(admin.Build{}).Registry(),
	}})
	if err != nil {
		f.t.Fatal(err)
	}
	l, err := new(net.ListenConfig).Listen(f.t.Context(), "unix", f.path("admin.sock"))
	if err != nil {
		f.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- control.Serve(l) }()
	f.t.Cleanup(func() {
		if err := control.Shutdown(context.Background()); err != nil {
			f.t.Error(err)
		}
		if err := <-done; err != nil {
			f.t.Error(err)
		}
	})
}

func TestTheProcessThatRuns(t *testing.T) {
	for name, tc := range map[string]struct {
		status admin.Status
		hash   bool // the status has the file's
		want   string
	}{
		"all is well": {admin.Status{Version: "v1", UptimeSeconds: 60, Config: &admin.ConfigStatus{}, Peers: []admin.PeerStatus{
			{Name: "me", Self: true, State: "alive"}, {Name: "b", State: "alive", UDP: "ok"}, {Name: "gone", State: "left"}}}, true,
			"ok process of process\nok in-force of process\nok gossip of peer b\n"},
		"the file has changed since":  {admin.Status{Version: "v1", Config: &admin.ConfigStatus{Hash: "abc"}}, false, "ok process of process\nwarning in-force of process\n"},
		"the last reload was refused": {admin.Status{Version: "v1", Config: &admin.ConfigStatus{LastReload: &admin.ReloadStatus{Error: "a\nb"}}}, true, "ok process of process\nfailed in-force of process\n"},
		"it is an older one":          {admin.Status{Version: "v0"}, false, "ok process of process\nwarning process of process\n"},
		"a cluster is not served": {admin.Status{Version: "v1", Clusters: []admin.ClusterStatus{{Name: "prod", Reason: "DOWN"}}, Credentials: []admin.CredentialStatus{{Name: "c", Error: "e"}}}, false,
			"ok process of process\nfailed served of process\nfailed credentials of process\n"},
		"peers are in trouble": {admin.Status{Version: "v1", Isolated: true, IsolatedReason: "2 of 2", Config: &admin.ConfigStatus{Hash: "x"}, Peers: []admin.PeerStatus{
			{Name: "b", State: "dead"}, {Name: "c", State: "alive", UDP: "blocked", ConfigHash: "y"}}}, false,
			"ok process of process\nwarning in-force of process\nfailed gossip of peer b\nfailed gossip of peer c\nwarning same-configuration of peer c\nfailed isolation of peers\n"},
	} {
		t.Run(name, func(t *testing.T) {
			_, f := brokered(t, &reviews{})
			f.examine() // writes the file
			if tc.hash {
				raw, err := os.ReadFile(f.path("config.yaml"))
				if err != nil {
					t.Fatal(err)
				}
				sum := sha256.Sum256(raw)
				tc.status.Config.FileHash = hex.EncodeToString(sum[:])
			}
			f.run(tc.status)
			found := f.examineFile(f.path("config.yaml"))
			_, got, _ := strings.Cut(short(found), "ok socket of listener sock\n")
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Error(d)
			}
			if strings.Contains(short(found), " port of ") {
				t.Error("a port was tried that the process has")
			}
		})
	}
}

func TestAProcessThatDoesNotSayTheHashOfItsFile(t *testing.T) {
	_, f := brokered(t, &reviews{})
	f.examine()
	cfg, err := config.Load(f.path("config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	f.run(admin.Status{Version: "v1", Config: &admin.ConfigStatus{Hash: cfg.Hash()}})
	if got := first(t, f.examineFile(f.path("config.yaml")), "in-force"); got.Verdict != OK {
		t.Errorf("%+v, want that what hosts have in common is compared", got)
	}
}

func TestAnEndedContextEndsTheExamination(t *testing.T) {
	s, f := brokered(t, &reviews{})
	f.examine() // writes the file
	s.SetFault(fakeapi.Mute)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	begin := time.Now()
	found := Run(ctx, Options{File: f.path("config.yaml"), Timeout: time.Hour})
	if took := time.Since(begin); took > 5*time.Second || len(found) == 0 {
		t.Errorf("%d findings after %v", len(found), took)
	}
}
