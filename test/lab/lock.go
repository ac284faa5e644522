package lab

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// tryLock takes the lock file at path. The lock ends with unlock or with the
// process, however that ends. held is false when another process has it.
func tryLock(path string) (unlock func(), held bool, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, false, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == unix.EWOULDBLOCK {
		return nil, false, f.Close()
	}
	if err != nil {
		f.Close()
		return nil, false, &os.PathError{Op: "lock", Path: path, Err: err}
	}
	// Closing the descriptor releases the lock.
	return func() { f.Close() }, true, nil
}

// lockFile waits for the lock. It calls waiting once when the lock is taken.
func lockFile(ctx context.Context, path string, waiting func()) (unlock func(), err error) {
	for {
		unlock, held, err := tryLock(path)
		if err != nil || held {
			return unlock, err
		}
		if waiting != nil {
			waiting()
			waiting = nil
		}
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// pause waits for d, or returns ctx's error when that ends first.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
