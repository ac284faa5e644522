package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode"

	"go.uber.org/zap"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kuberelay/kuberelay/internal/joined"
)

const (
	// maxBody bounds what an operator sends.
	maxBody = 64 << 10

	// maxReason bounds an operator's reason, in bytes; it goes to logs and
	// audit events.
	maxReason = 256

	// reloadTimeout is how long a reload may take: it reads files, and may run
	// exec plugins.
	reloadTimeout = time.Minute
)

// mount adds the operations to mux.
func (c *Control) mount(mux *http.ServeMux) {
	ops := c.options.Operations
	mux.Handle("/control/v1/reload", operation(c, http.MethodPost, ops.Reload != nil, c.reload))
	mux.Handle("/control/v1/drain", operation(c, http.MethodPost, ops.Drain != nil, c.drain(true)))
	mux.Handle("/control/v1/undrain", operation(c, http.MethodPost, ops.Drain != nil, c.drain(false)))
	mux.Handle("/control/v1/revoke", operation(c, http.MethodPost, ops.Revoke != nil, c.revoke))
	mux.Handle("/control/v1/unrevoke", operation(c, http.MethodPost, ops.Unrevoke != nil, c.unrevoke))
	mux.Handle("/control/v1/log-level", operation(c, http.MethodPut, ops.LogLevel != nil, c.logLevel))
}

// operation decodes a request, does what it asks for, logs it with who asked, and
// answers.
func operation[Request asked](c *Control, method string, able bool, do func(context.Context, Request) (answer any, err error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != method {
			w.Header().Set("Allow", method)
			refuse(w, http.StatusMethodNotAllowed, metav1.StatusReasonMethodNotAllowed, "Method", "only "+method+" is served here")
			return
		}
		if !able {
			refuse(w, http.StatusNotImplemented, "NotImplemented", "Operation", "this process cannot do that: it was not started with kuberelay serve")
			return
		}
		var request Request
		if code, err := decode(w, r, &request); err != nil {
			reason := metav1.StatusReasonBadRequest
			if code == http.StatusRequestEntityTooLarge {
				reason = metav1.StatusReasonRequestEntityTooLarge
			}
			refuse(w, code, reason, "Body", err.Error())
			return
		}
		extend(w, reloadTimeout+readTimeout)
		ctx, cancel := context.WithTimeout(r.Context(), reloadTimeout)
		defer cancel()
		answer, err := do(ctx, request)
		fields := append([]zap.Field{zap.String("operation", strings.TrimPrefix(r.URL.Path, "/control/v1/")), by(r.Context())}, request.fields()...)
		if told, ok := answer.(told); ok && err == nil {
			fields = append(fields, told.outcome()...)
		}
		c.options.Log.Info("operator's request", append(fields, zap.Error(err))...)
		if err != nil {
			fail(w, err)
			return
		}
		body, err := json.Marshal(answer)
		if err != nil { // structs of strings and numbers
			fail(w, fmt.Errorf("encode the answer: %w", err))
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(append(body, '\n')) // the operator may be gone
	})
}

// decode reads a body strictly. No body is an empty object.
func decode(w http.ResponseWriter, r *http.Request, into any) (code int, err error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return http.StatusRequestEntityTooLarge, fmt.Errorf("the body is larger than %d bytes", maxBody)
	}
	if err != nil {
		return http.StatusBadRequest, fmt.Errorf("read the body: %w", err)
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return 0, nil
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return http.StatusBadRequest, fmt.Errorf("the body is not as documented: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return http.StatusBadRequest, errors.New("the body is more than one JSON object")
	}
	return 0, nil
}

// fail answers with an operation's error.
func fail(w http.ResponseWriter, err error) {
	var notFound *NotFoundError
	var invalid *InvalidError
	switch {
	case errors.As(err, &notFound):
		refuse(w, http.StatusNotFound, metav1.StatusReasonNotFound, "Name", err.Error())
	case errors.As(err, &invalid):
		refuse(w, http.StatusUnprocessableEntity, metav1.StatusReasonInvalid, "Invalid", err.Error(), messages(invalid.Err)...)
	default:
		refuse(w, http.StatusInternalServerError, metav1.StatusReasonInternalError, "Operation", err.Error())
	}
}

// messages returns the texts of the errors that err joins, at any depth.
func messages(err error) []string {
	var all []string
	for _, err := range joined.Errors(err) {
		all = append(all, err.Error())
	}
	return all
}

func invalid(format string, args ...any) error { return &InvalidError{fmt.Errorf(format, args...)} }

func (c *Control) reload(ctx context.Context, r reloadRequest) (any, error) {
	changed, err := c.options.Operations.Reload(ctx, r.Force)
	if err != nil {
		return nil, &InvalidError{err}
	}
	return reloadAnswer{append([]string{}, changed...)}, nil
}

func (c *Control) drain(on bool) func(context.Context, drainRequest) (any, error) {
	return func(_ context.Context, r drainRequest) (any, error) {
		if r.Cluster == "" || r.Upstream == "" {
			return nil, invalid("cluster and upstream are required")
		}
		if err := c.options.Operations.Drain(r.Cluster, r.Upstream, on); err != nil {
			return nil, err
		}
		return drainAnswer{r.Cluster, r.Upstream, on}, nil
	}
}

func (c *Control) revoke(_ context.Context, r revokeRequest) (any, error) {
	var until time.Time
	if r.For != "" {
		d, err := time.ParseDuration(r.For)
		if err != nil || d <= 0 {
			return nil, invalid("for: %q: want a duration of more than zero, such as 24h", r.For)
		}
		until = c.now().Add(d).UTC()
	}
	if len(r.Reason) > maxReason || strings.ContainsFunc(r.Reason, func(c rune) bool { return !unicode.IsPrint(c) }) {
		return nil, invalid("reason: want at most %d bytes of printable text", maxReason)
	}
	if r.Client == "" {
		return nil, invalid("client is required")
	}
	cut, err := c.options.Operations.Revoke(r.Client, until, r.Reason)
	if err != nil {
		return nil, err
	}
	return Revoked{Client: r.Client, Cut: cut, Until: until}, nil
}

func (c *Control) unrevoke(_ context.Context, r unrevokeRequest) (any, error) {
	if r.Client == "" {
		return nil, invalid("client is required")
	}
	return r, c.options.Operations.Unrevoke(r.Client)
}

func (c *Control) logLevel(ctx context.Context, r levelRequest) (any, error) {
	// Afterwards, the line that says who did it might no longer be written.
	c.options.Log.Info("operator sets the log level", zap.String("level", r.Level), by(ctx))
	return r, c.options.Operations.LogLevel(r.Level)
}
