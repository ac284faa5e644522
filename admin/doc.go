// Package admin is what an operator sees and does: the Prometheus metrics, the
// health endpoints and the status document, the HTTP server for them, and the
// control socket, which serves them too and carries out operations.
//
// It is a leaf. [Metrics] has a method for each event that is counted; the daemon
// calls it from the hooks of the packages where the events happen, which
// therefore know nothing of Prometheus. [Server] and [Control] are given
// functions for the status, the readiness and the [Operations]. Nothing can be
// changed through a Server; a Control changes things for whoever can connect to
// it. The commands ask either of them with a [Client].
package admin
