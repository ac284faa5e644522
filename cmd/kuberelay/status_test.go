package main

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kuberelay/kuberelay/admin"
)

var now = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// full is a status with something of everything.
func full() admin.Status {
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	return admin.Status{
		Version: "v1.2.3", UptimeSeconds: 3 * 3600,
		Clusters: []admin.ClusterStatus{
			{Name: "prod", Ready: true, Upstreams: []admin.UpstreamStatus{
				{ID: "10.0.0.11:6443", State: "READY", Since: ago(3 * time.Hour), Breaker: "closed", InFlight: 3, Streams: 2, Latency: []float64{900, 12.4, 0}},
				{ID: "10.0.0.12:6443", State: "DOWN", Since: ago(5 * time.Second), Breaker: "open", Reason: "connection\nrefused\x1b[31m", Draining: true},
			}},
			{Name: "dev", Ready: true},
		},
		Listeners: []admin.ListenerStatus{
			{Name: "team", Address: "127.0.0.1:8443", Mode: "shared", Cluster: "prod", TLS: true, Identify: []string{"bearer", "oidc"}},
			{Name: "me", Address: "127.0.0.1:8002", Mode: "single", Cluster: "prod"},
		},
		Config: &admin.ConfigStatus{File: "/etc/kuberelay/config.yaml", Hash: "abd", LoadedAt: ago(2 * time.Hour), LastReload: &admin.ReloadStatus{OK: true, At: ago(2 * time.Hour)}},
		Clients: []admin.ClientStatus{
			{Name: "alice", InFlight: 1, Watches: 2, Requests: 4711, LastSeen: ago(time.Second)},
			{Name: "bob", Revoked: true},
			{Name: "carol", Revoked: true, RevokedUntil: now.Add(24 * time.Hour), Requests: 1, LastSeen: ago(time.Hour)},
			{Name: "dave"},
		},
		ClientsTotal: 2000,
		Credentials: []admin.CredentialStatus{
			{Name: "broker", ExpiresAt: now.Add(10 * time.Minute)},
			{Name: "eks", ExpiresAt: ago(time.Minute), Error: "exec plugin: exit code 1"},
			{Name: "static"},
		},
		Node: "bastion-1",
		Peers: []admin.PeerStatus{
			{Name: "bastion-1", Self: true, State: "alive", UDP: "ok"},
			{Name: "bastion-2", State: "alive", LastHeard: ago(time.Second), Version: "v1.2.3", ConfigHash: "abc", UDP: "blocked"},
			{Name: "bastion-3", State: "dead", LastHeard: ago(10 * time.Minute), UDP: "unknown"},
		},
		Events: []admin.Event{
			{At: ago(5 * time.Second), Kind: "state", Cluster: "prod", Upstream: "10.0.0.12:6443", Text: "DOWN, was READY:\nrefused"},
			{At: ago(time.Hour), Kind: "revoke", Client: "bob", Text: "revoked"},
			{At: ago(3 * time.Hour), Kind: "process", Text: "started"},
			{Kind: "4"}, {Kind: "5"}, {Kind: "6"},
		},
	}
}

const fullTable = `kuberelay v1.2.3 on bastion-1, up 3h
configuration /etc/kuberelay/config.yaml, loaded 120m ago

CLUSTER   UPSTREAM         STATE           SINCE   BREAKER   IN-FLIGHT   STREAMS   LATENCY   REASON
prod      10.0.0.11:6443   READY           3h      closed    3           2         12ms      -
prod      10.0.0.12:6443   DOWN,DRAINING   5s      open      0           0         -         connection refused [31m
dev       -                -               -       -         -           -         -         -

LISTENER   ADDRESS          MODE     CLUSTER   TLS   IDENTIFY
team       127.0.0.1:8443   shared   prod      yes   bearer,oidc
me         127.0.0.1:8002   single   prod      no    -

CLIENT   IN-FLIGHT   WATCHES   UPGRADES   REQUESTS   SEEN   REVOKED
alice    1           2         0          4711       1s     -
bob      0           0         0          0          -      until lifted
carol    0           0         0          1          60m    for 24h
(1997 more)

PEER        STATE   HEARD   VERSION   CONFIG    UDP
bastion-2   alive   1s      v1.2.3    DIFFERS   blocked
bastion-3   dead    10m     -         -         unknown

CREDENTIAL   EXPIRES   ERROR
broker       in 10m    -
eks          60s ago   exec plugin: exit code 1
static       never     -

AGO   EVENT     OF                    WHAT
5s    state     prod 10.0.0.12:6443   DOWN, was READY: refused
60m   revoke    bob                   revoked
3h    process   -                     started
-     4         -                     -
-     5         -                     -
`

