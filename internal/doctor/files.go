package doctor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kuberelay/kuberelay/auth"
	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/internal/secretfile"
)

// ownUser is what to do where another user may do what this one may not.
const ownUser = "give the directory to kuberelay's user, or run this as that user"

// files examines what is read and written on this host.
func (d *doctor) files(cfg *config.Configuration) []Finding {
	f := &findings{of: "this host"}
	secrets(f, cfg)
	if path := cfg.Admin.ControlSocket; path != "" {
		socketDirectory(f, "control-socket", path)
	}
	if path := cfg.Audit.File; path != "" {
		writable(f, "audit", path, "requests that change something are refused while no event can be written (onFailure: block)")
	}
	if path := cfg.StateFile; path != "" {
		if raw, err := os.ReadFile(path); err == nil && !json.Valid(raw) {
			f.fail("state", "restore it, or remove it if no client is revoked", "%s is not one of kuberelay's", path)
		} else {
			writable(f, "state", path, "what operators decide would end with the process")
		}
	}
	return f.list
}

// secrets are the files that only kuberelay's user should read.
func secrets(f *findings, cfg *config.Configuration) {
	var paths []string
	for i := range cfg.Clusters {
		paths = append(paths, auth.CredentialConfig{Kubeconfig: &cfg.Clusters[i].Kubeconfig}.Files()...)
	}
	for _, c := range cfg.Credentials {
		paths = append(paths, c.Files()...)
	}
	for _, l := range cfg.Listeners {
		if l.TLS != nil {
			paths = append(paths, l.TLS.KeyFile)
		}
	}
	paths = append(paths, cfg.Gossip.SecretKeyFiles...)
	slices.Sort(paths)
	paths = slices.Compact(paths)
	good := 0
	for _, path := range paths {
		if err := readableSecret(path); err != nil {
			f.fail("secret-files", "let kuberelay's user read it, and nobody else", "%v", err)
			continue
		}
		good++
	}
	if good == len(paths) && good > 0 {
		f.ok("secret-files", "%s with secrets, each for its owner alone", count(good, "file"))
	}
}

// readableSecret refuses what secretfile refuses, and what cannot be opened.
func readableSecret(path string) error {
	if err := secretfile.Check(path); err != nil { // first, because opening a named pipe waits
		return err
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	return file.Close()
}

// socketDirectory examines where a Unix socket is made.
func socketDirectory(f *findings, check, socket string) {
	directory := filepath.Dir(socket)
	info, err := os.Stat(directory)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.warn(check, "create it, or have systemd do that (RuntimeDirectory=)", "directory %s is missing", directory)
	case err != nil:
		f.fail(check, ownUser, "%v", err)
	case !info.IsDir():
		f.fail(check, "name a path in a directory", "%s is no directory", directory)
	case info.Mode().Perm()&0o002 != 0 && info.Mode()&fs.ModeSticky == 0:
		f.fail(check, "chmod o-w "+directory, "anybody can put another socket in the place of %s: its directory is for everybody to write (mode %04o)", socket, info.Mode().Perm())
	default:
		f.ok(check, "%s is fit for it", directory)
	}
}

// writable examines whether a file can be written, or made.
func writable(f *findings, check, path, otherwise string) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err == nil {
		file.Close()
	}
	if err == nil && check == "audit" {
		f.ok(check, "%s can be written", path)
		return
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.fail(check, ownUser+": "+otherwise, "%v", err)
		return
	}
	// It is not there, or is replaced as a whole.
	probe, err := os.CreateTemp(filepath.Dir(path), ".kuberelay-doctor-")
	if err != nil {
		do := ownUser
		if errors.Is(err, fs.ErrNotExist) {
			do = "create the directory, or have systemd do that (LogsDirectory=, StateDirectory=)"
		}
		f.fail(check, do+": "+otherwise, "%s cannot be made: %s", path, cause(err))
		return
	}
	probe.Close()
	if err := os.Remove(probe.Name()); err != nil {
		f.warn(check, "remove it", "%v", err)
		return
	}
	f.ok(check, "%s can be written", path)
}

// cause is an error of package os without the name of a file that nobody asked
// for.
func cause(err error) string {
	if wrapped, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Sprintf("%s: %v", filepath.Dir(wrapped.Path), wrapped.Err)
	}
	return err.Error()
}

// unixPath is the path of a Unix socket's address; "" for one that is no file.
func unixPath(address string) string {
	path, ok := strings.CutPrefix(address, "unix:")
	if !ok || strings.HasPrefix(path, "@") {
		return ""
	}
	if path = strings.TrimPrefix(path, "//"); strings.HasPrefix(path, "@") {
		return ""
	}
	return path
}
