package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// component is one program of the lab: at most one process at a time, always
// with the same log file.
type component struct {
	name    string
	program string
	args    func() []string
	logFile string
	spawner *spawner
	// onExit is called when the process has ended, for whatever reason, before
	// anyone who waits for that is told. May be nil.
	onExit func()

	mu   sync.Mutex
	proc *process // guarded by mu; nil before the first start
}

// process is one run of a component.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has been waited for
}

func (l *Lab) component(name, program string, args func() []string) *component {
	return &component{
		name:    name,
		program: program,
		args:    args,
		logFile: l.path("log", name+".log"),
		spawner: l.spawner,
	}
}

// start starts the process. It fails when one is running.
func (c *component) start() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.runningLocked() {
		return fmt.Errorf("start %s: it is running as process %d", c.name, c.proc.cmd.Process.Pid)
	}
	log, err := os.OpenFile(c.logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(c.program, c.args()...)
	cmd.Dir = filepath.Dir(c.logFile)
	cmd.Stdout, cmd.Stderr = log, log
	// Go's listeners speak MPTCP by default, whose sockets take none of the
	// options that Server.Blackhole needs.
	cmd.Env = append(os.Environ(), "GODEBUG=multipathtcp=0")
	if err := c.spawner.start(cmd); err != nil {
		return fmt.Errorf("start %s: %w", c.name, err)
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	c.proc = p
	go func() {
		// How it ended is in cmd.ProcessState.
		_ = cmd.Wait()
		if c.onExit != nil {
			c.onExit()
		}
		close(p.done)
	}()
	return nil
}

func (c *component) runningLocked() bool {
	if c.proc == nil {
		return false
	}
	select {
	case <-c.proc.done:
		return false
	default:
		return true
	}
}

// running returns the current process, nil when there is none.
func (c *component) running() *process {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.runningLocked() {
		return nil
	}
	return c.proc
}

// pid is 0 when no process is running.
func (c *component) pid() int {
	if p := c.running(); p != nil {
		return p.cmd.Process.Pid
	}
	return 0
}

func (c *component) signal(s syscall.Signal) error {
	p := c.running()
	if p == nil {
		return fmt.Errorf("%s is not running", c.name)
	}
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %v to %s: %w", s, c.name, err)
	}
	return nil
}

// kill ends the process and its own children with SIGKILL and waits.
func (c *component) kill() {
	p := c.running()
	if p == nil {
		return
	}
	// The group has the process's ID: Setpgid. ESRCH means that it ended by
	// itself, which is as good.
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.done
}

// terminate sends SIGTERM and waits until the process ends or ctx does.
func (c *component) terminate(ctx context.Context) error {
	p := c.running()
	if p == nil {
		return nil
	}
	if err := c.signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for %s to end after SIGTERM: %w", c.name, context.Cause(ctx))
	}
}

// freeze sends SIGSTOP and returns when it has taken effect.
func (c *component) freeze(ctx context.Context) error {
	if err := c.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	return c.until(ctx, "SIGSTOP to take effect on "+c.name, func(context.Context) error {
		stopped, err := frozen(c.pid())
		if err == nil && !stopped {
			err = errors.New("still running")
		}
		return err
	})
}

func (c *component) thaw() error {
	return c.signal(syscall.SIGCONT)
}

// Between two looks at something that is about to become true.
const pollInterval = 50 * time.Millisecond

// until repeats check until it succeeds. When the process ends or ctx does, the
// error holds check's last one and the end of the component's log.
func (c *component) until(ctx context.Context, what string, check func(context.Context) error) error {
	p := c.running()
	if p == nil {
		return fmt.Errorf("wait for %s: %s is not running", what, c.name)
	}
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		t := time.NewTimer(pollInterval)
		select {
		case <-t.C:
			continue
		case <-p.done:
			err = fmt.Errorf("%s ended with %v", c.name, p.cmd.ProcessState)
		case <-ctx.Done():
			err = fmt.Errorf("%w (last: %w)", context.Cause(ctx), err)
		}
		t.Stop()
		return fmt.Errorf("wait for %s: %w\nend of %s:\n%s", what, err, c.logFile, c.logTail())
	}
}

func (c *component) logTail() string {
	b, err := os.ReadFile(c.logFile)
	if err != nil {
		return err.Error()
	}
	return lastLines(b, 20)
}

// lastLines returns the last n lines of b, indented.
func lastLines(b []byte, n int) string {
	lines := strings.Split(string(bytes.TrimSpace(b)), "\n")
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return "\t" + strings.Join(lines, "\n\t")
}
