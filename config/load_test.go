package config

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kuberelay/kuberelay/audit"
	"github.com/kuberelay/kuberelay/auth"
	"github.com/kuberelay/kuberelay/auth/identify"
	"github.com/kuberelay/kuberelay/auth/limit"
	"github.com/kuberelay/kuberelay/balancer"
	"github.com/kuberelay/kuberelay/health"
	"github.com/kuberelay/kuberelay/proxy/filter"
)

func load(t *testing.T, change ...func(string) string) *Configuration {
	t.Helper()
	_, file := installed(t, change...)
	c, err := Load(file)
	if err != nil {
		t.Fatalf("Load():\n%v", err)
	}
	return c
}

func TestExampleLoads(t *testing.T) {
	c := load(t)
	if n := [...]int{len(c.Clusters), len(c.Credentials), len(c.Policies), len(c.Clients), len(c.Listeners)}; n != [...]int{2, 5, 2, 3, 5} {
		t.Errorf("clusters, credentials, policies, clients, listeners = %v, want 2, 5, 2, 3, 5", n)
	}
	alice := c.Clients[0]
	uid := uint32(1001)
	if d := cmp.Diff(identify.Match{UID: &uid}, alice.Match[0]); d != "" {
		t.Errorf("first match (-want +got):\n%s", d)
	}
	if want := time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC); alice.Match[1].Expires != want {
		t.Errorf("expires = %v, want %v", alice.Match[1].Expires, want)
	}
	grant := Grant{Cluster: "prod", Credential: "prod-broker", Impersonate: auth.Impersonation{User: "alice", Groups: []string{"dev"}}, Policy: "read-only"}
	if d := cmp.Diff(grant, alice.Grants[0]); d != "" {
		t.Errorf("grant (-want +got):\n%s", d)
	}
	if c.Listeners[2].SocketMode != 0o666 {
		t.Errorf("socketMode = %v, want 0666", c.Listeners[2].SocketMode)
	}
	if d := cmp.Diff(audit.Config{File: "/var/log/kuberelay/audit.jsonl", Level: "Metadata", OnFailure: "block"}, c.Audit); d != "" {
		t.Errorf("audit (-want +got):\n%s", d)
	}
	if c.Clusters[0].Balancer.Breaker.MaxOpenFor != time.Minute || c.Clusters[0].Balancer.Retry.MaxBodyBytes != 4<<20 {
		t.Errorf("balancer = %+v, want what breaker and retry say", c.Clusters[0].Balancer)
	}
	connection, err := c.Clusters[0].Connection.Load()
	if err != nil || connection.Host != "https://10.0.0.1:6443" || connection.BearerToken != "very-secret" {
		t.Errorf("connection: %v, %v, want the kubeconfig's", connection, err)
	}
	if files := c.Clusters[0].Connection.Files(); len(files) != 1 || files[0] != c.Clusters[0].Kubeconfig.Path {
		t.Errorf("connection's files = %q, want the kubeconfig", files)
	}
}

const minimal = `apiVersion: kuberelay/v1alpha1
kind: Configuration
clusters:
- {name: prod, kubeconfig: {path: /k}}
listeners:
- {name: me, address: "unix:///s", mode: single, cluster: prod}
- {name: team, address: "127.0.0.1:1", mode: shared, cluster: prod, identify: [uid]}
policies:
- {name: p, rules: [{verbs: [get], nonResourceURLs: ["*"]}]}
credentials:
- {name: c, tokenFile: /t}
clients:
- {name: alice, match: [{uid: 1}], grants: [{cluster: prod, credential: c, policy: p}]}
- {name: bob, match: [{uid: 2}], limits: {maxWatches: 0, burst: 7}}
`

func TestDefaults(t *testing.T) {
	c, err := Parse([]byte(minimal), "c.yaml")
	if err != nil {
		t.Fatal(err)
	}
	cluster := Cluster{
		Name: "prod", Kubeconfig: auth.KubeconfigRef{Path: "/k"},
		Discovery: Discovery{Mode: DiscoverEndpoints, Interval: 30 * time.Second},
		Balancer:  balancer.DefaultConfig(), HealthCheck: health.DefaultConfig(),
	}
	if !c.Clusters[0].Equal(cluster) {
		t.Errorf("cluster = %+v, want %+v", c.Clusters[0], cluster)
	}
	want := []Listener{
		{Name: "me", Address: "unix:///s", Cluster: "prod", Mode: Single, SocketMode: 0o700, Filter: filter.DefaultConfig(), APIPrefix: "/", StaticPrefix: "/static/"},
		{Name: "team", Address: "127.0.0.1:1", Cluster: "prod", Mode: Shared, Identify: []identify.Method{"uid"}, APIPrefix: "/", StaticPrefix: "/static/"},
	}
	if d := cmp.Diff(want, c.Listeners); d != "" {
		t.Errorf("listeners (-want +got):\n%s", d)
	}
	if d := cmp.Diff(limit.DefaultConfig(), c.Clients[0].Limits); d != "" {
		t.Errorf("limits (-want +got):\n%s", d)
	}
	limits := limit.DefaultConfig()
	limits.MaxWatches, limits.Burst = 0, 7
	if d := cmp.Diff(limits, c.Clients[1].Limits); d != "" {
		t.Errorf("limits in part (-want +got):\n%s", d)
	}
	if d := cmp.Diff(LogConfig{Level: "info", Format: "auto"}, c.Log); d != "" {
		t.Errorf("log (-want +got):\n%s", d)
	}
	if d := cmp.Diff(audit.DefaultConfig(), c.Audit); d != "" {
		t.Errorf("audit (-want +got):\n%s", d)
	}
	if c.Grace != 10*time.Second {
		t.Errorf("gracePeriod = %v, want 10s", c.Grace)
	}
}

