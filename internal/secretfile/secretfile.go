package secretfile

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// Check refuses, in an error that says what to do, a file that its group or
// others can read or write, and anything but a regular file. Symlinks are
// followed. In the directory of systemd's credentials (systemd.exec(5),
// LoadCredential=) the group may read: it is a mount of the service's own.
func Check(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	return check(path, info)
}

// Read returns the content of a file that [Check] does not refuse, at most its
// first limit bytes. Each error names the file.
func Read(path string, limit int64) ([]byte, error) {
	if err := Check(path); err != nil { // also because opening a named pipe waits
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if err := check(path, info); err != nil { // it may be another file by now
		return nil, err
	}
	content, err := io.ReadAll(io.LimitReader(f, limit))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return content, nil
}

func check(path string, info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file (%s): name the file that holds the secret", path, info.Mode().Type())
	}
	if runtime.GOOS == "windows" {
		return nil // The mode says nothing there.
	}
	forbidden := fs.FileMode(0o066)
	if inCredentialsDirectory(path) {
		forbidden &^= 0o040
	}
	if mode := info.Mode().Perm(); mode&forbidden != 0 {
		return fmt.Errorf("%s can be read or written by others (mode %04o): run chmod 600 %s", path, mode, path)
	}
	return nil
}

// inCredentialsDirectory reports whether path leads into $CREDENTIALS_DIRECTORY.
func inCredentialsDirectory(path string) bool {
	directory := os.Getenv("CREDENTIALS_DIRECTORY")
	if directory == "" {
		return false
	}
	directory, err := filepath.EvalSymlinks(directory)
	if err != nil {
		return false
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return false
	}
	relative, err := filepath.Rel(directory, path)
	return err == nil && relative != ".." && !strings.HasPrefix(relative, ".."+string(filepath.Separator))
}
