package auth

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// Files returns the files of c that hold a secret, for [CheckSecretFile]: those
// that c names and, as far as it can be read, those that its kubeconfig's user
// names.
func (c CredentialConfig) Files() []string {
	var files []string
	add := func(paths ...string) {
		for _, path := range paths {
			if path != "" {
				files = append(files, path)
			}
		}
	}
	add(c.TokenFile)
	if c.ClientCertificate != nil {
		add(c.ClientCertificate.KeyFile)
	}
	if c.Kubeconfig != nil {
		add(c.Kubeconfig.Path)
		if config, err := c.Kubeconfig.userConfig(); err == nil {
			add(config.BearerTokenFile, config.KeyFile)
		}
	}
	return files
}

// CheckSecretFile refuses, in an error that says what to do, a file that group
// or others can read or write, and what is no regular file. Symlinks are
// followed. In the directory of systemd's credentials (systemd.exec(5),
// LoadCredential=) a group may read: it is a mount of the service's own.
func CheckSecretFile(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file (%s): name the file that holds the secret", path, info.Mode().Type())
	}
	if runtime.GOOS == "windows" {
		return nil // The mode says nothing there.
	}
	forbidden := fs.FileMode(0o066)
	if inCredentialsDirectory(path) {
		forbidden &^= 0o040
	}
	if open := info.Mode().Perm(); open&forbidden != 0 {
		return fmt.Errorf("%s can be read or written by others (mode %04o): run chmod 600 %s", path, open, path)
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
