// Package gossip lets the instances of kuberelay on several hosts know what
// the others know: hashicorp/memberlist for who is there, and a small map of
// replicated facts on top of it.
package gossip
