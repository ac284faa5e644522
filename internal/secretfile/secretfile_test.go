package secretfile_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kuberelay/kuberelay/internal/secretfile"
)

func TestSecretFileOfOthersIsRefused(t *testing.T) {
	dir := t.TempDir()
	create := func(name string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, nil, 0o600), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	link := func(name, target string) string {
		path := filepath.Join(dir, name)
		if err := os.Symlink(target, path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	systemd := filepath.Join(dir, "systemd")
	credential := create("systemd/token", 0o440)
	t.Setenv("CREDENTIALS_DIRECTORY", link("credentials", systemd))
	public := create("public", 0o644)
	for name, c := range map[string]struct{ path, want string }{
		"the owner's":                            {create("mine", 0o600), ""},
		"read-only":                              {create("frozen", 0o400), ""},
		"through a symlink":                      {link("link", filepath.Join(dir, "mine")), ""},
		"a group's":                              {create("group", 0o640), "(mode 0640): run chmod 600 " + filepath.Join(dir, "group")},
		"everybody's":                            {public, "(mode 0644): run chmod 600 "},
		"everybody's through a symlink":          {link("public-link", public), "(mode 0644)"},
		"others can write it":                    {create("writable", 0o602), "(mode 0602)"},
		"a directory":                            {dir, "is not a regular file"},
		"a device":                               {os.DevNull, "is not a regular file"},
		"missing":                                {filepath.Join(dir, "missing"), "no such file"},
		"systemd's, for a group":                 {credential, ""},
		"systemd's, through its link":            {filepath.Join(dir, "credentials", "token"), ""},
		"systemd's, through a link to it":        {link("to-credential", credential), ""},
		"systemd's, for everybody":               {create("systemd/open", 0o444), "(mode 0444)"},
		"a link in systemd's that leads outside": {link("systemd/out", filepath.Join(dir, "group")), "(mode 0640)"},
		"beside systemd's":                       {create("systemd-not/token", 0o440), "(mode 0440)"},
		"by a path that goes through systemd's":  {systemd + "/../group", "(mode 0640)"},
	} {
		_, readErr := secretfile.Read(c.path, 8)
		for what, err := range map[string]error{"Check": secretfile.Check(c.path), "Read": readErr} {
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%s: %s: %v, want %q", name, what, err, c.want)
			}
		}
	}
}

func TestNoMoreIsReadThanTheLimit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	for limit, want := range map[int64]string{4: "0123", 10: "0123456789", 100: "0123456789"} {
		if got, err := secretfile.Read(path, limit); err != nil || string(got) != want {
			t.Errorf("Read(%d) = %q, %v, want %q", limit, got, err, want)
		}
	}
}
