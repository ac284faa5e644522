// Package audit writes who did what as audit.k8s.io/v1 events, one JSON line
// each, to a file.
package audit
