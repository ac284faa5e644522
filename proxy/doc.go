// Package proxy is the data path of one request, in this order: canonicalise
// the path, gate what a browser or the request filter must not do, inject the
// credential, forward to an upstream chosen by the balancer (again, where the
// outcome table allows it), stream the answer back, and record what happened.
//
// A [Handler] serves one listener of one [Cluster]. A Cluster holds the pool
// of [Upstream]s, each of which is one API server with its own connections:
// HTTP/1.1 for short requests and upgrades, HTTP/2 for watches. A [Registry]
// knows every request in flight, so that a server's death, a drain or a
// shutdown is one "cancel by property" on it.
//
// The package imports none of health, admin or config: what it learns leaves
// through [Hooks], which the daemon connects.
package proxy
