// Package fakeapi is a small Kubernetes API server for tests, for the faults
// that a real one cannot be brought to.
//
// [New] starts one on a loopback port, with TLS, HTTP/1.1 and HTTP/2, and ends
// it with the test. It answers the health endpoints, /version, discovery and
// the few objects kuberelay itself reads, and records every request. Everything
// else is scripted: [Server.Handle] gives a path a [net/http.Handler], or a
// sequence of them for one request after the other, and this package has
// handlers for the faults:
//
//	srv := fakeapi.New(t, fakeapi.Options{})
//	srv.Handle("GET /api/v1/x", fakeapi.RST(), fakeapi.Text(200, "ok"))
//
// HTTP/1.1 is served by net/http, with access to the connection underneath.
// HTTP/2 is served by a few hundred lines on top of [http2.Framer], because no
// server made for production refuses a stream or sends GOAWAY on demand.
//
// It is only for tests and only on loopback: nothing in it limits a client.
//
// [http2.Framer]: https://pkg.go.dev/golang.org/x/net/http2#Framer
package fakeapi
