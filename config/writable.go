package config

import (
	"fmt"
	"io/fs"
	"os"
	"runtime"
)

// checkWritable refuses a configuration file that somebody else may write: it
// names programs that kuberelay runs, and who may call the clusters. Symlinks
// were followed: info is of the file itself.
func checkWritable(path string, info fs.FileInfo) error {
	if runtime.GOOS == "windows" {
		return nil // The mode says nothing there.
	}
	const others = 0o022
	if mode := info.Mode().Perm(); mode&others != 0 {
		return fmt.Errorf("can be written by others (mode %04o), who could have kuberelay run programs and let anybody in: run chmod go-w %s", mode, path)
	}
	if owner, known := ownerOf(info); known {
		return checkOwner(path, owner, os.Geteuid())
	}
	return nil
}

// checkOwner wants the file to belong to root, or to the user that reads it.
func checkOwner(path string, owner, reader int) error {
	if owner == 0 || owner == reader {
		return nil
	}
	if reader == 0 {
		return fmt.Errorf("belongs to the user ID %d, who could have kuberelay run programs as root: run chown root %s, or run this command as that user", owner, path)
	}
	return fmt.Errorf("belongs to the user ID %d, neither root nor the user that this command runs as (%d): run chown root %s as root, or this command as that user", owner, reader, path)
}
