// Package policy answers what a client may do: rules in RBAC's vocabulary,
// decided on the Kubernetes RequestInfo of the exact bytes that go upstream.
// What no rule allows is denied.
package policy
