// Kuberelay is kubectl proxy for a cluster of several API servers: one endpoint
// that outlives each of them. See https://github.com/kuberelay/kuberelay.
package main

import "os"

func main() {
	os.Exit(run(os.Args, streams{out: os.Stdout, err: os.Stderr}))
}
