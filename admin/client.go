package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// dialTimeout is for a process on this machine or on one nearby.
	dialTimeout = 5 * time.Second

	// answerTimeout bounds everything but a reload.
	answerTimeout = 30 * time.Second

	// maxAnswer bounds what a client reads. It has room for the status of many
	// clusters with as many clients as are listed.
	maxAnswer = 16 << 20
)

// Client talks to a running kuberelay through its control socket or, to read
// only, its admin address. Its methods return an error that is [ErrNotRunning]
// when nobody answers there, and a [*RefusedError] when the process refuses. It
// is safe for concurrent use.
type Client struct {
	where string // the socket or the address, for errors
	base  string // URL without a path
	http  *http.Client
}

// NewClient returns a client of the control socket at a path. It does not
// connect yet.
func NewClient(socket string) *Client {
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "unix", socket)
	}}
	return &Client{where: socket, base: "http://localhost", http: newHTTPClient(transport)}
}

// NewAddressClient returns a client of an admin address, host:port or
// http://host:port, which serves the status but no operations. It does not
// connect yet.
func NewAddressClient(address string) (*Client, error) {
	hostport := strings.TrimSuffix(strings.TrimPrefix(address, "http://"), "/")
	u, err := url.Parse("http://" + hostport)
	if err != nil || u.Hostname() == "" || u.Port() == "" || "http://"+u.Host != "http://"+hostport {
		return nil, fmt.Errorf("%q is no admin address: want HOST:PORT, such as 127.0.0.1:9801", address)
	}
	// No proxy: an admin address is nearby.
	transport := &http.Transport{DialContext: (&net.Dialer{Timeout: dialTimeout}).DialContext}
	return &Client{where: hostport, base: u.String(), http: newHTTPClient(transport)}, nil
}

func newHTTPClient(transport *http.Transport) *http.Client {
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Status returns the status document.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	err := c.do(ctx, http.MethodGet, "/api/v1/status", nil, &s)
	return s, err
}

// Reload makes the process read its configuration file again, waits until that is
// in force, and returns what changed. What is wrong with the file is in the
// Problems of the [*RefusedError]. See [Operations] for force.
func (c *Client) Reload(ctx context.Context, force bool) (changed []string, err error) {
	var answer reloadAnswer
	err = c.do(ctx, http.MethodPost, "/control/v1/reload", reloadRequest{Force: force}, &answer)
	return answer.Changed, err
}

// Drain takes an upstream of a cluster out of use.
func (c *Client) Drain(ctx context.Context, cluster, upstream string) error {
	return c.do(ctx, http.MethodPost, "/control/v1/drain", drainRequest{cluster, upstream}, nil)
}

// Undrain lets an upstream be used again.
func (c *Client) Undrain(ctx context.Context, cluster, upstream string) error {
	return c.do(ctx, http.MethodPost, "/control/v1/undrain", drainRequest{cluster, upstream}, nil)
}

// Revoke refuses a client from now on, for d or, if that is zero, until it is
// lifted. The reason may be empty.
func (c *Client) Revoke(ctx context.Context, client string, d time.Duration, reason string) (Revoked, error) {
	request := revokeRequest{Client: client, Reason: reason}
	if d != 0 {
		request.For = d.String()
	}
	var answer Revoked
	err := c.do(ctx, http.MethodPost, "/control/v1/revoke", request, &answer)
	return answer, err
}

// Unrevoke lifts a revocation.
func (c *Client) Unrevoke(ctx context.Context, client string) error {
	return c.do(ctx, http.MethodPost, "/control/v1/unrevoke", unrevokeRequest{client}, nil)
}

// do sends a request and decodes the answer, which may be nil.
func (c *Client) do(ctx context.Context, method, path string, request, answer any) error {
	timeout := answerTimeout
	if strings.HasSuffix(path, "/reload") {
		timeout += reloadTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var body io.Reader
	if request != nil {
		encoded, err := json.Marshal(request)
		if err != nil {
			return fmt.Errorf("encode the request: %w", err)
		}
		body = bytes.NewReader(encoded)
	}
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return fmt.Errorf("%s: %w", c.where, err)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	response, err := c.http.Do(r)
	if err != nil {
		return c.unreachable(err)
	}
	defer response.Body.Close()
	read, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case err != nil:
		return fmt.Errorf("%s: read the answer: %w", c.where, err)
	case len(read) > maxAnswer:
		return fmt.Errorf("%s: the answer is larger than %d bytes", c.where, maxAnswer)
	case response.StatusCode != http.StatusOK:
		return c.refused(response.StatusCode, read)
	case answer == nil:
		return nil
	}
	if err := json.Unmarshal(read, answer); err != nil {
		return fmt.Errorf("%s does not answer as kuberelay does: %w", c.where, err)
	}
	return nil
}

// RefusedError is the answer of a process that refuses.
type RefusedError struct {
	Code     int      // HTTP status
	Problems []string // what is wrong, one or more
}

// Error has a line for each problem.
func (e *RefusedError) Error() string { return strings.Join(e.Problems, "\n") }

func (c *Client) refused(code int, body []byte) error {
	var s metav1.Status
	if err := json.Unmarshal(body, &s); err != nil || s.Kind != "Status" || s.Message == "" {
		return fmt.Errorf("%s does not answer as kuberelay does: HTTP status %d", c.where, code)
	}
	e := &RefusedError{Code: code}
	if s.Details != nil {
		for _, cause := range s.Details.Causes {
			e.Problems = append(e.Problems, cause.Message)
		}
	}
	if len(e.Problems) == 0 {
		e.Problems = []string{s.Message}
	}
	return e
}

// ErrNotRunning says that nobody answers where kuberelay should.
var ErrNotRunning = errors.New("kuberelay is not running")
