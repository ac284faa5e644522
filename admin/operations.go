package admin

import (
	"context"
	"fmt"
	"time"
)

// Operations are what operators can do through the control socket. A nil one is
// answered 501: this process cannot do it. They may be called from several
// goroutines at once.
//
// An error that is a [*NotFoundError] is answered 404, one that is an
// [*InvalidError] 422, any other 500; its text reaches the operator.
type Operations struct {
	// Reload reads the configuration file anew, waits until it is in force,
	// and returns what changed, one line each; nothing if nothing did. Every
	// error is answered 422, and each of those that [errors.Join] made it of
	// is listed. The context ends after a minute, or with the operator's
	// connection.
	//
	// With force, gossip keys that a peer lacks are used anyway; that peer is
	// cut off until it has them.
	Reload func(ctx context.Context, force bool) (changed []string, err error)

	// Drain takes an upstream out of use (on), or lets it be used again.
	// It is no error if that is so already.
	Drain func(cluster, upstream string, on bool) error

	// Revoke refuses a client from now on and cuts what it has in flight. It
	// holds until the given time or, if that is zero, until it is lifted. The
	// reason is the operator's, for logs and audit events; it may be empty. The
	// result is how many requests and streams were cut.
	Revoke func(client string, until time.Time, reason string) (cut int, err error)

	// Unrevoke lifts a revocation. It is no error if there is none.
	Unrevoke func(client string) error

	// LogLevel sets the least severe level that is logged: debug, info, warn
	// or error.
	LogLevel func(level string) error
}

// NotFoundError says that nothing has that name.
type NotFoundError struct {
	Kind string // "cluster", "upstream" or "client"
	Name string
	In   string   // where it was looked for, such as "cluster prod"; may be empty
	Have []string // the names there are; may be empty, is shortened when shown
}

// Error says what is missing, and what there is instead.
func (e *NotFoundError) Error() string {
	const shown = 10
	text := fmt.Sprintf("there is no %s %q", e.Kind, e.Name)
	if e.In != "" {
		text += " in " + e.In
	}
	for i, name := range e.Have {
		switch i {
		case 0:
			text += "; there is " + name
		case shown:
			return fmt.Sprintf("%s and %d more", text, len(e.Have)-shown)
		default:
			text += ", " + name
		}
	}
	return text
}

// InvalidError says that an operation cannot be done as it was asked for.
type InvalidError struct{ Err error }

func (e *InvalidError) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *InvalidError) Unwrap() error { return e.Err }
