package docs

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// patience is how long a command may take that ends by itself; the longest ones
// build kuberelay.
const patience = 5 * time.Minute

// shell is a terminal: a bash that keeps its directory, variables and jobs from
// one command to the next.
type shell struct {
	cmd     *exec.Cmd
	scratch string // holds each command, and what it printed
	stdin   io.WriteCloser
	answers *bufio.Reader
	count   int
}

// printed is what a command has printed so far.
type printed struct{ stdout, stderr string }

// newShell starts a terminal of a user in the directory home. Scratch is
// another one of theirs. What the shell itself says, such as which jobs ended,
// is of no interest.
func newShell(home, scratch string, env []string, as *syscall.Credential) (*shell, error) {
	s := &shell{cmd: exec.Command("bash", "--norc", "--noprofile"), scratch: scratch}
	s.cmd.Dir, s.cmd.Env = home, env
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	ours, theirs, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	s.cmd.ExtraFiles = []*os.File{theirs} // descriptor 3
	s.answers = bufio.NewReader(ours)
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	// Each command of the background is a process group, as in a terminal.
	_, err = io.WriteString(s.stdin, "set -m\n")
	return s, err
}

// ask has the shell do something and returns the line that it answers with.
func (s *shell) ask(text string) (string, error) {
	if _, err := io.WriteString(s.stdin, text+"\n"); err != nil {
		return "", err
	}
	type answer struct {
		line string
		err  error
	}
	answered := make(chan answer, 1)
	go func() {
		line, err := s.answers.ReadString('\n')
		answered <- answer{strings.TrimSpace(line), err}
	}()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case a := <-answered:
		return a.line, a.err
	case <-timer.C:
		return "", fmt.Errorf("it has not ended after %v", patience)
	}
}

// command is one that was typed.
type command struct {
	text string
	s    *shell
	file string // without its ending
	pid  int    // of its process group, if it goes on
}

// write puts a command into a file, from which the shell reads it as it is.
func (s *shell) write(text string) (*command, error) {
	s.count++
	c := &command{text: text, s: s, file: filepath.Join(s.scratch, strconv.Itoa(s.count))}
	for _, old := range []string{c.file + ".out", c.file + ".err"} { // of another terminal
		if err := os.Remove(old); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	return c, os.WriteFile(c.file+".sh", []byte(text+"\n"), 0o644)
}

// source is the line by which the shell runs the command.
func (c *command) source() string {
	return fmt.Sprintf(". %[1]s.sh </dev/null >%[1]s.out 2>%[1]s.err 3>&-", c.file)
}

// run types a command and waits for its end.
func (s *shell) run(text string) (*command, error) {
	c, err := s.write(text)
	if err != nil {
		return nil, err
	}
	code, err := s.ask(c.source() + `; printf '%s\n' $? >&3`)
	if err == nil && code != "0" {
		err = errors.New("exit code " + code)
	}
	return c, err
}

// begin types a command that goes on, and waits until it prints a line.
func (s *shell) begin(ctx context.Context, text string) (*command, error) {
	c, err := s.write(text)
	if err != nil {
		return nil, err
	}
	pid, err := s.ask(c.source() + ` & printf '%s\n' $! >&3`)
	if err != nil {
		return c, err
	}
	if c.pid, err = strconv.Atoi(pid); err != nil {
		return c, err
	}
	err = until(ctx, func() error {
		switch {
		case strings.Contains(c.printed().stdout, "\n"):
			return nil
		case !c.alive():
			return errEnded
		}
		return errors.New("it has printed no line")
	})
	return c, err
}

func (c *command) alive() bool { return syscall.Kill(-c.pid, 0) == nil }

// interrupt types Ctrl-C and waits for the end.
func (c *command) interrupt() error {
	if err := syscall.Kill(-c.pid, syscall.SIGINT); err != nil {
		return fmt.Errorf("Ctrl-C: %w", err)
	}
	_, err := c.s.ask(fmt.Sprintf(`wait %d; printf '%%s\n' $? >&3`, c.pid))
	return err
}

func (c *command) printed() printed {
	out, _ := os.ReadFile(c.file + ".out") // not there yet
	errs, _ := os.ReadFile(c.file + ".err")
	return printed{string(bytes.ToValidUTF8(out, nil)), string(bytes.ToValidUTF8(errs, nil))}
}

// clipped has at most so many bytes of the beginning and the end of both.
func (p printed) clipped(most int) string {
	return "it printed:\n" + clip(p.stdout, most) + "and on standard error:\n" + clip(p.stderr, most)
}

func clip(text string, most int) string {
	if len(text) > 2*most {
		text = text[:most] + "\n[…]\n" + text[len(text)-most:]
	}
	return strings.TrimSuffix(text, "\n") + "\n"
}

// close ends the terminal with all that was begun in it.
func (s *shell) close() error {
	_, err := s.ask(`for j in $(jobs -p); do kill -TERM -- -$j 2>/dev/null; done; wait; printf 'done\n' >&3`)
	return errors.Join(err, s.stdin.Close(), s.cmd.Wait())
}

// errEnded says that there is nothing to wait for any more.
var errEnded = errors.New("it has ended, and should go on")

// until waits until attempt succeeds, or ctx ends.
func until(ctx context.Context, attempt func() error) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := attempt()
		if err == nil || errors.Is(err, errEnded) {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return err
		}
	}
}
