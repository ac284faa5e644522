package audit

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestOpenRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		prepare func(t *testing.T, path string)
		want    []string // parts of the error, besides the path
	}{
		"a directory that is missing": {
			prepare: func(t *testing.T, path string) { check(t, os.Remove(filepath.Dir(path))) },
			want:    []string{"directory", "no such file", "make it"},
		},
		"a directory": {
			prepare: func(t *testing.T, path string) { check(t, os.Mkdir(path, 0o700)) },
			want:    []string{"not a regular file", "d", "name another"},
		},
		"a file that the group may write": {
			prepare: func(t *testing.T, path string) { makeFile(t, path, "", 0o620) },
			want:    []string{"0620", "chmod go-w"},
		},
		"a file that everybody may write": {
			prepare: func(t *testing.T, path string) { makeFile(t, path, "", 0o602) },
			want:    []string{"0602", "chmod go-w"},
		},
		"a link to such a file": {
			prepare: func(t *testing.T, path string) {
				makeFile(t, path+".1", "", 0o666)
				check(t, os.Symlink(path+".1", path))
			},
			want: []string{"0666", "chmod go-w"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "log", "audit.jsonl")
			check(t, os.Mkdir(filepath.Dir(path), 0o700))
			tc.prepare(t, path)
			l, err := Open(Config{File: path}, Options{})
			if err == nil {
				check(t, l.Close())
				t.Fatal("Open() = nil, want an error")
			}
			for _, part := range append(tc.want, path) {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("Open() = %v, want it to have %q", err, part)
				}
			}
		})
	}
}

func TestOpenRefusesAConfigThatCannotBeMeant(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	if _, err := Open(Config{File: path, Level: "Request"}, Options{}); err == nil {
		t.Error("Open() = nil, want an error")
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("there is a file: %v", err)
	}
}

func TestANewFileIsItsOwnersAlone(t *testing.T) {
	_, path := open(t, Options{})
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if perm := info.Mode().Perm(); perm != 0o600 {
		t.Errorf("mode = %#o, want 0600", perm)
	}
}

// A process that was killed in the middle of a line costs that line alone.
func TestAFileThatEndsInATornLine(t *testing.T) {
	whole := string(encoded(&Event{AuditID: "1"}))
	for name, tc := range map[string]struct{ before, between string }{
		"is an empty file":    {"", ""},
		"ends whole":          {whole, ""},
		"ends torn":           {whole + `{"kind":"Ev`, "\n"},
		"lacks a newline":     {strings.TrimSuffix(whole, "\n"), "\n"},
		"has only a newline":  {"\n", ""},
		"has one letter only": {"{", "\n"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "audit.jsonl")
			makeFile(t, path, tc.before, 0o640)
			l, err := Open(Config{File: path}, Options{})
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				check(t, l.Write(&Event{AuditID: "1"}))
			}
			check(t, l.Close())
			if got, want := content(t, path), tc.before+tc.between+whole+whole; got != want {
				t.Errorf("the file has\n%q, want\n%q", got, want)
			}
		})
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// makeFile makes a file with mode, whatever the umask is.
func makeFile(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	check(t, os.WriteFile(path, []byte(content), 0o600))
	check(t, os.Chmod(path, mode))
}
