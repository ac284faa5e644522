package listen

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// The deadlines of asking a socket whether somebody answers on it, and of
// waiting for another process that is asking the same.
const (
	answerTimeout = time.Second
	lockTimeout   = 3 * time.Second
)

// listenUnix opens the Unix socket whose address follows "unix:".
//
// A socket file left behind by a process that has ended is removed. One on
// which somebody answers is not, nor is any other file: both are "address
// already in use". Processes that do this at the same time take turns.
func listenUnix(ctx context.Context, address string, o Options) (net.Listener, error) {
	path, hasSlashes := strings.CutPrefix(address, "//")
	switch {
	case hasSlashes && !strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "@"), path == "":
		return nil, fmt.Errorf("listen unix: address unix:%s: want unix:///absolute/path, unix:relative/path or unix:@name", address)
	case strings.HasPrefix(path, "@"):
		return new(net.ListenConfig).Listen(ctx, "unix", path)
	}
	mode := o.SocketMode.Perm()
	if mode == 0 {
		mode = DefaultSocketMode
	}
	unlock, err := lockDir(ctx, filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("listen unix %s: %w", path, err)
	}
	defer unlock()
	if err := removeStale(ctx, path); err != nil {
		return nil, err
	}
	config := net.ListenConfig{Control: socketMode(mode)}
	l, err := config.Listen(ctx, "unix", path)
	if err != nil {
		return nil, explainBind(err, path)
	}
	ul := l.(*net.UnixListener)
	ul.SetUnlinkOnClose(false) // It would unlink whatever is at the path by then.
	info, err := chmod(path, mode)
	if err != nil {
		return nil, errors.Join(err, ul.Close(), os.Remove(path))
	}
	return &unixListener{UnixListener: ul, path: path, info: info}, nil
}

// explainBind adds to an error of bind what it does not say by itself.
func explainBind(err error, path string) error {
	dir := filepath.Dir(path)
	switch {
	case errors.Is(err, syscall.EINVAL):
		return fmt.Errorf("%w (the path of a Unix socket has at most 107 bytes, this one %d)", err, len(path))
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w (directory %s is missing: create it, or have systemd do it with RuntimeDirectory=)", err, dir)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%w (the process's user must have write permission on directory %s)", err, dir)
	}
	return err
}

// chmod adds what the process's umask took from mode.
func chmod(path string, mode fs.FileMode) (fs.FileInfo, error) {
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Perm() == mode {
		return info, err
	}
	return info, os.Chmod(path, mode)
}

// removeStale makes room at path if what is there is a socket that refuses
// connections, which it does when no process has it open.
func removeStale(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != fs.ModeSocket {
		return nil // Binding will say what is wrong, if anything is.
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		c.Close()
		return inUse(path, "another process answers on it: stop that one, or choose another path")
	case errors.Is(err, syscall.ECONNREFUSED):
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("listen unix %s: remove the socket of an ended process: %w", path, err)
		}
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return inUse(path, fmt.Sprintf("it cannot be told whether a process has it open (%v): remove the file if none does", err))
}

func inUse(path, why string) error {
	return &net.OpError{
		Op: "listen", Net: "unix", Addr: &net.UnixAddr{Name: path, Net: "unix"},
		Err: fmt.Errorf("%w (%s)", os.NewSyscallError("bind", syscall.EADDRINUSE), why),
	}
}

// unixListener removes its socket file when it is closed, unless the path has
// come to hold something else.
type unixListener struct {
	*net.UnixListener
	path   string
	info   fs.FileInfo
	unlink sync.Once
}

func (l *unixListener) Close() error {
	// While the socket is open its inode cannot be reused, so the order
	// matters: compare, unlink, close.
	l.unlink.Do(func() {
		if now, err := os.Lstat(l.path); err == nil && os.SameFile(now, l.info) {
			_ = os.Remove(l.path) // At worst the next start removes it.
		}
	})
	return l.UnixListener.Close()
}