func TestTwoLoadsAreEqual(t *testing.T) {
	_, file := installed(t)
	first, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	second, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	for i := range first.Clusters {
		if !first.Clusters[i].Equal(second.Clusters[i]) {
			t.Errorf("cluster %s differs from itself", first.Clusters[i].Name)
		}
		changed := second.Clusters[i]
		changed.Servers = []string{"https://another"}
		if first.Clusters[i].Equal(changed) {
			t.Errorf("cluster %s equals one with other servers", changed.Name)
		}
		first.Clusters[i].Connection, second.Clusters[i].Connection = Connection{}, Connection{}
	}
	if !reflect.DeepEqual(first, second) {
		t.Errorf("two loads differ:\n%s", cmp.Diff(first, second))
	}
}

var update = flag.Bool("update", false, "write the problems of testdata/bad.yaml to testdata/bad.txt")

// Everything that is wrong is said at once, in the order of the file.
func TestBadFile(t *testing.T) {
	data, err := os.ReadFile("testdata/bad.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, problems := Parse(data, "bad.yaml")
	if *update {
		write(t, "testdata/bad.txt", text(problems)+"\n")
	}
	want, err := os.ReadFile("testdata/bad.txt")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Split(strings.TrimSpace(string(want)), "\n"), strings.Split(text(problems), "\n")); d != "" {
		t.Errorf("Parse() (-want +got), written by -update:\n%s", d)
	}
}

func TestWhatFollowsFromAnotherProblemIsNotSaid(t *testing.T) {
	for _, tc := range []struct{ name, before, after, want string }{
		{"a mode", "mode: shared", "mode: [shared]", "c.yaml:7: listeners[1].mode: want a string, found a list"},
		{"a match", "{uid: 1}", "{uid: one}", `c.yaml:13: clients[0].match[0].uid: want a whole number, found the string "one"`},
		{"a misspelt match", "{uid: 1}", "{uuid: 1}", "c.yaml:13: clients[0].match[0].uuid: is no field here: did you mean uid?"},
		{"no list of listeners", "listeners:\n", "listeners: 1\nlistener:\n", "c.yaml:5: listeners: want a list ([a, b], or lines that begin with -), found the number 1\n" +
			"c.yaml:6: listener: is no field here: did you mean listeners?"},
		{"another version", "v1alpha1", "v2", `c.yaml:1: apiVersion: "kuberelay/v2": want kuberelay/v1alpha1, the only one that this program knows`},
		{"another version with another field", "v1alpha1", "v2\nnew: {}", `c.yaml:1: apiVersion: "kuberelay/v2": want kuberelay/v1alpha1, the only one that this program knows`},
		{"a word for a listener", "- {name: me,", "- word\n- {name: me,", `c.yaml:6: listeners[0]: want fields (name: value), found the string "word"`},
		{"a section without a value", "identify: [uid]}", "identify: [uid], tls: }", "c.yaml:7: listeners[1].tls: has no value: write one, or leave the field out"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Parse([]byte(replace(t, tc.before, tc.after)(minimal)), "c.yaml")
			if text(err) != tc.want {
				t.Errorf("Parse() =\n%v\nwant\n%s", err, tc.want)
			}
		})
	}
}

func TestHead(t *testing.T) {
	for _, tc := range []struct{ name, data, want string }{
		{"nothing", "", "c.yaml:1: is empty"},
		{"no version", "kind: Configuration", "c.yaml:1: apiVersion: is missing: want kuberelay/v1alpha1"},
		{"another kind", strings.Replace(minimal, "kind: C", "kind: c", 1), `c.yaml:2: kind: "configuration": want Configuration`},
		{"no YAML", "kind: [", "c.yaml:1: is no YAML: did not find expected node content"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Parse([]byte(tc.data), "c.yaml")
			if text(err) != tc.want {
				t.Errorf("Parse() = %v, want %s", err, tc.want)
			}
		})
	}
}

func TestUnreadableFile(t *testing.T) {
	directory := t.TempDir()
	for path, want := range map[string]string{
		directory + "/none": directory + "/none: cannot be read: no such file or directory",
		directory:           directory + ": cannot be read: is a directory",
	} {
		_, err := Load(path)
		var problems Problems
		if text(err) != want || !errors.As(err, &problems) {
			t.Errorf("Load() = %v, want the problem %s", err, want)
		}
	}
}

// crowd is a file of n clients of 15 lines each.
func crowd(n int) []byte {
	var b strings.Builder
	b.WriteString(minimal)
	for i := range n {
		fmt.Fprintf(&b, `- name: client-%d
  match:
  - uid: %d
  - tokenSHA256: "%064x"
    expires: 2099-01-01T00:00:00Z
  grants:
  - cluster: prod
    credential: c
    impersonate:
      user: client-%[1]d
      groups: [dev, ops]
    policy: p
  limits:
    requestsPerSecond: 20
    burst: 50
`, i, i+10, i+1)
	}
	return []byte(b.String())
}

func TestTenThousandClients(t *testing.T) {
	const n = 10_000
	c, err := Parse(crowd(n), "c.yaml")
	if err != nil || len(c.Clients) != n+2 {
		t.Fatalf("Parse() = %d clients, %.500v, want %d", len(c.Clients), err, n+2)
	}
	if name := c.Clients[n+1].Grants[0].Impersonate.User; name != "client-9999" {
		t.Errorf("the last client is %q", name)
	}
}

func BenchmarkTenThousandClients(b *testing.B) {
	data := crowd(10_000)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(data, "c.yaml"); err != nil {
			b.Fatal(err)
		}
	}
}
