package admin

import (
	"time"

	"go.uber.org/zap"
)

// asked is the body of a request to the control socket; fields is what the log
// says of it.
type asked interface{ fields() []zap.Field }

// told is the body of an answer that the log says something of; outcome is what.
type told interface{ outcome() []zap.Field }

type (
	reloadRequest struct {
		Force bool `json:"force,omitempty"` // see Operations.Reload
	}
	reloadAnswer struct {
		Changed []string `json:"changed"`
	}
	drainRequest struct {
		Cluster  string `json:"cluster"`
		Upstream string `json:"upstream"`
	}
	drainAnswer struct {
		Cluster  string `json:"cluster"`
		Upstream string `json:"upstream"`
		Draining bool   `json:"draining"`
	}
	revokeRequest struct {
		Client string `json:"client"`
		For    string `json:"for,omitempty"` // a duration, such as 24h; empty: until it is lifted
		Reason string `json:"reason,omitempty"`
	}
	unrevokeRequest struct {
		Client string `json:"client"`
	}
	levelRequest struct {
		Level string `json:"level"`
	}
)

// Revoked is the immediate result of a revocation.
type Revoked struct {
	Client string    `json:"client"`
	Cut    int       `json:"cut"`            // requests and streams that were ended
	Until  time.Time `json:"until,omitzero"` // zero: until it is lifted
}

func (r reloadRequest) fields() []zap.Field {
	if r.Force {
		return []zap.Field{zap.Bool("force", true)}
	}
	return nil
}

func (r drainRequest) fields() []zap.Field {
	return []zap.Field{zap.String("cluster", r.Cluster), zap.String("upstream", r.Upstream)}
}

func (r revokeRequest) fields() []zap.Field {
	return []zap.Field{zap.String("client", r.Client), zap.String("for", r.For), zap.String("reason", r.Reason)}
}

func (r unrevokeRequest) fields() []zap.Field { return []zap.Field{zap.String("client", r.Client)} }

func (r levelRequest) fields() []zap.Field { return []zap.Field{zap.String("level", r.Level)} }

func (a reloadAnswer) outcome() []zap.Field { return []zap.Field{zap.Strings("changed", a.Changed)} }

func (r Revoked) outcome() []zap.Field { return []zap.Field{zap.Int("cut", r.Cut)} }
