package lab

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// parentVariable makes the test program a parent that TestChildrenDieWithTheirParent
// kills.
const parentVariable = "KUBERELAY_LAB_TEST_PARENT"

// beParent starts a child, prints its process ID, and waits for it.
func beParent() error {
	s := newSpawner()
	cmd := exec.Command("sleep", "3600")
	if err := s.start(cmd); err != nil {
		return err
	}
	fmt.Println(cmd.Process.Pid)
	return cmd.Wait()
}

func TestChildrenDieWithTheirParent(t *testing.T) {
	ctx := testContext(t)
	parent := exec.CommandContext(ctx, os.Args[0])
	parent.Env = append(os.Environ(), parentVariable+"=1")
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := shared.StartChild(parent); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	pidfd, err := unix.PidfdOpen(child, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := parent.Wait(); err == nil {
		t.Error("the parent ended by itself")
	}
	// A pidfd becomes readable when its process ends: pidfd_open(2).
	fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, int(patience.Milliseconds()))
		if err == unix.EINTR {
			continue
		}
		if err != nil || n != 1 {
			t.Errorf("process %d outlived its parent: poll says %d, %v", child, n, err)
		}
		return
	}
}

func TestPortsAreTakenOnce(t *testing.T) {
	a, err := newPortPool()
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	// Ports of a range so small that both would find the same ones.
	b := &portPool{dir: a.dir}
	defer b.close()
	b.low, err = a.take()
	if err != nil {
		t.Fatal(err)
	}
	b.high = b.low + 1
	if port, err := b.take(); err == nil {
		t.Errorf("port %d was taken twice", port)
	}
	a.close()
	if port, err := b.take(); err != nil || port != b.low {
		t.Errorf("after its release: port %d, %v, want %d", port, err, b.low)
	}
	if b.low >= firstEphemeralPort() {
		t.Errorf("port %d is in the range of outgoing connections", b.low)
	}
}

func TestLastLines(t *testing.T) {
	if got, want := lastLines([]byte("a\nb\nc\n"), 2), "\tb\n\tc"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := lastLines([]byte("a\n"), 2), "\ta"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
