//go:build unix

package admin

import (
	"io/fs"
	"os/user"
	"strconv"
	"syscall"
)

// groupOf is the name of a file's group, or its number if it has none.
func groupOf(info fs.FileInfo) string {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "unknown"
	}
	gid := strconv.FormatUint(uint64(stat.Gid), 10)
	if g, err := user.LookupGroupId(gid); err == nil {
		return g.Name
	}
	return gid
}
