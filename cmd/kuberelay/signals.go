package main

import (
	"os"
	"os/signal"
	"syscall"
)

// notify delivers the signals that end the program, and SIGHUP. Without
// reloads that is one of them: a proxy must not outlive the terminal that it
// was started from, and kubectl proxy does not. Under nohup, which ignores it,
// it stays ignored then.
func notify(reloads bool) (signals <-chan os.Signal, stop func()) {
	c := make(chan os.Signal, 2)
	signal.Notify(c, os.Interrupt, syscall.SIGTERM)
	if reloads || !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(c, syscall.SIGHUP)
	}
	return c, func() { signal.Stop(c) }
}

// interrupted is the end of a process that did not want to wait any longer.
type interrupted struct{ signal os.Signal }

func (i interrupted) Error() string { return i.signal.String() }

// code is the shell's for a process that the signal ended.
func (i interrupted) code() int {
	if n, ok := i.signal.(syscall.Signal); ok {
		return 128 + int(n)
	}
	return exitFailure
}
