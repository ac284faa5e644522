package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// load is a steady stream of reads, each sent once.
type load struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	result loadResult // guarded by mu
}

// loadResult is what came of a load.
type loadResult struct {
	sent     int
	failures []string
	slowest  time.Duration
}

func (r loadResult) String() string {
	return fmt.Sprintf("%d reads, %d failed, slowest %v", r.sent, len(r.failures), r.slowest.Round(time.Millisecond))
}

var loadPaths = []string{"/version", "/api/v1/pods", "/apis/apps/v1/deployments", "/api/v1/nodes?resourceVersion=0"}

// A read that takes longer counts as failed.
const readTimeout = 10 * time.Second

// startLoad sends perSecond reads a second until stop, each when it is due,
// however long others take.
func startLoad(url string, perSecond int) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{cancel: cancel}
	client := &http.Client{Timeout: readTimeout}
	l.wg.Go(func() {
		defer client.CloseIdleConnections()
		tick := time.NewTicker(time.Second / time.Duration(perSecond))
		defer tick.Stop()
		var reads sync.WaitGroup
		defer reads.Wait()
		for i := 0; ; i++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				reads.Go(func() { l.read(client, url+loadPaths[i%len(loadPaths)]) })
			}
		}
	})
	return l
}

func (l *load) read(client *http.Client, url string) {
	began := time.Now()
	err := fetch(client, url)
	took := time.Since(began)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.result.sent++
	l.result.slowest = max(l.result.slowest, took)
	if err != nil {
		l.result.failures = append(l.result.failures, err.Error())
	}
}

func fetch(client *http.Client, url string) error {
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("GET %s: %w", url, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s: %.200s", url, resp.Status, body)
	}
	return nil
}

// stop ends the load after the answers to what was sent.
func (l *load) stop() loadResult {
	l.cancel()
	l.wg.Wait()
	return l.result
}
