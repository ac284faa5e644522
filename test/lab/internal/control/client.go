package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
)

// Client commands the lab whose directory is given.
type Client struct {
	dir  string
	http *http.Client
}

// NewClient returns a client of the lab in dir.
func NewClient(dir string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", filepath.Join(dir, socketName))
	}
	return &Client{dir: dir, http: &http.Client{Transport: &http.Transport{DialContext: dial}}}
}

// Do does one of Actions to a server, by index, or to etcd.
func (c *Client) Do(ctx context.Context, action, target string) error {
	return c.call(ctx, http.MethodPost, "/"+url.PathEscape(action)+"/"+url.PathEscape(target), "", nil)
}

// Log appends a line to the pods' log.
func (c *Client) Log(ctx context.Context, line string) error {
	return c.call(ctx, http.MethodPost, "/log", line, nil)
}

// Status asks the lab how it is.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	return s, c.call(ctx, http.MethodGet, "/status", "", &s)
}

func (c *Client) call(ctx context.Context, method, path, body string, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://lab"+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("reach the lab in %s (does it run?): %w", c.dir, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New(strings.TrimSpace(string(b)))
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(b, out)
}
