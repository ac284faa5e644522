package audit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
)

// file is an open log. It is not safe for concurrent use.
type file struct {
	w io.WriteCloser // *os.File, save in tests
	// torn tells that the file ends in the middle of a line.
	torn bool
}

// put appends line, which begins with one newline more than it is to have, in
// one write. It fails if and only if not all of it was written. What is then
// left of it stays: cutting the file back could take lines of another process,
// and a reader loses the torn line alone, since the next one starts anew.
func (f *file) put(line []byte) error {
	if !f.torn {
		line = line[1:]
	}
	n, err := f.w.Write(line)
	if err == nil && n < len(line) {
		err = io.ErrShortWrite
	}
	if n > 0 {
		f.torn = line[n-1] != '\n'
	}
	return err
}

// openFile opens the log at path, and makes it if there is none. It does not
// hang on a FIFO.
func openFile(path string) (*file, error) {
	// Asked before the opening, because some devices do something when they are
	// opened, and after it, because the path may be something else by then.
	info, err := os.Stat(path)
	if err == nil {
		err = checkFile(path, info)
	} else if errors.Is(err, fs.ErrNotExist) {
		err = checkDirectory(path)
	}
	if err != nil {
		return nil, err
	}
	w, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	info, err = w.Stat()
	if err == nil {
		err = checkFile(path, info)
	}
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return &file{w: w, torn: isTorn(path, info)}, nil
}

// checkDirectory names the directory where it is what is missing.
func checkDirectory(path string) error {
	dir := filepath.Dir(path)
	if _, err := os.Stat(dir); err != nil {
		return fmt.Errorf("%s: its directory cannot be used: %w; make it, or name another file", path, err)
	}
	return nil
}

// checkFile refuses what is not a log: others could have written the events of
// a file that they may write, and whatever is not a regular file may lose or
// block them.
func checkFile(path string, info fs.FileInfo) error {
	if mode := info.Mode(); !mode.IsRegular() {
		return fmt.Errorf("%s: is not a regular file (mode %s); remove it, or name another file", path, mode)
	}
	// On Windows the mode says nothing of others.
	if perm := info.Mode().Perm(); perm&0o022 != 0 && runtime.GOOS != "windows" {
		return fmt.Errorf("%s: has mode %#o, so others may forge what it says; move it away, or chmod go-w %s", path, perm, path)
	}
	return nil
}

// isTorn reports whether a file of an earlier process ends in the middle of a
// line. One that may only be appended to, and so not be looked at, is taken for
// torn: that costs an empty line at most.
func isTorn(path string, info fs.FileInfo) bool {
	if info.Size() == 0 {
		return false
	}
	r, err := os.Open(path)
	if err != nil {
		return true
	}
	defer r.Close()
	var last [1]byte
	_, err = r.ReadAt(last[:], info.Size()-1)
	return err != nil || last[0] != '\n'
}
