// Testcount reads the events of one or several runs of go test -json and
// prints what a person wants to see of them: a line for each package, failures
// in full, and at the end
//
//	1234 passed, 0 failed, 0 skipped
//
// Every half minute it says where the tests are, since packages and builds can
// take several. It exits with 1 if anything failed, or nothing ran.
package main

import (
	"fmt"
	"os"
	"time"
)

// progress is how often a line says where the tests are.
const progress = 30 * time.Second

func main() {
	c := newCounter(os.Stdout)
	if err := c.read(os.Stdin, time.Tick(progress)); err != nil {
		fmt.Fprintln(os.Stderr, "testcount:", err)
		os.Exit(1)
	}
	if !c.summary() {
		os.Exit(1)
	}
}
