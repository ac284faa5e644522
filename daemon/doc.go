// Package daemon builds the parts of kuberelay from a Configuration, connects
// them, and runs them: [New], [Daemon.Start], [Daemon.Stop]. It is embeddable:
// it handles no signals, keeps no globals, and writes to nothing but the
// logger it is given.
//
// The parts do not know each other; this package ties them together. parts.go
// and wire.go make them of a configuration, and cluster.go those of one cluster.
// At run time, transition.go takes a change of a server's state to the balancer
// and to the requests in flight, mesh.go what peers say and operators decide to
// the other parts and back, control.go what operators ask for to all of them,
// and recorder.go the end of each request to the metrics and the access log.
package daemon
