package admin

import (
	"net/url"
	"time"
)

// Status is the document at /api/v1/status. Fields are only ever added within
// v1; readers ignore the ones they do not know. Lists are never null, times are
// RFC 3339 in UTC and left out when there is none.
type Status struct {
	Version       string           `json:"version"`
	Node          string           `json:"node,omitempty"` // this instance's name among its peers
	StartedAt     time.Time        `json:"startedAt,omitzero"`
	UptimeSeconds int64            `json:"uptimeSeconds"`
	Draining      bool             `json:"draining,omitempty"` // the process is stopping
	Clusters      []ClusterStatus  `json:"clusters"`
	Listeners     []ListenerStatus `json:"listeners"`
	InFlight      InFlightStatus   `json:"inFlight"`
	AdminError    string           `json:"adminError,omitempty"` // why the admin address serves no more; the control socket still does

	// Of kuberelay serve.
	Config       *ConfigStatus      `json:"config,omitempty"`       // absent without a configuration file
	Clients      []ClientStatus     `json:"clients"`                // at most 1000, those with usage first
	ClientsTotal int                `json:"clientsTotal,omitempty"` // configured, listed or not
	Credentials  []CredentialStatus `json:"credentials"`
	Audit        *AuditStatus       `json:"audit,omitempty"` // absent without an audit log

	// Of a process with peers.
	Peers          []PeerStatus `json:"peers"`
	Isolated       bool         `json:"isolated,omitempty"`       // most peers reach what this process does not
	IsolatedReason string       `json:"isolatedReason,omitempty"` // in a sentence, with all API servers that it is about
	GossipError    string       `json:"gossipError,omitempty"`    // why this process, which should, does not gossip; it tries again

	Events []Event `json:"events"` // the latest first; see [Events]
}

// ClusterStatus is one cluster with its upstreams.
type ClusterStatus struct {
	Name      string           `json:"name"`
	Ready     bool             `json:"ready"`            // it has a usable upstream
	Reason    string           `json:"reason,omitempty"` // why not
	Policy    string           `json:"policy,omitempty"` // of the balancer
	Upstreams []UpstreamStatus `json:"upstreams"`
}

// Where an upstream's address comes from.
const (
	SourceKubeconfig = "kubeconfig" // the kubeconfig's own server
	SourceFlag       = "flag"       // named with --servers
	SourceDiscovered = "discovered" // read from the cluster's EndpointSlices
)

// UpstreamStatus is one API server of a cluster.
type UpstreamStatus struct {
	ID        string    `json:"id"`
	URL       string    `json:"url"`    // without user information
	Source    string    `json:"source"` // kubeconfig, flag or discovered
	State     string    `json:"state"`  // READY, SUSPECT, DEGRADED, DOWN or MISCONFIGURED
	Since     time.Time `json:"since,omitzero"`
	Reason    string    `json:"reason,omitempty"` // of the state
	Breaker   string    `json:"breaker"`          // closed, half-open or open
	Draining  bool      `json:"draining,omitempty"`
	InFlight  int64     `json:"inFlight"` // short requests
	Streams   int64     `json:"streams"`  // watches, log follows, upgrades
	Weight    float64   `json:"weight"`   // 0 … 1; below 1 during slow start
	LastProbe time.Time `json:"lastProbe,omitzero"`
	LastError string    `json:"lastError,omitempty"` // of the last failed probe
	Latency   []float64 `json:"latency"`             // see [UpstreamMetrics.Latency]
}

// ListenerStatus is one address that clients can connect to.
type ListenerStatus struct {
	Name    string `json:"name"`
	Address string `json:"address"` // as bound: with the port in use
	Mode    string `json:"mode"`    // single or shared
	Cluster string `json:"cluster"` // served at /

	Identify []string `json:"identify,omitempty"` // what a shared listener goes by: uid, bearer, certificate, oidc
	TLS      bool     `json:"tls"`
}

// InFlightStatus counts what is going on in all clusters together.
type InFlightStatus struct {
	Requests int64 `json:"requests"` // short ones
	Watches  int64 `json:"watches"`
	Logs     int64 `json:"logs"`
	Upgrades int64 `json:"upgrades"`
}

// tidy returns the status as it may be shown: no null lists, UTC, and no
// password in a URL.
func (s Status) tidy() Status {
	s.StartedAt = s.StartedAt.UTC()
	s.Listeners = append([]ListenerStatus{}, s.Listeners...)
	s.Clusters = append([]ClusterStatus{}, s.Clusters...)
	for i := range s.Clusters {
		upstreams := append([]UpstreamStatus{}, s.Clusters[i].Upstreams...)
		for j := range upstreams {
			u := &upstreams[j]
			u.URL = withoutUser(u.URL)
			u.Since, u.LastProbe = u.Since.UTC(), u.LastProbe.UTC()
			u.Latency = append([]float64{}, u.Latency...)
		}
		s.Clusters[i].Upstreams = upstreams
	}
	s.Events = append([]Event{}, s.Events...)
	for i := range s.Events {
		s.Events[i].At = s.Events[i].At.UTC()
	}
	return s.tidyServe().tidyPeers()
}

func withoutUser(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "" // what cannot be parsed cannot be cleaned
	}
	if u.User == nil {
		return raw
	}
	u.User = nil
	return u.String()
}
