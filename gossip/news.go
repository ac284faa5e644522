package gossip

import (
	"strconv"

	"github.com/hashicorp/memberlist"
)

// news is a message in memberlist's queue, where a newer one of the same name
// takes its place.
type news struct {
	name string
	raw  []byte
}

var _ memberlist.NamedBroadcast = news{}

// Name implements [memberlist.NamedBroadcast].
func (n news) Name() string { return n.name }

// Message implements [memberlist.Broadcast].
func (n news) Message() []byte { return n.raw }

// Finished implements [memberlist.Broadcast].
func (n news) Finished() {}

// Invalidates implements [memberlist.Broadcast].
func (n news) Invalidates(other memberlist.Broadcast) bool {
	named, ok := other.(memberlist.NamedBroadcast)
	return ok && named.Name() == n.name
}

func broadcastName(node string, key entryKey) string {
	return node + "/" + strconv.FormatUint(key.kind, 10) + "/" + key.upstream
}

func decisionName(key decisionKey) string {
	return "/" + strconv.FormatUint(key.kind, 10) + "/" + key.target
}
