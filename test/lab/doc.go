// Package lab runs a real Kubernetes control plane on one machine: one etcd,
// several kube-apiservers that share it, and kwok in the place of kubelets.
// Nodes become Ready and pods Running; exec, logs, attach and port-forward work.
//
// Everything is built from Go modules (see [Binaries]) and runs as child
// processes with files in one directory. Each API server can be killed,
// frozen, restarted or cut off with one call, so that a test says what fails
// and not how:
//
//	l, err := lab.Start(ctx, lab.Options{Log: os.Stderr})
//	...
//	defer l.Close()
//	l.Servers[1].Kill()         // as kill -9: connections reset, port refused
//	l.Servers[2].Blackhole()    // packets vanish in both directions
//	l.Servers[1].Restart(ctx)   // same port, returns when /readyz is 200
//
// Several labs can run on one machine at the same time. One lab may be shared
// by tests that put back what they broke; its methods are safe for concurrent
// use. When the process that started a lab dies, its children die with it.
package lab
