// Package health keeps one state for each upstream (API server) of a cluster:
// READY, SUSPECT, DEGRADED, DOWN or MISCONFIGURED.
//
// Two sources feed it. Active probes ask every upstream for /readyz, and for
// /livez when it says no (https://kubernetes.io/docs/reference/using-api/health-checks/).
// Passive observations come from the data path: a refused connection is known
// there long before the next probe. A [Group] holds one goroutine per upstream,
// which owns that upstream's state machine; a [Prober] does the asking.
//
// The package decides states only. What a state means for a request is the
// balancer's business.
package health
