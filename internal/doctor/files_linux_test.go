package doctor

import (
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/kuberelay/kuberelay/config"
)

func TestASecretFileThatCannotBeReadIsNotGood(t *testing.T) {
	t.Chdir(t.TempDir()) // others may not even look for it by its full path
	path := "gossip.key"
	if err := os.WriteFile(path, nil, 0); err != nil {
		t.Fatal(err)
	}
	found := make(chan []Finding)
	go func() {
		runtime.LockOSThread() // for ever: the thread ends with the goroutine
		f := &findings{of: "this host"}
		if err := syscall.Setfsuid(65534); err != nil {
			t.Error(err)
		}
		cfg := &config.Configuration{}
		cfg.Gossip.SecretKeyFiles = []string{path}
		secrets(f, cfg)
		found <- f.list
	}()
	got := first(t, <-found, "secret-files")
	if got.Verdict != Failed || !strings.Contains(got.Text, "open "+path+": permission denied") {
		t.Errorf("%+v, want that it cannot be read", got)
	}
}
