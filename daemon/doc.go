// Package daemon builds the parts of kuberelay from a Configuration, connects
// them, and runs them: [New], [Daemon.Start], [Daemon.Stop]. It is embeddable:
// it handles no signals, keeps no globals, and writes to nothing but the
// logger it is given.
//
// The parts do not know each other. What ties them (a state change moves an
// upstream in the balancer, an attempt's end is a health sample) is in
// cluster.go and wire.go.
package daemon
