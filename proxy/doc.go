// Package proxy is the data path of one request: the gates, the credential, the
// API server and back, and the record of what happened.
//
// A [Handler] serves one listener, of which there are two kinds.
//
//   - A single listener is kubectl proxy with more than one API server. It has
//     that program's gates: it cleans the path, strips the API prefix, and
//     refuses what the request filter rejects or a page of another site makes a
//     browser send. What passes goes to the listener's one [Cluster], with the
//     cluster's own credential unless the client has sent one.
//   - A shared listener has many clients and clusters. Its gates are, in this
//     order: form, host and origin, identity, cluster, impersonation, limits,
//     policy. An [Access] says who may do what; the client's [Grant] for a
//     cluster has the credential and the policy. Each request leaves audit
//     events, and may be ended when a later Access does not allow it any more.
//
// A request that passes is forwarded to an [Upstream] that the balancer chooses,
// and again to another where the outcome table allows it (see outcome.go); the
// answer is streamed back, or an upgraded connection is tunnelled; and a
// [Recorder] hears how it ended.
//
// A Cluster holds the pool of Upstreams, each of which is one API server with
// its own connections: HTTP/1.1 for short requests and upgrades, HTTP/2 for
// watches. A [Registry] knows every request in flight, and ends those that a
// server's death, a drain, a shutdown, a revocation or a reload concerns.
//
// The package imports none of health, admin or config: what it learns leaves
// through [Hooks], which the daemon connects.
package proxy
