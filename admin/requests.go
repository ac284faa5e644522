package admin

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// RequestLabels are the labels of kuberelay_requests_total for one request.
type RequestLabels struct {
	Listener string // its name
	Cluster  string // its name
	Client   string // the configured client's name; empty in single mode
	Verb     string // RequestInfo's verb; unknown ones become "other"
	Group    string // as the cluster's discovery knows it, else "other"
	Resource string // likewise; empty for a request that is not for a resource
	Code     int    // HTTP status; outside 100 … 599 it becomes "other"
}

// RequestMetrics are the series one kind of request counts in.
type RequestMetrics struct {
	total    prometheus.Counter
	duration prometheus.Observer // nil for verbs that are always streams
}

// requestKey is RequestLabels as the cache wants them: bounded, and quick to
// hash, which is most of what a hit costs.
type requestKey struct {
	listener, cluster, client, group, resource string
	code                                       uint16 // 0: other
	verb                                       verb
}

// Request returns the series for l. It neither locks nor allocates when the
// same labels were seen before. Listener, Cluster and Client must be configured
// names, and Group and Resource bounded by the caller. Beyond 10,000 different
// keys Group and Resource are counted as "other".
func (m *Metrics) Request(l RequestLabels) *RequestMetrics {
	key := requestKey{l.Listener, l.Cluster, l.Client, l.Group, l.Resource, 0, verbOf(l.Verb)}
	if l.Code >= 100 && l.Code <= 599 {
		key.code = uint16(l.Code)
	}
	return m.requestCache.get(key)
}

// Observe counts a finished short request and how long it took.
func (r *RequestMetrics) Observe(took time.Duration) {
	r.total.Inc()
	if r.duration != nil {
		r.duration.Observe(took.Seconds())
	}
}

// Count counts a request without its duration: a stream, which lasts as long as
// its client likes.
func (r *RequestMetrics) Count() { r.total.Inc() }

func (m *Metrics) bindRequest(key requestKey) *RequestMetrics {
	code := other
	if key.code != 0 {
		code = strconv.Itoa(int(key.code))
	}
	listener, cluster, verb := label(key.listener), label(key.cluster), verbNames[key.verb]
	r := &RequestMetrics{total: m.requests.WithLabelValues(
		listener, cluster, label(key.client), verb, label(key.group), label(key.resource), code)}
	if key.verb != verbWatch && key.verb != verbConnect {
		r.duration = m.requestDuration.WithLabelValues(listener, cluster, verb)
	}
	return r
}

func foldRequest(key requestKey) requestKey {
	key.group, key.resource = other, other
	return key
}

// verb is one of the verbs that are told apart: those of Kubernetes'
// RequestInfo for resources, the lower-case HTTP methods it uses for other
// paths, and connect for exec, attach, port-forward and proxy. Method names come
// from strangers, so all others are one.
type verb uint8

const (
	verbOther verb = iota
	verbGet
	verbList
	verbWatch
	verbCreate
	verbUpdate
	verbPatch
	verbDelete
	verbDeleteCollection
	verbConnect
	verbHead
	verbPost
	verbPut
	verbOptions
)

var verbNames = [...]string{verbOther: other, verbGet: "get", verbList: "list", verbWatch: "watch", verbCreate: "create",
	verbUpdate: "update", verbPatch: "patch", verbDelete: "delete", verbDeleteCollection: "deletecollection",
	verbConnect: "connect", verbHead: "head", verbPost: "post", verbPut: "put", verbOptions: "options"}

func verbOf(name string) verb {
	switch name {
	case "get":
		return verbGet
	case "list":
		return verbList
	case "watch":
		return verbWatch
	case "create":
		return verbCreate
	case "update":
		return verbUpdate
	case "patch":
		return verbPatch
	case "delete":
		return verbDelete
	case "deletecollection":
		return verbDeleteCollection
	case "connect":
		return verbConnect
	case "head":
		return verbHead
	case "post":
		return verbPost
	case "put":
		return verbPut
	case "options":
		return verbOptions
	}
	return verbOther
}

// Gauge is a number of things that are going on.
type Gauge interface {
	Inc()
	Dec()
}

// InFlight is the cluster's number of short requests being worked on. It does
// not allocate for a cluster seen before.
func (m *Metrics) InFlight(cluster string) Gauge { return m.inFlightCache.get(cluster) }

// Kinds of streams.
const (
	StreamWatch   = "watch"
	StreamUpgrade = "upgrade" // exec, attach, port-forward, and proxied websockets
	StreamLog     = "log"     // logs -f
)

var streamKinds = []string{StreamWatch, StreamUpgrade, StreamLog, other}

// Stream is the number of open streams of a kind; a kind that is none of the
// constants counts as "other".
func (m *Metrics) Stream(kind string) Gauge {
	if g, ok := m.streams[kind]; ok {
		return g
	}
	return m.streams[other]
}
