//go:build unix

package config

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFilesThatOthersMayWriteAreRefused reads the same file with each mode.
func TestFilesThatOthersMayWriteAreRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte("kind: none\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := path + ".link" // a ConfigMap's files are links, whose mode is 0777
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	for mode, refused := range map[fs.FileMode]bool{
		0o400: false, 0o444: false, 0o600: false, 0o640: false, 0o644: false, 0o755: false,
		0o620: true, 0o660: true, 0o664: true, 0o602: true, 0o666: true,
	} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{path, link} {
			_, err := Load(name)
			if err == nil {
				t.Fatalf("mode %04o: a file with nothing in it was loaded", mode)
			}
			if got := strings.Contains(err.Error(), "run chmod go-w "+name); got != refused {
				t.Errorf("mode %04o: %v; want it refused for its mode: %t", mode, err, refused)
			}
		}
	}
}

func TestOwnersOfTheFile(t *testing.T) {
	for name, c := range map[string]struct {
		owner, reader int
		want          string // "": fine
	}{
		"root's, read by root":               {0, 0, ""},
		"root's, read by another":            {0, 998, ""},
		"the reader's own":                   {998, 998, ""},
		"a third user's":                     {1001, 998, "the user ID 1001, neither root nor the user that this command runs as (998): run chown root /c"},
		"another user's, read by root":       {998, 0, "as root: run chown root /c"},
		"somebody's whom nothing here knows": {65534, 998, "the user ID 65534"},
	} {
		t.Run(name, func(t *testing.T) {
			err := checkOwner("/c", c.owner, c.reader)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// TestLoadAsksForTheOwner gives the file away where root runs the test; who
// cannot do that has a file of their own.
func TestLoadAsksForTheOwner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte("kind: none\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	root := os.Geteuid() == 0
	if root {
		if err := os.Chown(path, 1001, -1); err != nil {
			t.Fatal(err)
		}
	}
	_, err := Load(path)
	if err == nil {
		t.Fatal("a file with nothing in it was loaded")
	}
	if refused := strings.HasPrefix(err.Error(), path+": belongs to the user ID 1001"); refused != root {
		t.Errorf("%v; want it refused for its owner: %t", err, root)
	}
}
