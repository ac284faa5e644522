package e2e

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/kuberelay/kuberelay/test/lab"
)

// What all tests share. They bring the lab's servers back before they end.
var (
	cluster     *lab.Lab
	kuberelay   string // the program under test
	kubectlPath string
	cacheDir    string // kubectl's, and its home
)

// How the API servers shut down, from their next start on: as those who run
// them are told to, with a time in which a server says that it goes and still
// serves, and "retry" for who comes late.
var (
	gracefulShutdown = []string{"--shutdown-delay-duration=4s", "--shutdown-send-retry-after=true"}
	shutdownArgs     = gracefulShutdown
)

func TestMain(m *testing.M) {
	if request := os.Getenv(requestVariable); request != "" {
		os.Exit(sendRequest(request, os.Stdout, os.Stderr))
	}
	if addresses := os.Getenv(forgeVariable); addresses != "" {
		if err := forge(strings.Split(addresses, ","), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "kuberelay-e2e-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	// Other users of this machine run kuberelay and kubectl from it.
	if err := os.Chmod(dir, 0o755); err != nil {
		return 1, err
	}
	cacheDir = dir
	if kuberelay, err = buildKuberelay(dir); err != nil {
		return 1, err
	}
	// Room for the first build of the lab's programs on a slow machine.
	ctx, cancel := context.WithTimeout(context.Background(), 25*time.Minute)
	defer cancel()
	cluster, err = lab.Start(ctx, lab.Options{
		Log:                os.Stderr,
		AuditLog:           true,
		ExtraAPIServerArgs: func(int) []string { return shutdownArgs },
	})
	if err != nil {
		return 1, err
	}
	defer func() {
		if closeErr := cluster.Close(); err == nil {
			err = closeErr
		}
	}()
	kubectlPath = cluster.Paths.Kubectl
	return m.Run(), nil
}

// serverIDs are the servers' names in kuberelay's status.
func serverIDs() []string {
	var ids []string
	for _, s := range cluster.Servers {
		ids = append(ids, s.Address())
	}
	return ids
}

// frontAll starts kuberelay with the kubeconfig of the first server, which
// discovers the others by itself, and waits until all are READY.
func frontAll(t *testing.T, args ...string) *relay {
	t.Helper()
	r := startRelay(t, append([]string{"--kubeconfig=" + cluster.Kubeconfig()}, args...)...)
	r.awaitAllReady(serverIDs(), 30*time.Second)
	return r
}

// restored brings all servers back after a test.
func restored(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		for _, s := range cluster.Servers {
			switch s.State() {
			case lab.Stopped:
				check(t, s.Cont())
			case lab.Dead:
				check(t, s.Start(ctx))
			}
			check(t, s.Heal())
		}
		for _, s := range cluster.Servers {
			check(t, s.WaitReady(ctx))
		}
	})
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// namespace makes one for a test.
func (r *relay) namespace() string {
	r.t.Helper()
	code, _, body, err := r.request("POST", "/api/v1/namespaces", `{"apiVersion":"v1","kind":"Namespace","metadata":{"generateName":"e2e-"}}`)
	if err != nil || code != 201 {
		r.t.Fatalf("create a namespace: HTTP %d %v %s", code, err, body)
	}
	var ns struct{ Metadata struct{ Name string } }
	check(r.t.(*testing.T), unmarshal(body, &ns))
	return ns.Metadata.Name
}
