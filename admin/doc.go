// Package admin is what an operator sees: the Prometheus metrics, the two
// health endpoints and the status document, and the HTTP server for them.
//
// It is a leaf. [Metrics] offers one method for each event that is counted and
// the daemon connects them to the packages where the events happen, so that
// those know nothing of Prometheus. [Server] is given functions for the status
// and the readiness. It only shows; nothing can be changed through it.
package admin
