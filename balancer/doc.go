// Package balancer chooses, for one cluster, which upstream gets a request.
//
// A [Pool] ranks its members by their class and their circuit breaker and
// chooses among the best by policy. It keeps what that takes: short requests in
// flight, streams, the outcomes that a breaker has seen, which identity is bound
// to which member, and the share of retries in the traffic.
//
// The default policy, sticky, binds an identity to one upstream. API servers
// of one cluster differ a little (their watch caches lag, their informers
// learn of a CRD or a role at different times), and a client that stays on
// one never sees time go backwards. What may move, reads of the latest state
// and writes, spills over to others when the bound upstream has more than
// 1.25 times the mean load (bounded loads, after Mirrokni, Thorup and
// Zadimoghaddam, 2016).
//
// Circuit breakers are sony/gobreaker's. An open one takes its member out of
// the choice for as long as there is another; a half-open one is tested by
// the active health probe alone, never by a client's request. A member that
// was down comes back with a closed one.
//
// Choosing a member and reporting a success take no lock and allocate nothing,
// so a request costs the same however many there are at a time.
package balancer
