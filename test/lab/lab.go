package lab

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// Options say what a lab consists of. The zero value is a lab of three API
// servers and two nodes in a temporary directory.
type Options struct {
	// Servers is the number of API servers. Default 3.
	Servers int
	// Nodes is the number of nodes. Default 2.
	Nodes int
	// Dir holds the lab's data, certificates, kubeconfigs and logs. It is
	// created when missing and kept by Close; what an earlier lab left in it is
	// removed. Default: a temporary directory, which Close removes.
	Dir string
	// Log gets one line for each step. Default: nothing is printed.
	Log io.Writer
	// Users are known to the API servers by bearer token, in addition to the
	// administrator. Default: alice of group dev, who may edit, and bob of group
	// ops, who may view.
	Users []User
	// ExtraAPIServerArgs returns arguments that are appended to those of the
	// i-th API server. It is called at every start of that server.
	ExtraAPIServerArgs func(i int) []string
	// PodPorts says where port-forward to a pod's port leads: pod port to local
	// TCP address. Every other port leads to an echo server (RFC 862).
	PodPorts map[int]string
	// AuditLog has each API server write Server.AuditLogFile: an event of level
	// Metadata for every request. TailAudit reads them.
	AuditLog bool
	// Relay puts a TCP relay in front of each API server even where
	// Server.Blackhole could do without.
	Relay bool
}

// User is someone whom the API servers know.
type User struct {
	Name   string
	Groups []string
	// ClusterRoles are granted to the user in all namespaces. The roles admin,
	// edit and view grant nothing, because no controller manager aggregates them
	// here; system:aggregate-to-edit and its like do.
	ClusterRoles []string
}

// Lab is a running control plane.
type Lab struct {
	// Servers are the API servers, all of the same cluster.
	Servers []*Server
	// Dir holds the lab's data, certificates, kubeconfigs and logs.
	Dir string
	// Paths are the programs the lab runs, kubectl among them.
	Paths Paths

	opts      Options
	log       io.Writer
	logMu     sync.Mutex
	temporary bool
	spawner   *spawner
	ports     *portPool
	pki       *pki
	tokens    map[string]string
	adminTLS  *tls.Config
	etcd      *component
	etcdURL   string
	kwok      *component
	gateway   *forwarder
	echo      *echoServer
	podLog    *podLog
	client    *http.Client // the administrator, through the gateway
	prober    *http.Client // the administrator, a new connection each time
	unlock    func()
	closeOnce sync.Once
	closeErr  error
}

// startTimeout bounds the start of a lab whose programs are built.
const startTimeout = 4 * time.Minute

// Start builds what is missing, starts a lab and returns when its API servers
// are ready and its nodes are Ready. The error of a component that does not
// start ends with the last lines of its log.
func Start(ctx context.Context, opts Options) (*Lab, error) {
	if opts.Servers == 0 {
		opts.Servers = 3
	}
	if opts.Nodes == 0 {
		opts.Nodes = 2
	}
	if opts.Users == nil {
		opts.Users = []User{
			{Name: "alice", Groups: []string{"dev"}, ClusterRoles: []string{"system:aggregate-to-view", "system:aggregate-to-edit"}},
			{Name: "bob", Groups: []string{"ops"}, ClusterRoles: []string{"system:aggregate-to-view"}},
		}
	}
	if opts.Log == nil {
		opts.Log = io.Discard
	}
	if opts.Servers < 0 || opts.Nodes < 0 {
		return nil, fmt.Errorf("start lab: %d servers and %d nodes: neither may be negative", opts.Servers, opts.Nodes)
	}
	l := &Lab{opts: opts, log: opts.Log, Dir: opts.Dir}
	paths, err := Binaries(ctx, opts.Log)
	if err != nil {
		return nil, err
	}
	l.Paths = paths
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := l.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start lab: %w", err), l.Close())
	}
	return l, nil
}

func (l *Lab) start(ctx context.Context) error {
	began := time.Now()
	if err := l.prepareDir(); err != nil {
		return err
	}
	l.spawner = newSpawner()
	var err error
	if l.ports, err = newPortPool(); err != nil {
		return err
	}
	if err := l.writeIdentities(); err != nil {
		return err
	}
	if err := l.writeAuditPolicy(); err != nil {
		return err
	}
	if err := l.startEtcd(ctx); err != nil {
		return err
	}
	if err := l.startServers(ctx); err != nil {
		return err
	}
	if err := l.startNodes(ctx); err != nil {
		return err
	}
	l.logf("lab is up: %d API servers, %d nodes, after %v", len(l.Servers), l.opts.Nodes, time.Since(began).Round(100*time.Millisecond))
	return nil
}

// prepareDir creates the lab's directory, takes it for this process, and
// empties it of an earlier lab's files.
func (l *Lab) prepareDir() error {
	if l.Dir == "" {
		dir, err := os.MkdirTemp("", "kuberelay-lab-")
		if err != nil {
			return err
		}
		l.Dir, l.temporary = dir, true
	}
	dir, err := filepath.Abs(l.Dir)
	if err != nil {
		return err
	}
	l.Dir = dir
	if err := os.MkdirAll(l.Dir, 0o700); err != nil {
		return err
	}
	unlock, held, err := tryLock(filepath.Join(l.Dir, "lock"))
	if err != nil {
		return err
	}
	if !held {
		return fmt.Errorf("directory %s belongs to a lab that is running: stop it, or name another directory with --dir", l.Dir)
	}
	l.unlock = unlock
	for _, sub := range []string{"etcd", "pki", "kubeconfig", "log", "pods", "kwok"} {
		path := l.path(sub)
		if err := os.RemoveAll(path); err != nil {
			return err
		}
		if err := os.Mkdir(path, 0o700); err != nil {
			return err
		}
	}
	return nil
}

// Close ends all of the lab's processes at once and waits for them. It removes
// the directory only if Start had made a temporary one. Later calls do nothing.
func (l *Lab) Close() error {
	l.closeOnce.Do(func() {
		var components []*component
		for _, s := range l.Servers {
			components = append(components, s.component)
		}
		components = append(components, l.kwok, l.etcd)
		var wg sync.WaitGroup
		for _, c := range components {
			if c != nil {
				wg.Go(c.kill)
			}
		}
		wg.Wait()
		for _, s := range l.Servers {
			if s.relay != nil {
				s.relay.close()
			}
			s.doors.close()
		}
		if l.gateway != nil {
			l.gateway.close()
		}
		if l.echo != nil {
			l.echo.close()
		}
		if l.podLog != nil {
			l.closeErr = l.podLog.close()
		}
		if l.client != nil {
			l.client.CloseIdleConnections()
		}
		if l.spawner != nil {
			l.spawner.close()
		}
		if l.ports != nil {
			l.ports.close()
		}
		if l.unlock != nil {
			l.unlock()
		}
		if l.temporary {
			l.closeErr = errors.Join(l.closeErr, os.RemoveAll(l.Dir))
		}
	})
	return l.closeErr
}

// StartChild starts cmd so that it dies with this process, even when that is
// killed, and gets no signals from its terminal. The caller waits for it.
func (l *Lab) StartChild(cmd *exec.Cmd) error { return l.spawner.start(cmd) }

func (l *Lab) path(elem ...string) string {
	return filepath.Join(append([]string{l.Dir}, elem...)...)
}

func (l *Lab) logf(format string, args ...any) {
	l.logMu.Lock()
	defer l.logMu.Unlock()
	fmt.Fprintf(l.log, format+"\n", args...)
}

func loopback(port int) string {
	return "127.0.0.1:" + strconv.Itoa(port)
}
