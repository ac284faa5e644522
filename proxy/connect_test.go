package proxy

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kuberelay/kuberelay/internal/h1"
)

// TestWatchConnectionsAreDialedWithinTheLimits has an address at which the dial
// or the handshake is not answered, or broken off. The watch goes to another
// server, within the time that other requests take to find out.
func TestWatchConnectionsAreDialedWithinTheLimits(t *testing.T) {
	for name, dial := range map[string]func(ctx context.Context, network, address string) (net.Conn, error){
		"black hole": func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
		"handshake": func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			go func() {
				_, _ = io.Copy(io.Discard, server)
				server.Close()
			}()
			return client, nil
		},
		"handshake broken off": func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			go func() {
				_, _ = server.Read(make([]byte, 1))
				server.Close()
			}()
			return client, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u := NewUpstream(UpstreamOptions{ID: "u", URL: &url.URL{Scheme: "https", Host: "u:6443"}, TLS: &tls.Config{ServerName: "u"}, Dial: dial})
				defer u.Close()
				begun := time.Now()
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://u:6443/api/v1/pods?watch=1", nil)
				if err != nil {
					t.Fatal(err)
				}
				_, err = u.own.http2.RoundTrip(req)
				if took := time.Since(begun); err == nil || took > h1.DefaultDialTimeout+h1.DefaultHandshakeTimeout {
					t.Fatalf("%v after %v", err, took)
				}
				if v := judgeError(t.Context(), err); v.resend != resendAny {
					t.Errorf("%v: %+v, want any request to go to another server", err, v)
				}
			})
		})
	}
}
