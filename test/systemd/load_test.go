package systemd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

// load is what clients outside of a host do meanwhile: reads, every other on a
// connection of its own, and watches that begin anew when they end.
type load struct {
	t    *testing.T
	base string
	kept *http.Client // keeps connections
	new  *http.Client // makes one for each request

	mu       sync.Mutex
	took     []time.Duration // of reads that succeeded
	refused  int
	failed   []string      // reads
	began    int           // watches that had their answer
	clean    int           // watches that ended as HTTP ends
	shortest time.Duration // that one of these lasted
	cut      []string      // watches that did not
	watching int           // now
}

func newLoad(t *testing.T, address string) *load {
	t.Helper()
	ca, err := os.ReadFile(cluster.CAFile())
	must(t, err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			return bridge.dial(ctx, "tcp4", address)
		},
		TLSClientConfig:     &tls.Config{RootCAs: pool},
		MaxIdleConnsPerHost: 100,
	}
	single := transport.Clone()
	single.DisableKeepAlives = true
	t.Cleanup(transport.CloseIdleConnections)
	return &load{t: t, base: "https://" + net.JoinHostPort(address, "8443"), kept: &http.Client{Transport: transport}, new: &http.Client{Transport: single}}
}

func (l *load) get(ctx context.Context, client *http.Client, path string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, l.base+path, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+clientToken)
	return client.Do(request)
}

// during puts reads and watches on the host while f runs, and a second before
// and after it.
func (l *load) during(readsPerSecond, watches int, f func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	for range watches {
		work.Go(func() { l.watch(ctx) })
	}
	l.await("all watches to have begun", func() bool { return l.watching == watches })
	stop := make(chan struct{})
	work.Go(func() { l.reads(readsPerSecond, stop) })
	l.await("a second of reads", func() bool { return len(l.took) >= readsPerSecond })
	f()
	l.mu.Lock()
	so := len(l.took)
	l.mu.Unlock()
	l.await("another second of reads", func() bool { return len(l.took) >= so+readsPerSecond })
	l.await("all watches to be back", func() bool { return l.watching == watches })
	close(stop)
	l.mu.Lock() // what ends now was ended here
	ended, cut := l.clean, slices.Clone(l.cut)
	l.mu.Unlock()
	cancel()
	work.Wait()
	l.clean, l.cut = ended, cut
}

func (l *load) await(what string, done func() bool) {
	l.t.Helper()
	deadline := time.Now().Add(time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		l.mu.Lock()
		ok := done()
		failed := l.failed
		l.mu.Unlock()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			l.t.Errorf("waited a minute for %s; failed reads: %q", what, failed[:min(len(failed), 3)])
			return
		}
	}
}

func (l *load) reads(perSecond int, stop <-chan struct{}) {
	var requests sync.WaitGroup
	defer requests.Wait()
	tick := time.NewTicker(time.Second / time.Duration(perSecond))
	defer tick.Stop()
	paths := []string{"/api/v1/namespaces/default", "/api/v1/pods?resourceVersion=0", "/apis/apps/v1/deployments?resourceVersion=0", "/version"}
	for i := 0; ; i++ {
		select {
		case <-tick.C:
		case <-stop:
			return
		}
		client := l.kept
		if i%2 == 0 {
			client = l.new
		}
		requests.Go(func() { l.read(client, paths[i/2%len(paths)]) })
	}
}

func (l *load) read(client *http.Client, path string) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	response, err := l.get(ctx, client, path)
	if err == nil {
		_, err = io.Copy(io.Discard, response.Body)
		response.Body.Close()
		if err == nil && response.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s", response.Status)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		l.took = append(l.took, time.Since(began))
		return
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		l.refused++
	}
	l.failed = append(l.failed, fmt.Sprintf("%s after %v: %v", path, time.Since(began), err))
}

// watch watches again and again, as client-go does.
func (l *load) watch(ctx context.Context) {
	for ctx.Err() == nil {
		response, err := l.get(ctx, l.new, "/api/v1/namespaces/default/configmaps?watch=true")
		if err != nil || response.StatusCode != http.StatusOK {
			if err == nil {
				err = fmt.Errorf("%s", response.Status)
				response.Body.Close()
			}
			if ctx.Err() == nil {
				l.mu.Lock()
				l.cut = append(l.cut, "begin: "+err.Error())
				l.mu.Unlock()
			}
			continue
		}
		began := time.Now()
		l.mu.Lock()
		l.began++
		l.watching++
		l.mu.Unlock()
		_, err = io.Copy(io.Discard, response.Body)
		response.Body.Close()
		l.mu.Lock()
		l.watching--
		if err == nil {
			l.clean++
			if lasted := time.Since(began); l.shortest == 0 || lasted < l.shortest {
				l.shortest = lasted
			}
		} else {
			l.cut = append(l.cut, err.Error())
		}
		l.mu.Unlock()
	}
}

// check holds the load to what is promised, and says what it was.
func (l *load) check(watches int) {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.failed) > 0 || l.refused > 0 {
		l.t.Errorf("%d of %d reads failed, %d of them refused: %q", len(l.failed), len(l.took)+len(l.failed), l.refused, l.failed[:min(len(l.failed), 3)])
	}
	if len(l.cut) > 0 || l.clean != watches {
		// More than there are: some began anew on a process that was about to end.
		l.t.Errorf("%d watches ended cleanly, the shortest after %v, and %d otherwise (%q), want %d and 0", l.clean, l.shortest, len(l.cut), l.cut[:min(len(l.cut), 3)], watches)
	}
	if len(l.took) > 0 {
		l.t.Logf("%d reads, %d refused, %d failed, the slowest took %v; %d watches ended cleanly, %d did not, all came back",
			len(l.took), l.refused, len(l.failed), slices.Max(l.took).Round(time.Millisecond), l.clean, len(l.cut))
	}
}

// insist has clients knock while f runs, each on a new connection and whatever
// the answer is.
func (l *load) insist(f func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var clients sync.WaitGroup
	defer clients.Wait()
	defer cancel()
	for range 20 {
		clients.Go(func() {
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			for ctx.Err() == nil {
				if response, err := l.get(ctx, l.new, "/version"); err == nil {
					response.Body.Close()
				}
				<-tick.C
			}
		})
	}
	f()
}
