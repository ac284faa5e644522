// Package health keeps one state for each upstream (API server) of a cluster:
// READY, SUSPECT, DEGRADED, DOWN or MISCONFIGURED.
//
// Two sources feed it. Active probes ask every upstream for /readyz, and for
// /livez if it is not ready (https://kubernetes.io/docs/reference/using-api/health-checks/).
// Passive observations come from the data path, which knows of a refused
// connection long before the next probe. A [Group] has one goroutine for each
// upstream, which owns that upstream's state machine; a [Prober] sends the probes.
//
// The package decides states only. What a state means for a request is the
// balancer's business.
package health
