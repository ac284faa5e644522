// Package secretfile holds the one rule for files with secrets: regular files
// that only their owner can read and write.
package secretfile
