package auth

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/kuberelay/kuberelay/internal/filestate"
)

// reload reads the files again if they look different, or in any case when
// forced. What cannot be read as a whole changes nothing: the old state stays,
// with one warning.
func (k *keeper) reload(ctx context.Context, forced bool) {
	k.reloading.Lock()
	defer k.reloading.Unlock()

	main := k.files()
	now := filestate.LookQuietly(ctx, k.watched(main))
	if !forced && k.trouble == "" && k.seen.Unchanged(&now) {
		return
	}
	l, err := k.read(main, &now)
	if err != nil {
		k.keep(err)
		return
	}
	recovered := k.trouble != ""
	if recovered {
		k.trouble = ""
		k.log.Info(k.subject + " can be read again")
	}
	if told := k.adopt(l, now); recovered && !told {
		k.onRefresh(k.name, "ok") // else the last result stays "error"
	}
}

// watched lists the kubeconfig's files and those that they named last.
func (k *keeper) watched(main []string) []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Concat(main, k.loaded.files)
}

// read loads, unless a kubeconfig file has vanished or is empty: then clientcmd
// would not fail but fall back to http://localhost:8080.
func (k *keeper) read(main []string, now *filestate.State) (*loaded, error) {
	kubeconfigs := now.Of(main)
	if path, found := k.seen.Emptied(&kubeconfigs); found {
		return nil, &fs.PathError{Op: "read", Path: path, Err: errors.New("the file vanished or is empty")}
	}
	return k.load()
}

// adopt makes l the present state, and reports whether onRefresh was told. seen
// is how the files looked before it was read.
func (k *keeper) adopt(l *loaded, seen filestate.State) (told bool) {
	seen.Add(filestate.Look(l.files)) // those that are named for the first time
	k.seen = seen

	k.mu.Lock()
	old, vanished := k.loaded, k.vanished
	k.mu.Unlock()
	switch {
	case old == nil:
	case old.source.identity != l.source.identity || old.source.kind != l.source.kind:
		k.log.Info(k.subject+" changed: credential", zap.String("source", l.source.kind))
		if l.source.fetch == nil {
			k.onRefresh(k.name, "ok")
			told = true
		}
	case old.connection == l.connection && old.who == l.who && vanished.IsZero():
		k.mu.Lock()
		old.source.forgive()
		old.files = l.files
		k.mu.Unlock()
		return told
	}
	if old != nil && old.connection != l.connection && l.endpoint != nil {
		k.log.Info(k.subject+" changed: connection", zap.String("server", l.endpoint.URL.String()))
	}
	if old != nil && old.who != l.who {
		k.log.Info(k.subject + " changed: impersonation")
	}
	k.publish(func() {
		if old != nil && l.source.fetch != nil && old.source.identity == l.source.identity {
			old.source.forgive()
			l.source = old.source // with what it has fetched
		}
		k.loaded, k.vanished = l, time.Time{}
	})
	return told
}

// keep leaves the present state in place although err, and limits a credential
// whose file is gone.
func (k *keeper) keep(err error) {
	if reason := reloadTrouble(err); reason != k.trouble {
		k.trouble = reason
		k.log.Warn(k.subject+" cannot be read again, the last one stays in use", zap.String("reason", reason))
		k.onRefresh(k.name, "error")
	}
	k.mu.Lock()
	s, vanished := k.loaded.source, k.vanished
	k.mu.Unlock()
	gone := k.rules.failClosed && isVanished(err)
	var token *credential
	if s.tokenFile != "" {
		// The kubeconfig may be what is broken, and the token may rotate meanwhile.
		if token, err = readToken(s.tokenFile); err != nil {
			gone = true
		} else if token.authorization.Equal(s.credential.authorization) {
			token = nil
		}
	}
	if token == nil && gone == !vanished.IsZero() {
		return
	}
	k.publish(func() {
		if token != nil {
			s.credential = token
		}
		switch {
		case !gone:
			k.vanished = time.Time{}
		case vanished.IsZero():
			k.vanished = time.Now().Round(0)
		}
	})
}

// isVanished reports whether err is of a file that is not there, not readable
// or empty, rather than of one that is wrong.
func isVanished(err error) bool {
	path := (*fs.PathError)(nil)
	return errors.As(err, &path) || errors.Is(err, errEmptyFile) || errors.Is(err, errEmptyToken)
}

// reloadTrouble says what is wrong in words that quote nothing of a file: YAML
// and base64 errors do.
func reloadTrouble(err error) string {
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		return path.Error()
	}
	if server := (*ServerURLError)(nil); errors.As(err, &server) {
		return "the server URL cannot be parsed"
	}
	for _, known := range []error{errEmptyToken, errInvalidToken} {
		if errors.Is(err, known) {
			return fmt.Sprintf("the token is not usable: %v", known)
		}
	}
	for _, known := range []error{errEmptyFile, errKeyPair} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return "it is not valid: check it with kubectl config view"
}
