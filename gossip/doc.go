// Package gossip lets the instances of kuberelay on several hosts know what
// the others know. A [Mesh] is one node's part in it: hashicorp/memberlist says
// who is there, and a small replicated map holds what each says.
//
// Three kinds of fact are replicated. A node's own observations of upstreams
// and its own particulars have a single writer, and are ordered by that
// writer's (epoch, sequence). Intents, which operators decide on any node, are
// ordered by a logical counter and the node's name: the last one wins. Clocks
// of two hosts are never compared. Merging is commutative, associative and
// idempotent, so that the order, number and way of messages do not matter.
//
// What is new to a node it passes on once: memberlist sends a broadcast only
// from the node that queued it. Everything else is repaired by exchanging the
// whole map, which memberlist does with a random peer every half minute and on
// each join. A partition that heals is joined again by a loop of ours, because
// memberlist forgets who was dead for long.
//
// Never sent are credentials, tokens, paths, requests, and names of clients and
// clusters: upstreams and clients go by hashes ([UpstreamID], [ClientID]). Who
// holds the key is trusted; see memberlist's SECURITY.md. Nothing here decides:
// facts are advice for the parts that Options' hooks lead to.
package gossip
