// Package admin is what an operator sees and does: the Prometheus metrics, the
// health endpoints and the status document, the HTTP server for them, and the
// control socket, which serves them too and does what operators ask for.
//
// It is a leaf. [Metrics] offers one method for each event that is counted and
// the daemon connects them to the packages where the events happen, so that
// those know nothing of Prometheus. [Server] and [Control] are given functions
// for the status, the readiness and the [Operations]. Nothing can be changed
// through a Server; a Control changes things for whoever can connect to it.
// [Client] is what the commands ask either of them with.
package admin
