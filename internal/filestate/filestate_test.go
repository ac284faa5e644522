package filestate

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// touch writes a file and sets its time.
func touch(t *testing.T, path, content string, at time.Time) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

func TestChangesOfFilesAreSeen(t *testing.T) {
	old := time.Now().Add(-time.Hour)
	for name, c := range map[string]struct {
		change func(dir string)
		seen   bool
	}{
		"nothing": {func(string) {}, false},
		"another time, same size": {func(dir string) {
			touch(t, filepath.Join(dir, "a"), "1", old.Add(time.Second))
		}, true},
		"another size, same time": {func(dir string) {
			touch(t, filepath.Join(dir, "a"), "12", old)
		}, true},
		"a symlink to a file of the same size and time": {func(dir string) {
			next := filepath.Join(dir, "next")
			if err := os.Symlink("b2", next); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(next, filepath.Join(dir, "link")); err != nil {
				t.Fatal(err)
			}
		}, true},
		"another mode": {func(dir string) {
			if err := os.Chmod(filepath.Join(dir, "a"), 0o400); err != nil {
				t.Fatal(err)
			}
		}, true},
		"gone": {func(dir string) {
			if err := os.Remove(filepath.Join(dir, "a")); err != nil {
				t.Fatal(err)
			}
		}, true},
		"come into being": {func(dir string) { touch(t, filepath.Join(dir, "later"), "1", old) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, f := range []string{"a", "b1", "b2"} {
				touch(t, filepath.Join(dir, f), "1", old)
			}
			if err := os.Symlink("b1", filepath.Join(dir, "link")); err != nil {
				t.Fatal(err)
			}
			paths := []string{filepath.Join(dir, "a"), filepath.Join(dir, "link"), filepath.Join(dir, "later")}
			before := Look(paths)
			c.change(dir)
			after := Look(paths)
			if got := !before.Unchanged(&after); got != c.seen || got == before.Same(&after) {
				t.Errorf("change seen = %t, same = %t, want %t", got, before.Same(&after), c.seen)
			}
		})
	}
}

func TestFileJustWrittenIsReadOnceMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "a")
		touch(t, path, "1", time.Now())
		first := Look([]string{path})
		touch(t, path, "2", time.Now()) // looks the same
		second := Look([]string{path})
		if first.Unchanged(&second) {
			t.Error("a file written again in the same instant counts as unchanged")
		}
		if !first.Same(&second) {
			t.Error("a file that looks the same does not count as the same")
		}
		<-time.After(coarseTime)
		third := Look([]string{path})
		fourth := Look([]string{path})
		if !third.Unchanged(&fourth) {
			t.Error("a file is read again and again long after it was written")
		}
	})
}

func TestFileIsReadWhenItIsQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "a")
		start := time.Now()
		touch(t, path, "1", start)
		LookQuietly(t.Context(), []string{path})
		if waited := time.Since(start); waited != quietTime {
			t.Errorf("waited %s after the write, want %s", waited, quietTime)
		}
		start = time.Now()
		ticker := time.NewTicker(quietTime / 4)
		defer ticker.Stop()
		done := make(chan struct{})
		go func() {
			defer close(done)
			LookQuietly(t.Context(), []string{path})
		}()
		for writing := true; writing; {
			select {
			case <-ticker.C:
				touch(t, path, "1", time.Now())
			case <-done:
				writing = false
			}
		}
		if waited := time.Since(start); waited > maxQuietWait+quietTime {
			t.Errorf("waited %s for a file that is written all the time", waited)
		}
		touch(t, path, "1", time.Now().Add(time.Hour))
		start = time.Now()
		LookQuietly(t.Context(), []string{path})
		if waited := time.Since(start); waited != 0 {
			t.Errorf("waited %s for a file from the future", waited)
		}
	})
}

func TestEmptiedFiles(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	touch(t, a, "1", time.Now())
	touch(t, b, "", time.Now())
	before := Look([]string{a, b})
	same := Look([]string{a, b})
	if path, found := before.Emptied(&same); found {
		t.Errorf("%s counts as emptied", path)
	}
	touch(t, a, "", time.Now())
	empty := Look([]string{a, b})
	if path, found := before.Emptied(&empty); !found || path != a {
		t.Errorf("Emptied() = %q, %t, want %q", path, found, a)
	}
}

func TestPartsOfAState(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	old := time.Now().Add(-time.Hour)
	touch(t, a, "1", old)
	both := Look([]string{a, b})
	part := both.Of([]string{a, filepath.Join(dir, "unknown")})
	if want := Look([]string{a}); !want.Unchanged(&part) {
		t.Errorf("the part of one file is %v, want %v", part, want)
	}
	touch(t, a, "12", old)
	touch(t, b, "1", old)
	later := Look([]string{a, b})
	part.Add(later)
	if part.Unchanged(&later) {
		t.Error("what was known was replaced")
	}
	if later := later.Of([]string{b}); !later.Unchanged(new(part.Of([]string{b}))) {
		t.Error("what was not known was not taken over")
	}
	var none State
	none.Add(later)
	if !none.files[a].ModTime().Equal(old) {
		t.Error("nothing was added to the zero value")
	}
}
