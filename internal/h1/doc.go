// Package h1 is an HTTP/1.1 client for one upstream, made for a proxy's data
// path: short requests and upgrades, mostly over TLS.
//
// It differs from net/http.Transport in one decision: a connection has no
// goroutines of its own. The caller's goroutine writes the request and reads
// the response, which saves four context switches a request. What net/http's
// background reader notices on idle connections (the peer closed, or sent
// bytes nobody asked for) is looked up without waiting when a connection
// leaves the pool.
//
//	t := h1.New(h1.Options{Address: "10.0.0.11:6443", TLS: tlsConfig})
//	defer t.Close()
//	resp, err := t.Do(ctx, &h1.Request{
//		Method: "GET", Target: "/api/v1/pods?limit=5", Host: "10.0.0.11:6443", Header: header,
//	})
//	// err is always an *h1.Error: Phase, Reused, Written and Received say
//	// what the upstream can have seen of the request.
//	defer resp.Body.Close()
//	io.CopyBuffer(w, resp.Body, buf)
//
// Nothing is retried, followed, compressed or added here: the caller's bytes
// of path and query go upstream as they are, and an error says enough for the
// caller to decide about another attempt.
//
// Entry points:
//
//   - [Transport.Do]: one request, one response; the fast path.
//   - [Transport.RoundTrip]: the same as an http.RoundTripper.
//   - [Transport.Upgrade]: a request for another protocol, on a connection of
//     its own; 101 hands the connection over.
//   - [Transport.CloseConnections]: cuts everything, also what is in use and
//     what was upgraded (the upstream is down).
//   - [Transport.Close]: retires the transport (its TLS identity changed);
//     requests in flight finish.
//   - [ProxyDial]: an Options.Dial through an HTTP, HTTPS or SOCKS5 proxy.
//
// The message format is RFC 9112; the response parser is at least as strict
// as net/http.ReadResponse, and a fuzz test holds it to that.
package h1
