package audit

import "time"

// Stage is how far a request had come when its event was written.
type Stage string

// The stages.
const (
	// StageRequestReceived is before anything was sent to the cluster.
	StageRequestReceived Stage = "RequestReceived"
	// StageResponseStarted is after the response's header, of requests that
	// run long: watches, followed logs, upgrades.
	StageResponseStarted Stage = "ResponseStarted"
	// StageResponseComplete is after the last byte. Every request that reached
	// HTTP handling has one, denied ones too.
	StageResponseComplete Stage = "ResponseComplete"
)

// Event is one line of the log: plain data, which [Log.Write] encodes as an
// audit.k8s.io/v1 Event of level Metadata and does not keep. Empty fields are
// left out. What strangers can make long is cut, and ends in "[cut]" then, so
// that no line is longer than 64 KiB.
type Event struct {
	// Stage is one of the constants above.
	Stage Stage
	// AuditID is the request's Audit-ID, which the cluster was sent as well.
	AuditID string

	// RequestURI is the request target as the client sent it. Write takes the
	// secrets out: user information, the values of query parameters whose
	// names look like one, and all of the query where it goes through a
	// cluster's proxy subresource to something that is not Kubernetes. Where
	// Object is nil, a path segment "proxy" anywhere is taken for that.
	RequestURI string
	// Verb is that of Kubernetes' RequestInfo: for what is no resource, the
	// method in lower case.
	Verb string

	// User is the client of ours: its Username is the client's name. It is
	// zero for who was not identified.
	User User
	// Impersonated is as whom the cluster was asked; nil where the credential
	// itself says it.
	Impersonated *User
	// SourceIP is the peer's address, without the port.
	SourceIP string
	// UserAgent is what the client says of itself, and not to be trusted.
	UserAgent string

	// Object is what the request is about; nil for what is no resource, and
	// for requests that were refused before that was known.
	Object *ObjectRef

	// Code is the status code of the response; 0 leaves the response's status
	// out, as it has to be before there is one.
	Code int32
	// Reason and Message are those of the Status that was answered.
	Reason, Message string

	// RequestReceived is when the request's header had been read.
	RequestReceived time.Time
	// Timestamp is when the request reached Stage.
	Timestamp time.Time

	// Annotations are what Kubernetes has no field for. Those with an empty
	// value are left out; of two with one key, readers see the later one.
	Annotations []Annotation
}

// User is somebody, in the words of Kubernetes' authentication.
type User struct {
	Username, UID string
	Groups        []string
	// Extra is written in the order of its keys.
	Extra map[string][]string
}

// ObjectRef names the object or collection that a request is about. APIGroup
// is empty for the core group.
type ObjectRef struct {
	Resource, Namespace, Name, Subresource, APIGroup, APIVersion string
}

// Annotation is one key and value, such as kuberelay/client and alice. Keys
// should name their origin before a slash; values should be short.
type Annotation struct {
	Key, Value string
}
