// Package filestate sees whether files have changed, by looking at them and not
// by being told: that works through symlinks, over NFS, and for files that do
// not exist yet.
package filestate
