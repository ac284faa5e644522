package filestate

import (
	"context"
	"os"
	"time"
)

const (
	// quietTime is how long a file must not have been written before it is
	// read.
	quietTime = 100 * time.Millisecond
	// maxQuietWait bounds the wait for that.
	maxQuietWait = time.Second
	// coarseTime is more than the granularity of any file system's times: a
	// file written less than that before it was looked at may have been written
	// again without looking different.
	coarseTime = 2 * time.Second
)

// State is how files looked at one time. The zero value is of no files.
type State struct {
	at    time.Time
	files map[string]os.FileInfo // nil: it was not there or not accessible
}

// Look stats paths, following symlinks. What is not there, or not accessible,
// is part of the state.
func Look(paths []string) State {
	s := State{at: time.Now(), files: make(map[string]os.FileInfo, len(paths))}
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			info = nil
		}
		s.files[p] = info
	}
	return s
}

// LookQuietly looks until no file was written in the last tenth of a second, for
// at most a second or until ctx ends: most tools truncate a file and then write
// it.
func LookQuietly(ctx context.Context, paths []string) State {
	deadline := time.Now().Add(maxQuietWait)
	for {
		s := Look(paths)
		age := s.youngest()
		if age >= quietTime || s.at.After(deadline) {
			return s
		}
		timer := time.NewTimer(quietTime - age)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return s
		}
	}
}

// youngest is the time since the last write of any file, at most coarseTime. A
// time well in the future, from a clock that disagrees, says nothing.
func (s *State) youngest() time.Duration {
	age := coarseTime
	for _, info := range s.files {
		if info == nil {
			continue
		}
		if a := s.at.Sub(info.ModTime()); a > -coarseTime && a < age {
			age = max(a, 0)
		}
	}
	return age
}

// Unchanged is Same for a State that was late enough after the files' last
// write: until two seconds later, a file may be written again without looking
// different.
func (s *State) Unchanged(next *State) bool {
	return s.youngest() >= coarseTime && s.Same(next)
}

// Same reports whether next shows the same files with the same content, as far
// as one can see: file, size, mode (which decides whether it can be read) and
// time.
func (s *State) Same(next *State) bool {
	if len(s.files) != len(next.files) {
		return false
	}
	for path, before := range s.files {
		after, ok := next.files[path]
		switch {
		case !ok || (before == nil) != (after == nil):
			return false
		case before == nil:
		case !os.SameFile(before, after) || before.Size() != after.Size() || before.Mode() != after.Mode() || !before.ModTime().Equal(after.ModTime()):
			return false
		}
	}
	return true
}

// Of returns the part of s that is about paths.
func (s *State) Of(paths []string) State {
	part := State{at: s.at, files: make(map[string]os.FileInfo, len(paths))}
	for _, p := range paths {
		if info, known := s.files[p]; known {
			part.files[p] = info
		}
	}
	return part
}

// Add takes over what other says of files that s does not have.
func (s *State) Add(other State) {
	if s.files == nil {
		s.files = make(map[string]os.FileInfo, len(other.files))
	}
	for path, info := range other.files {
		if _, known := s.files[path]; !known {
			s.files[path] = info
		}
	}
}

// Emptied returns the path of a file that has content in s and none in next.
func (s *State) Emptied(next *State) (path string, found bool) {
	for path, before := range s.files {
		if before == nil || before.Size() == 0 {
			continue
		}
		if after, ok := next.files[path]; ok && (after == nil || after.Size() == 0) {
			return path, true
		}
	}
	return "", false
}
