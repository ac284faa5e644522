// Package static serves the files of kubectl proxy's --www: one directory,
// read-only, under one path prefix.
package static