func TestStatusTable(t *testing.T) {
	if d := cmp.Diff(fullTable, statusTable(full(), now, false)); d != "" {
		t.Error(d)
	}
	s := admin.Status{Version: "v1", Draining: true, Isolated: true, IsolatedReason: "2 of 2 peers reach a:6443", Config: &admin.ConfigStatus{
		File: "/k.yaml", LoadedAt: now, LastReload: &admin.ReloadStatus{At: now.Add(-time.Minute), Error: "k.yaml:3: a\nk.yaml:4: b"},
	}}
	s.AdminError = "admin server on 127.0.0.1:9801: gone"
	s.Audit = &admin.AuditStatus{Blocks: true, Error: "audit log /a: no space left on device"}
	s.Peers = []admin.PeerStatus{{Name: "n1", Self: true, Address: "10.1.0.1:7946", NameConflict: "10.1.0.2:7946"}}
	want := "kuberelay v1, up 0s, stopping\nTHIS HOST SEEMS CUT OFF: 2 of 2 peers reach a:6443\n" +
		"THE ADMIN SERVER HAS FAILED: admin server on 127.0.0.1:9801: gone\n" +
		"AUDIT EVENTS CANNOT BE WRITTEN, REQUESTS THAT CHANGE SOMETHING ARE REFUSED: audit log /a: no space left on device\n" +
		"TWO INSTANCES ARE NAMED n1, at 10.1.0.1:7946 and 10.1.0.2:7946: change gossip.nodeName on one of them\n" +
		"configuration /k.yaml, loaded 0s ago; A RELOAD 60s AGO WAS REFUSED:\n  k.yaml:3: a\n  k.yaml:4: b\n"
	if d := cmp.Diff(want, statusTable(s, now, false)); d != "" {
		t.Error(d)
	}
}

func TestStatusExitCodes(t *testing.T) {
	down := full()
	down.Clusters[1] = admin.ClusterStatus{Name: "dev", Reason: "no API server is usable"}
	refused := full()
	refused.Config.LastReload.OK = false
	recorded, gap, blocked := full(), full(), full()
	recorded.Audit = &admin.AuditStatus{Blocks: true}
	gap.Audit = &admin.AuditStatus{Error: "no space left on device"}
	blocked.Audit = &admin.AuditStatus{Blocks: true, Error: "no space left on device"}
	for _, tc := range []struct {
		name   string
		status admin.Status
		code   int
		stderr string
	}{
		{"all is well", full(), 0, ""},
		{"a cluster is not ready", down, 3, "error: degraded: cluster dev is not ready: no API server is usable\n"},
		{"a reload was refused", refused, 3, "error: degraded: the last reload was refused; the configuration before it is in force\n"},
		{"audit events are written", recorded, 0, ""},
		{"audit events are lost", gap, 0, ""},
		{"audit events cannot be written, and nothing changes", blocked, 3, "error: degraded: audit events cannot be written; requests that change something are refused\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := newOperated(t, tc.status, nil)
			r := o.execute(t, "status")
			if r.code != tc.code || r.stderr != tc.stderr || !strings.Contains(r.stdout, "10.0.0.11:6443   READY") {
				t.Errorf("%+v, want %d and %q, and the table", r, tc.code, tc.stderr)
			}
			r = o.execute(t, "status", "-o", "json")
			var got admin.Status
			if err := json.Unmarshal([]byte(r.stdout), &got); err != nil || r.code != tc.code || got.Clients[0].Name != "alice" {
				t.Errorf("json: %+v, %v, want %d and the document", r, err, tc.code)
			}
		})
	}
}

