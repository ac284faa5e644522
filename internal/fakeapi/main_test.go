package fakeapi

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// protocols are the two ways in, as subtests.
var protocols = map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true}

func eachProtocol(t *testing.T, f func(t *testing.T, proto string, s *Server, c *http.Client)) {
	for proto, http2 := range protocols {
		t.Run(proto, func(t *testing.T) {
			s := New(t, Options{})
			f(t, proto, s, newClient(t, s, http2))
		})
	}
}

func newClient(t *testing.T, s *Server, http2 bool) *http.Client {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!http2)
	protocols.SetHTTP2(http2)
	transport := &http.Transport{TLSClientConfig: clientTLS(s), Protocols: protocols, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func clientTLS(s *Server) *tls.Config {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.CAPEM)
	return &tls.Config{RootCAs: roots, ServerName: "kubernetes"}
}

// reply is an answer with its body read.
type reply struct {
	*http.Response
	body string
	err  error // of reading the body
}

// send asks, and returns the transport's error when there is no answer.
func send(t *testing.T, c *http.Client, method, url, body string, header ...string) (reply, error) {
	t.Helper()
	// Not a strings.Reader: the transport shall not know how to rewind it.
	var reader io.Reader
	if body != "" {
		reader = io.MultiReader(strings.NewReader(body))
	}
	req, err := http.NewRequestWithContext(t.Context(), method, url, reader)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return reply{resp, string(b), err}, nil
}

// get asks and expects an answer.
func get(t *testing.T, c *http.Client, url string, header ...string) reply {
	t.Helper()
	r, err := send(t, c, "GET", url, "", header...)
	if err != nil {
		t.Fatal(err)
	}
	if r.err != nil {
		t.Fatal(r.err)
	}
	return r
}
