//go:build !unix

package admin

import "io/fs"

// groupOf is not known on this system.
func groupOf(fs.FileInfo) string { return "unknown" }
