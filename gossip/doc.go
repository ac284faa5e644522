// Package gossip lets each instance of kuberelay, on several hosts, know what
// the others know. A [Mesh] is one node's part in it: hashicorp/memberlist says
// who is there, and a small replicated map holds what each of them says.
//
// Three kinds of fact are replicated. A node's own observations of upstreams
// and its own particulars have a single writer, and are ordered by that
// writer's (epoch, sequence). Intents, which operators decide on any node, are
// ordered by a logical counter and the node's name: the last one wins. Clocks
// of two hosts are never compared. Merging is commutative, associative and
// idempotent, so the order, number and route of messages do not matter.
//
// A node passes on once what is new to it, since memberlist sends a broadcast
// only from the node that queued it. What is lost nevertheless comes with the
// exchange of the whole map, which memberlist does with a random peer every half
// minute and on each join. A loop of ours joins peers again after a partition,
// because memberlist forgets nodes that were dead for long.
//
// Credentials, tokens, paths, requests, and names of clients and clusters are
// never sent: upstreams and clients go by hashes ([UpstreamID], [ClientID]).
// Whoever holds the key is trusted; see memberlist's SECURITY.md. Nothing here
// decides: facts are advice for the parts that the hooks of [Options] lead to.
package gossip
