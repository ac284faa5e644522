//go:build unix

package program_test

import (
	"bufio"
	"context"
	"io"
	"os/exec"
	"testing"

	"github.com/kuberelay/kuberelay/internal/program"
)

// TestGroupEndsWithItsContext has a shell wait for a child that holds standard
// output open: it is closed only when the child is gone as well.
func TestGroupEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, "sh", "-c", "sleep 600 & echo started; wait")
	program.OwnGroup(cmd)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	output := bufio.NewReader(stdout)
	if line, err := output.ReadString('\n'); err != nil {
		t.Fatalf("the shell printed %q: %v", line, err)
	}
	cancel()
	if rest, err := io.ReadAll(output); err != nil || len(rest) > 0 {
		t.Errorf("read %q, %v, want the end", rest, err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the shell ended well, want it killed")
	}
}
