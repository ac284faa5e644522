package lab

import (
	"os/exec"
	"runtime"
)

// spawner starts processes on one thread that lives as long as it does. The
// kernel sends a parent-death signal when the parent's *thread* ends (prctl(2),
// PR_SET_PDEATHSIG), so children started from any goroutine would die at
// random.
type spawner struct {
	work chan func()
	done chan struct{}
}

func newSpawner() *spawner {
	s := &spawner{work: make(chan func()), done: make(chan struct{})}
	go func() {
		defer close(s.done)
		// Never unlocked: the thread ends with the goroutine.
		runtime.LockOSThread()
		for f := range s.work {
			f()
		}
	}()
	return s
}

// start starts cmd so that it dies with this process and gets no signals from
// its terminal.
func (s *spawner) start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = childAttributes()
	started := make(chan error, 1)
	s.work <- func() { started <- cmd.Start() }
	return <-started
}

// close ends the thread. All children must have been waited for.
func (s *spawner) close() {
	close(s.work)
	<-s.done
}
