package h1

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/net/proxy"
)

// maxConnectHead bounds a proxy's answer to CONNECT.
const maxConnectHead = 64 << 10

// DialFunc has the signature of net.Dialer.DialContext.
type DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// ProxyDial returns a DialFunc that goes through a proxy: CONNECT for the
// schemes http and https (RFC 9110 §9.3.6), SOCKS version 5 for socks5 and
// socks5h (RFC 1928; the proxy resolves names in both cases). The URL's
// user and password are sent as Proxy-Authorization or as SOCKS
// credentials, and appear in no error.
//
// dial reaches the proxy; nil means NewDialer. tlsConfig is for the https
// scheme; nil means the system's roots. Its ServerName is set to the proxy's
// host.
func ProxyDial(proxyURL *url.URL, dial DialFunc, tlsConfig *tls.Config) (DialFunc, error) {
	if dial == nil {
		dial = NewDialer().DialContext
	}
	if proxyURL.Hostname() == "" {
		return nil, fmt.Errorf("proxy URL %s: it names no host", proxyURL.Redacted())
	}
	switch proxyURL.Scheme {
	case "http":
		p := &connectProxy{addr: proxyAddr(proxyURL, "80"), auth: basicAuth(proxyURL.User), dial: dial}
		return p.dialContext, nil
	case "https":
		if tlsConfig == nil {
			tlsConfig = &tls.Config{}
		}
		tlsConfig = tlsConfig.Clone()
		tlsConfig.ServerName = proxyURL.Hostname()
		tlsConfig.NextProtos = []string{"http/1.1"}
		p := &connectProxy{addr: proxyAddr(proxyURL, "443"), auth: basicAuth(proxyURL.User), dial: dial, tls: tlsConfig}
		return p.dialContext, nil
	case "socks5", "socks5h":
		return socksDial(proxyURL, dial), nil
	}
	return nil, fmt.Errorf("proxy URL %s: unsupported scheme %q, use http, https or socks5", proxyURL.Redacted(), proxyURL.Scheme)
}

func proxyAddr(u *url.URL, defaultPort string) string {
	port := u.Port()
	if port == "" {
		port = defaultPort
	}
	return net.JoinHostPort(u.Hostname(), port)
}

func basicAuth(user *url.Userinfo) string {
	if user == nil {
		return ""
	}
	password, _ := user.Password()
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password))
}

// connectProxy is an HTTP proxy that is asked for tunnels.
type connectProxy struct {
	addr string
	auth string // Proxy-Authorization's value, or empty
	dial DialFunc
	tls  *tls.Config // to the proxy; nil: plain
}

// dialContext is a DialFunc.
func (p *connectProxy) dialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	raw, err := p.dial(ctx, network, p.addr)
	if err != nil {
		return nil, fmt.Errorf("proxy %s: %w", p.addr, err)
	}
	sock := newSocket(raw)
	var conn net.Conn = sock
	if p.tls != nil {
		conn = tls.Client(sock, p.tls)
	}
	stop := context.AfterFunc(ctx, func() { _ = sock.SetDeadline(time.Unix(1, 0)) })
	err = p.connect(conn, addr)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = sock.Close()
		return nil, fmt.Errorf("proxy %s: %w", p.addr, ended(ctx, err))
	}
	return conn, nil
}

// connect asks for the tunnel. Not a byte after the answer's head is taken.
func (p *connectProxy) connect(conn net.Conn, addr string) error {
	req := "CONNECT " + addr + " HTTP/1.1\r\nHost: " + addr + "\r\n"
	if p.auth != "" {
		req += "Proxy-Authorization: " + p.auth + "\r\n"
	}
	if !isVisible(addr) {
		return fmt.Errorf("invalid address %q", addr)
	}
	if _, err := conn.Write([]byte(req + "\r\n")); err != nil {
		return err
	}
	rd := reader{src: conn}
	head, err := rd.head("HTTP/1.", maxConnectHead)
	if err != nil {
		return fmt.Errorf("answer to CONNECT %s: %w", addr, unexpectedEOF(err))
	}
	var resp http.Response
	if _, err := parseResponse(&resp, head, http.MethodConnect); err != nil {
		return fmt.Errorf("answer to CONNECT %s: %w", addr, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("CONNECT %s: refused with %q", addr, resp.Status)
	}
	if rd.buffered() > 0 {
		return fmt.Errorf("CONNECT %s: the proxy sent data ahead of the tunnel", addr)
	}
	return nil
}

// socksDial returns a DialFunc over a SOCKS5 proxy.
func socksDial(u *url.URL, dial DialFunc) DialFunc {
	addr := proxyAddr(u, "1080")
	var auth *proxy.Auth
	if u.User != nil {
		password, _ := u.User.Password()
		auth = &proxy.Auth{User: u.User.Username(), Password: password}
	}
	return func(ctx context.Context, network, target string) (net.Conn, error) {
		forward := &forwardDialer{dial: dial}
		d, err := proxy.SOCKS5(network, addr, auth, forward)
		if err != nil {
			return nil, fmt.Errorf("SOCKS proxy %s: %w", addr, err)
		}
		// The negotiation leaves nothing unread, so the plain connection is
		// returned: unlike SOCKS5's wrapper it can be probed.
		if _, err := d.(proxy.ContextDialer).DialContext(ctx, network, target); err != nil {
			return nil, fmt.Errorf("SOCKS proxy %s: %w", addr, ended(ctx, err))
		}
		return forward.conn, nil
	}
}

// forwardDialer dials the SOCKS proxy, once, and keeps the connection.
type forwardDialer struct {
	dial DialFunc
	conn net.Conn
}

func (f *forwardDialer) Dial(network, addr string) (net.Conn, error) {
	return f.DialContext(context.Background(), network, addr)
}

func (f *forwardDialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	var err error
	f.conn, err = f.dial(ctx, network, addr)
	return f.conn, err
}