func TestStatusOfAnAdminAddress(t *testing.T) {
	server, err := admin.New(admin.Config{Address: "127.0.0.1:0"}, admin.Options{
		Status: full, Ready: func() error { return nil }, Registry: admin.NewMetrics(admin.Build{}).Registry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	address := server.Addr().String()
	if r := execute(t, command(t, "kuberelay", "status", "--admin", address)); r.code != 0 || !strings.Contains(r.stdout, "alice") {
		t.Errorf("%+v, want the table", r)
	}
	if err := server.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	if r := execute(t, command(t, "kuberelay", "status", "--admin", address)); r != (result{4, "", "error: kuberelay is not running: nobody answers on " + address + "\n"}) {
		t.Errorf("%+v, want exit code 4", r)
	}
}

func TestWatchEndsWithASignal(t *testing.T) {
	o := newOperated(t, full(), nil)
	cmd := command(t, "kuberelay", "status", "--watch", "--control-socket", o.socket)
	var out watched
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out.await(t, "started")
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if code := exitCodeOf(t, cmd.Wait()); code != 0 {
		t.Errorf("exit code %d, want 0; output:\n%s", code, out.String())
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Error("what is no terminal was cleared")
	}
}

func TestWatchWaitsForAProcessThatRestarts(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	answers := make(chan error, 3)
	answers <- nil
	answers <- errors.New("kuberelay is not running")
	answers <- nil
	ticks := make(chan time.Time, 3)
	ticks <- now
	ticks <- now
	var out strings.Builder
	size := func() (int, int) { return 80, 24 }
	v := viewer{out: &out, screen: &screen{&out, size}, now: func() time.Time { return now }, ask: func(context.Context) (admin.Status, error) {
		if len(answers) == 1 {
			defer cancel()
		}
		return admin.Status{Version: "v1"}, <-answers
	}}
	if err := v.watch(ctx, ticks); err != nil {
		t.Fatal(err)
	}
	frame := func(lines ...string) string {
		return home + strings.Join(lines, clearLine+"\r\n") + clearLine + clearBelow
	}
	want := frame("12:00:00, every 2s; Ctrl-C ends", "", "kuberelay v1, up 0s") +
		frame("12:00:00 kuberelay is not running", "The last known status follows.", "", "kuberelay v1, up 0s")
	if d := cmp.Diff(want, out.String()); d != "" {
		t.Error(d)
	}
}

func TestTheScreenHoldsWhatFits(t *testing.T) {
	for name, tc := range map[string]struct {
		width, height int
		text, want    string
	}{
		"all of it":         {6, 3, "one\ntwo\nthree\n", "one|two|three"},
		"a line too many":   {60, 3, "one\ntwo\nthree\nfour\n", "one|two|(2 more lines: the window is too small)"},
		"a line too long":   {6, 3, "12345\n123456\nééééééé\n", "12345|1234…|éééé…"},
		"hardly anything":   {2, 1, "one\ntwo\n", "…"},
		"nothing to be cut": {5, 3, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			s := screen{&out, func() (int, int) { return tc.width, tc.height }}
			if err := s.show(tc.text); err != nil {
				t.Fatal(err)
			}
			got := strings.NewReplacer(home, "", clearBelow, "", clearLine+"\r\n", "|", clearLine, "").Replace(out.String())
			if got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}

func TestLatency(t *testing.T) {
	for want, ms := range map[string][]float64{"": nil, "0.1ms": {5, .1, 0}, "9.9ms": {9.9}, "10ms": {10.2}, "999ms": {999.4}, "1.0s": {1000}} {
		if got := latency(ms); got != want {
			t.Errorf("latency(%v) = %q, want %q", ms, got, want)
		}
	}
}

func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{"": "", "a b": "a b", "a\nb\tc": "a b c", "\x1b[2Ja": "[2Ja", "a  b": "a b", "é": "é"} {
		if got := printable(text); got != want {
			t.Errorf("printable(%q) = %q, want %q", text, got, want)
		}
	}
}
