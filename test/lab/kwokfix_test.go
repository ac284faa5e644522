package lab

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestKwokOfAnotherVersionIsNotRepairedBlindly(t *testing.T) {
	module := t.TempDir()
	for _, fix := range kwokFixes {
		path := filepath.Join(module, filepath.FromSlash(fix.file))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("package other\n"), 0o444); err != nil {
			t.Fatal(err)
		}
	}
	err := fixKwok(module, filepath.Join(t.TempDir(), "fixed"))
	if err == nil || !strings.Contains(err.Error(), "found the place 0 times") {
		t.Errorf("fixKwok: %v", err)
	}
}
