package auth

import (
	"context"
	"os"
	"time"
)

const (
	// pollInterval is how often the files are looked at. A stat a second costs
	// nothing, and unlike inotify it sees through symlinks (kubelet and
	// cert-manager swap them), over NFS, and a file that does not exist yet.
	pollInterval = time.Second
	// quietTime is how long a file must not have been written before it is
	// read: most tools truncate a kubeconfig and then write it.
	quietTime = 100 * time.Millisecond
	// maxQuietWait bounds the wait for that.
	maxQuietWait = time.Second
	// coarseTime is more than the granularity of any file system's times: a
	// file written less than that before it was looked at may have been written
	// again without looking different.
	coarseTime = 2 * time.Second
)

// fileState is how the watched files looked at one time.
type fileState struct {
	at    time.Time
	files map[string]os.FileInfo // nil: it was not there or not accessible
}

// look stats paths, following symlinks.
func look(paths []string) fileState {
	s := fileState{at: time.Now(), files: make(map[string]os.FileInfo, len(paths))}
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			info = nil
		}
		s.files[p] = info
	}
	return s
}

// lookQuietly looks until no file was written in the last quietTime.
func lookQuietly(ctx context.Context, paths []string) fileState {
	deadline := time.Now().Add(maxQuietWait)
	for {
		s := look(paths)
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
func (s *fileState) youngest() time.Duration {
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

// unchanged reports whether next shows the same files with the same content,
// as far as one can see, and s was late enough after their last write.
func (s *fileState) unchanged(next *fileState) bool {
	if len(s.files) != len(next.files) || s.youngest() < coarseTime {
		return false
	}
	for path, before := range s.files {
		after, ok := next.files[path]
		switch {
		case !ok || (before == nil) != (after == nil):
			return false
		case before == nil:
		case !os.SameFile(before, after) || before.Size() != after.Size() || !before.ModTime().Equal(after.ModTime()):
			return false
		}
	}
	return true
}

// emptied returns the path of a file that has content in s and none in next.
func (s *fileState) emptied(next *fileState) (path string, found bool) {
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
