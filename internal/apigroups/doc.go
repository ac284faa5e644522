// Package apigroups knows which API groups and resources a cluster serves.
//
// Two readers need that. Metric labels may carry a group or a resource only
// when it really exists, because anything else comes from a stranger's URL and
// would make the number of series unbounded; everything unknown is [Other].
// And the outcome table must know which groups are served by an aggregated API
// server, because their 5xx say nothing about the kube-apiserver in front of
// them.
//
// A [Table] starts with what every Kubernetes serves, and [Table.Refresh]
// replaces that with the cluster's own aggregated discovery documents (KEP-3352)
// and its APIService objects. How they are fetched is the caller's business: a
// [Get] function, so that this package knows no HTTP.
package apigroups
