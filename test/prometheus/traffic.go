package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"time"
)

const (
	pods  = "/api/v1/namespaces/default/pods" // a list
	watch = pods + "?watch=1"
)

// answer is one response, read to its end.
type answer struct {
	code int
	body string
}

var client10s = &http.Client{Timeout: 10 * time.Second}

func get(ctx context.Context, url, token string) (answer, error) {
	return do(ctx, http.MethodGet, url, token)
}

func do(ctx context.Context, method, url, token string) (answer, error) {
	resp, err := send(ctx, client10s, method, url, token)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, string(body)}, err
}

func send(ctx context.Context, c *http.Client, method, url, token string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return c.Do(req)
}

// makeTraffic makes every kind of event that a panel shows, and says when it
// did not get what it was after.
func makeTraffic(ctx context.Context, r *relay, servers *apiServers) error {
	base := "http://" + r.address
	stream, err := openWatch(ctx, base, removedToken)
	if err != nil {
		return err
	}
	defer stream.Close()
	remaining, err := openWatch(ctx, base, workerToken)
	if err != nil {
		return err
	}
	defer remaining.Close()

	for _, step := range []struct {
		method, path, token string
		want                int
	}{
		{"GET", pods, pluginToken, 200},
		{"POST", pods, workerToken, 200},
		{"GET", "/version", workerToken, 200},
		{"GET", pods, "", 401},
		{"GET", "/api/v1/secrets", workerToken, 403},
		{"GET", "/api/v1//pods", workerToken, 400},
		{"GET", pods, brokenToken, 503},
		{"GET", pods + "/unlucky", workerToken, 200}, // at the second attempt
	} {
		a, err := do(ctx, step.method, base+step.path, step.token)
		if err != nil {
			return err
		}
		if a.code != step.want {
			return fmt.Errorf("%s %s: %d, want %d: %s", step.method, step.path, a.code, step.want, a.body)
		}
	}
	if err := overLimit(ctx, base); err != nil {
		return err
	}

	// The watch of a client that a reload removes is cut.
	if err := r.writeWithoutRemoved(); err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, r.binary, "reload", "--config="+r.config).CombinedOutput(); err != nil {
		return fmt.Errorf("kuberelay reload: %w: %s", err, out)
	}
	_, err = io.Copy(io.Discard, stream) // to its end, however it ends
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("watch of a removed client: %w", err)
	}

	servers.killBusiest()
	for began := time.Now(); time.Since(began) < 6*time.Second; {
		if err := strangePacket(ctx, r.gossip); err != nil {
			return err
		}
		for _, path := range []string{pods, pods + "/a", pods + "/unlucky"} {
			if _, err := get(ctx, base+path, workerToken); err != nil {
				return err
			}
		}
		a, err := get(ctx, base+pods, brokenToken)
		if err != nil {
			return fmt.Errorf("with a credential that cannot be had: %w", err)
		}
		if a.code != http.StatusServiceUnavailable {
			return fmt.Errorf("with a credential that cannot be had: HTTP %d, want 503", a.code)
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func openWatch(ctx context.Context, base, token string) (io.ReadCloser, error) {
	resp, err := send(ctx, http.DefaultClient, http.MethodGet, base+watch, token)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return nil, fmt.Errorf("watch: %s", resp.Status)
	}
	return resp.Body, nil
}

// overLimit asks until the client's limit says no.
func overLimit(ctx context.Context, base string) error {
	for range 1000 {
		a, err := get(ctx, base+"/version", pluginToken)
		if err != nil {
			return err
		}
		if a.code == http.StatusTooManyRequests {
			return nil
		}
	}
	return errors.New("a thousand requests met no limit")
}

// strangePacket is gossip of nobody's.
func strangePacket(ctx context.Context, address string) error {
	c, err := (&net.Dialer{}).DialContext(ctx, "udp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Write([]byte("not of this mesh"))
	return err
}

// checkMetrics has promtool read /metrics.
func checkMetrics(ctx context.Context, admin string) error {
	metrics, err := get(ctx, "http://"+admin+"/metrics", "")
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "promtool", "check", "metrics")
	cmd.Stdin = strings.NewReader(metrics.body)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		return fmt.Errorf("promtool check metrics: %w\n%s", err, out)
	}
	fmt.Printf("promtool check metrics: %d lines, no complaint\n", strings.Count(metrics.body, "\n"))
	return nil
}
