package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"
)

// parentVariable makes the test program a parent that a test kills.
const parentVariable = "KUBERELAY_LAB_TEST_PARENT"

// shared is the lab of all tests, which leave it as they found it.
var shared *Lab

func TestMain(m *testing.M) {
	if os.Getenv(parentVariable) != "" {
		if err := beParent(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
	}
	code, err := runWithLab(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func runWithLab(m *testing.M) (code int, err error) {
	// Room for the first build of the programs on a slow machine.
	ctx, cancel := context.WithTimeout(context.Background(), 25*time.Minute)
	defer cancel()
	if shared, err = Start(ctx, Options{Log: os.Stderr, AuditLog: true}); err != nil {
		return 1, err
	}
	defer func() {
		if closeErr := shared.Close(); err == nil {
			err = closeErr
		}
	}()
	return m.Run(), nil
}

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
