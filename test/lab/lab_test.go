package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestEndpointSlicesNameTheServers(t *testing.T) {
	ctx := testContext(t)
	var own []string
	for _, s := range shared.Servers {
		own = append(own, s.Address())
	}
	if got := published(t, shared); !slices.Equal(got, own) {
		t.Errorf("after Start: %v, want %v", got, own)
	}
	for _, want := range [][]string{{"192.0.2.1:6443"}, {}, {own[0], "[2001:db8::1]:443", own[2], own[1]}, own} {
		if err := shared.PublishEndpoints(ctx, want...); err != nil {
			t.Fatal(err)
		}
		eventually(t, func() error {
			if got := published(t, shared); !slices.Equal(got, want) {
				return fmt.Errorf("published %v, want %v", got, want)
			}
			return nil
		})
	}
	if err := shared.PublishEndpoints(ctx, "no-port"); err == nil {
		t.Error("an address without a port was published")
	}
}

// published reads the slices as a client of the cluster does, in the order of
// their names.
func published(t *testing.T, l *Lab) []string {
	t.Helper()
	var list struct {
		Items []struct {
			AddressType string
			Endpoints   []struct{ Addresses []string }
			Ports       []struct{ Port int }
		}
	}
	const path = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3Dkubernetes"
	if err := l.Do(t.Context(), http.MethodGet, path, nil, &list); err != nil {
		t.Fatal(err)
	}
	var addresses []string
	for _, item := range list.Items {
		address := net.JoinHostPort(item.Endpoints[0].Addresses[0], fmt.Sprint(item.Ports[0].Port))
		if v6 := strings.HasPrefix(address, "["); v6 != (item.AddressType == "IPv6") {
			t.Errorf("%s has address type %s", address, item.AddressType)
		}
		addresses = append(addresses, address)
	}
	return addresses
}

func TestUsersHaveTheirRights(t *testing.T) {
	ctx := testContext(t)
	can := func(user string, args ...string) string {
		cmd := kubectl(ctx, shared, append([]string{"auth", "can-i"}, args...)...)
		cmd.Args[2] = shared.UserKubeconfig(user, 1)
		out, err := cmd.Output()
		// The exit code tells the same.
		if answer := strings.TrimSpace(string(out)); (err == nil) == (answer == "yes") {
			return answer
		}
		t.Fatalf("%v: %v, %q", cmd.Args, err, out)
		return ""
	}
	for _, c := range []struct{ user, verb, resource, want string }{
		{"alice", "create", "pods/exec", "yes"},
		{"alice", "create", "nodes", "no"},
		{"bob", "list", "pods", "yes"},
		{"bob", "delete", "pods", "no"},
		{"admin", "delete", "nodes", "yes"},
	} {
		if got := can(c.user, c.verb, c.resource); got != c.want {
			t.Errorf("can %s %s %s: %s, want %s", c.user, c.verb, c.resource, got, c.want)
		}
	}
	var review struct {
		Status struct {
			UserInfo struct {
				Username string
				Groups   []string
			}
		}
	}
	certFile, keyFile, err := shared.IssueClient("carol", "dev")
	if err != nil {
		t.Fatal(err)
	}
	config, err := shared.pki.tlsConfig(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
	body := strings.NewReader(`{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}`)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, shared.Servers[0].URL()+"/apis/authentication.k8s.io/v1/selfsubjectreviews", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if err := exchange(client, req, &review); err != nil {
		t.Fatal(err)
	}
	if u := review.Status.UserInfo; u.Username != "carol" || !slices.Contains(u.Groups, "dev") {
		t.Errorf("the certificate's bearer is %+v", u)
	}
}

// A second lab beside the shared one, with relays, as where the lab may not
// touch its children's sockets.
func TestLabBehindRelays(t *testing.T) {
	ctx := testContext(t)
	l, err := Start(ctx, Options{Servers: 1, Nodes: 1, Relay: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Run("blackhole", func(t *testing.T) { testBlackhole(t, l, l.Servers[0], l.Servers[0]) })
	t.Run("kill", func(t *testing.T) { testKill(t, l, l.Servers[0]) })
	t.Run("close leaves nothing", func(t *testing.T) {
		pids := []int{l.Servers[0].PID(), l.EtcdPID(), l.kwok.pid()}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		for _, pid := range pids {
			if err := syscall.Kill(pid, 0); pid == 0 || !errors.Is(err, syscall.ESRCH) {
				t.Errorf("process %d: %v, want none", pid, err)
			}
		}
		if _, err := os.Stat(l.Dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("directory %s: %v, want none", l.Dir, err)
		}
		ln, err := net.Listen("tcp", l.Servers[0].Address())
		if err != nil {
			t.Fatalf("the server's port is not free: %v", err)
		}
		ln.Close()
		if err := l.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
	})
}

func TestFailedStartShowsTheLog(t *testing.T) {
	ctx := testContext(t)
	dir := t.TempDir()
	_, err := Start(ctx, Options{Servers: 1, Dir: dir, ExtraAPIServerArgs: func(int) []string { return []string{"--no-such-flag"} }})
	if err == nil || !strings.Contains(err.Error(), "unknown flag: --no-such-flag") {
		t.Fatalf("Start: %v", err)
	}
	// Close has released the directory.
	unlock, held, err := tryLock(dir + "/lock")
	if err != nil || !held {
		t.Fatalf("lock of %s: %v, %v", dir, held, err)
	}
	unlock()
}

func TestDirectoryOfARunningLabIsRefused(t *testing.T) {
	_, err := Start(context.Background(), Options{Dir: shared.Dir})
	if err == nil || !strings.Contains(err.Error(), "belongs to a lab that is running") {
		t.Errorf("Start: %v", err)
	}
	if err := shared.Servers[0].WaitReady(testContext(t)); err != nil {
		t.Error(err)
	}
}
