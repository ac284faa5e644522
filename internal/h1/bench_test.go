package h1_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/kuberelay/kuberelay/internal/h1"
)

// The benchmarks' server is this test binary in a process of its own, so that
// the CPU time reported (cpu-ns/op) is the client's alone.
const benchServerEnv = "H1_BENCH_SERVER"

// runBenchServer prints its address and certificate, and serves until its
// standard input ends.
func runBenchServer() int {
	payload := make([]byte, 1<<20)
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		size, err := strconv.Atoi(r.URL.Path[1:])
		if err != nil || size > len(payload) {
			http.Error(w, "the path is not a size", http.StatusBadRequest)
			return
		}
		h := w.Header()
		h.Set("Audit-Id", "6b1a6a3c-0f4b-4f0e-9f0a-0e6e5b1a7c1d")
		h.Set("Cache-Control", "no-cache, private")
		h.Set("Content-Type", "application/json")
		h.Set("X-Kubernetes-Pf-Flowschema-Uid", "3c5b9d3e-1fd0-4c77-9d38-5d8f3f6a4b10")
		h.Set("X-Kubernetes-Pf-Prioritylevel-Uid", "77b4bd0c-a1ab-4d7b-9a3f-9b1f0e2f6d52")
		_, _ = w.Write(payload[:size])
	}))
	defer srv.Close()
	fmt.Println(srv.Listener.Addr())
	if err := pem.Encode(os.Stdout, &pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}); err != nil {
		return 1
	}
	if err := os.Stdout.Close(); err != nil {
		return 1
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

// startBenchServer returns its address and how to trust it.
func startBenchServer(b *testing.B) (addr string, cfg *tls.Config) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), benchServerEnv+"=1")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	out := bufio.NewReader(stdout)
	line, err := out.ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	cert, err := io.ReadAll(out)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = stdin.Close()
		if err := cmd.Wait(); err != nil {
			b.Error(err)
		}
	})
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(cert) {
		b.Fatal("no certificate from the server")
	}
	return line[:len(line)-1], &tls.Config{RootCAs: pool, ServerName: "example.com"}
}

var benchHeader = http.Header{
	"Accept":          {"application/json"},
	"Accept-Encoding": {"gzip"},
	"Authorization":   {"Bearer 0123456789abcdef0123456789abcdef0123456789abcdef"},
	"User-Agent":      {"kubectl/v1.37.0 (linux/amd64) kubernetes/0000000"},
	"Audit-Id":        {"6b1a6a3c-0f4b-4f0e-9f0a-0e6e5b1a7c1d"},
}

// measure runs get on 16 goroutines and reports this process's CPU time.
func measure(b *testing.B, get func(context.Context) (*http.Response, error)) {
	b.ReportAllocs()
	b.SetParallelism(8)
	b.ResetTimer()
	before := cpuTime(b)
	b.RunParallel(func(pb *testing.PB) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		buf := make([]byte, 32<<10)
		for pb.Next() {
			resp, err := get(ctx)
			if err != nil {
				b.Error(err)
				return
			}
			for err == nil {
				_, err = resp.Body.Read(buf)
			}
			if err != io.EOF || resp.StatusCode != http.StatusOK {
				b.Error(resp.Status, err)
			}
			if err := resp.Body.Close(); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
}

func cpuTime(b *testing.B) time.Duration {
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
		b.Fatal(err)
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}

func benchmarkSize(b *testing.B, size string) {
	addr, cfg := startBenchServer(b)
	b.Run("h1", func(b *testing.B) {
		t := h1.New(h1.Options{Address: addr, TLS: cfg})
		defer t.Close()
		measure(b, func(ctx context.Context) (*http.Response, error) {
			return t.Do(ctx, &h1.Request{Method: "GET", Target: "/" + size, Host: "example.com", Header: benchHeader})
		})
	})
	b.Run("nethttp", func(b *testing.B) {
		cfg := cfg.Clone()
		cfg.NextProtos = []string{"http/1.1"}
		t := &http.Transport{TLSClientConfig: cfg, MaxIdleConnsPerHost: 256, DisableCompression: true}
		defer t.CloseIdleConnections()
		u := &url.URL{Scheme: "https", Host: addr, Path: "/" + size}
		measure(b, func(ctx context.Context) (*http.Response, error) {
			return t.RoundTrip((&http.Request{Method: "GET", URL: u, Host: "example.com", Header: benchHeader}).WithContext(ctx))
		})
	})
}

func BenchmarkGet1KiB(b *testing.B)  { benchmarkSize(b, "1024") }
func BenchmarkList1MiB(b *testing.B) { benchmarkSize(b, "1048576") }
