package admin

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// maxClients bounds the status document: there may be tens of thousands of
// clients, most of them idle.
const maxClients = 1000

// ConfigStatus is the configuration in force, and how the last attempt to
// replace it ended.
type ConfigStatus struct {
	File       string        `json:"file"`
	Hash       string        `json:"hash,omitempty"`       // of its clusters, credentials, policies and clients, to compare hosts by
	FileHash   string        `json:"fileHash,omitempty"`   // SHA-256 of the file in force, in hex
	LoadedAt   time.Time     `json:"loadedAt,omitzero"`    // of the file in force
	LastReload *ReloadStatus `json:"lastReload,omitempty"` // absent before the first
}

// ReloadStatus is how an attempt to load the configuration file anew ended.
type ReloadStatus struct {
	At    time.Time `json:"at,omitzero"`
	OK    bool      `json:"ok"`
	Error string    `json:"error,omitempty"` // one problem a line
}

// ClientStatus is one configured client.
type ClientStatus struct {
	Name         string    `json:"name"`
	InFlight     int64     `json:"inFlight"` // short requests
	Watches      int64     `json:"watches"`
	Upgrades     int64     `json:"upgrades"`
	Requests     uint64    `json:"requests"` // since the process started
	Revoked      bool      `json:"revoked,omitempty"`
	RevokedUntil time.Time `json:"revokedUntil,omitzero"` // absent: until it is lifted
	LastSeen     time.Time `json:"lastSeen,omitzero"`
}

// CredentialStatus is one configured credential, without its secret.
type CredentialStatus struct {
	Name      string    `json:"name"`
	ExpiresAt time.Time `json:"expiresAt,omitzero"` // absent: it does not, or nobody knows
	Error     string    `json:"error,omitempty"`    // why there is none, or no newer one
}

// AuditStatus is whether audit events can be written.
type AuditStatus struct {
	Blocks bool   `json:"blocks"`          // while they cannot, what changes something is refused
	Error  string `json:"error,omitempty"` // why the last event was not written; absent if it was
}

// tidyServe is the part of tidy that concerns kuberelay serve.
func (s Status) tidyServe() Status {
	if s.Config != nil {
		c := *s.Config
		c.LoadedAt = c.LoadedAt.UTC()
		if c.LastReload != nil {
			r := *c.LastReload
			r.At = r.At.UTC()
			c.LastReload = &r
		}
		s.Config = &c
	}
	s.ClientsTotal = max(s.ClientsTotal, len(s.Clients))
	s.Clients = append([]ClientStatus{}, s.Clients...)
	slices.SortStableFunc(s.Clients, byUsage)
	s.Clients = s.Clients[:min(len(s.Clients), maxClients)]
	for i := range s.Clients {
		c := &s.Clients[i]
		c.RevokedUntil, c.LastSeen = c.RevokedUntil.UTC(), c.LastSeen.UTC()
	}
	s.Credentials = append([]CredentialStatus{}, s.Credentials...)
	for i := range s.Credentials {
		s.Credentials[i].ExpiresAt = s.Credentials[i].ExpiresAt.UTC()
	}
	return s
}

// byUsage orders clients: those with something in flight first, then those that
// are revoked, then the others, the latest seen first.
func byUsage(a, b ClientStatus) int {
	return cmp.Or(
		cmp.Compare(a.rank(), b.rank()),
		b.LastSeen.Compare(a.LastSeen),
		strings.Compare(a.Name, b.Name),
	)
}

func (c *ClientStatus) rank() int {
	switch {
	case c.InFlight+c.Watches+c.Upgrades > 0:
		return 0
	case c.Revoked:
		return 1
	}
	return 2
}
