package config

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/kuberelay/kuberelay/auth"
	"github.com/kuberelay/kuberelay/auth/policy"
)

// Hash identifies what instances on several hosts should have in common: the
// clusters, credentials, policies and clients. Listeners, gossip, admin, log,
// audit and the state file are each host's own. It is 16 hexadecimal digits of
// a SHA-256.
func (c *Configuration) Hash() string {
	common := struct {
		Clusters    []Cluster
		Credentials []auth.CredentialConfig
		Policies    []policy.Config
		Clients     []Client
	}{c.Clusters, c.Credentials, c.Policies, c.Clients}
	digest := sha256.New()
	if err := json.NewEncoder(digest).Encode(common); err != nil { // plain data always encodes
		return fmt.Sprintf("unknown: %v", err)
	}
	return hex.EncodeToString(digest.Sum(nil)[:8])
}
