package lab

import (
	"context"
	"fmt"
	"io"
	"net/http"
)

func (l *Lab) startEtcd(ctx context.Context) error {
	var client, peer int
	if err := l.ports.takeAll(&client, &peer); err != nil {
		return err
	}
	clientURL, peerURL := "http://"+loopback(client), "http://"+loopback(peer)
	args := []string{
		"--name=lab",
		"--data-dir=" + l.path("etcd"),
		"--listen-client-urls=" + clientURL,
		"--advertise-client-urls=" + clientURL,
		"--listen-peer-urls=" + peerURL,
		"--initial-advertise-peer-urls=" + peerURL,
		"--initial-cluster=lab=" + peerURL,
		// A lab's data need not outlive the machine, and its only member need
		// not wait for votes.
		"--unsafe-no-fsync",
		"--heartbeat-interval=20",
		"--election-timeout=200",
		"--log-level=warn",
	}
	l.etcd = l.component("etcd", l.Paths.Etcd, func() []string { return args })
	l.etcdURL = clientURL
	return l.StartEtcd(ctx)
}

// StartEtcd starts etcd with the data it has and waits until it is healthy.
func (l *Lab) StartEtcd(ctx context.Context) error {
	if err := l.etcd.start(); err != nil {
		return err
	}
	return l.etcd.until(ctx, "etcd to be healthy", func(ctx context.Context) error {
		return probe(ctx, l.prober, l.etcdURL+"/health")
	})
}

// KillEtcd ends etcd as kill -9 does. The API servers go on without storage.
func (l *Lab) KillEtcd() {
	l.etcd.kill()
}

// StopEtcd freezes etcd with SIGSTOP: its connections stay and nothing answers.
func (l *Lab) StopEtcd() error {
	ctx, cancel := context.WithTimeout(context.Background(), signalTimeout)
	defer cancel()
	return l.etcd.freeze(ctx)
}

// ContEtcd lets etcd go on after StopEtcd.
func (l *Lab) ContEtcd() error { return l.etcd.thaw() }

// EtcdPID is etcd's process ID, 0 when it is not running.
func (l *Lab) EtcdPID() int { return l.etcd.pid() }

// probe succeeds when a GET of url is answered with 200 within a second.
func probe(ctx context.Context, client *http.Client, url string) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s: %s", url, resp.Status, body)
	}
	return nil
}
