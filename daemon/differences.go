package daemon

import (
	"fmt"
	"reflect"

	"github.com/kuberelay/kuberelay/auth/policy"
	"github.com/kuberelay/kuberelay/config"
)

// differences lists what two configurations differ in, for people, besides the
// parts that were made anew.
func differences(old, now *config.Configuration) []string {
	var found []string
	found = append(found, compare("client", old.Clients, now.Clients, func(c *config.Client) string { return c.Name })...)
	found = append(found, compare("policy", old.Policies, now.Policies, func(c *policy.Config) string { return c.Name })...)
	found = append(found, compare("listener", old.Listeners, now.Listeners, func(c *config.Listener) string { return c.Name })...)
	for _, name := range gone(old.Clusters, now.Clusters, func(c *config.Cluster) string { return c.Name }) {
		found = append(found, "cluster "+name+" removed")
	}
	if old.Log != now.Log {
		found = append(found, "log")
	}
	return found
}

// maxNamed is how many of a kind are named; the rest is counted.
const maxNamed = 20

// compare lists what was added, removed or changed of a kind.
func compare[T any](kind string, old, now []T, name func(*T) string) []string {
	before := make(map[string]*T, len(old))
	for i := range old {
		before[name(&old[i])] = &old[i]
	}
	var found []string
	for i := range now {
		n := name(&now[i])
		switch o := before[n]; {
		case o == nil:
			found = append(found, kind+" "+n+" added")
		case !reflect.DeepEqual(*o, now[i]):
			found = append(found, kind+" "+n+" changed")
		}
	}
	for _, n := range gone(old, now, name) {
		found = append(found, kind+" "+n+" removed")
	}
	if len(found) > maxNamed {
		found = append(found[:maxNamed], fmt.Sprintf("and %d more of kind %s", len(found)-maxNamed, kind))
	}
	return found
}

// gone lists the names that are in old and not in now.
func gone[T any](old, now []T, name func(*T) string) []string {
	have := make(map[string]bool, len(now))
	for i := range now {
		have[name(&now[i])] = true
	}
	var names []string
	for i := range old {
		if n := name(&old[i]); !have[n] {
			names = append(names, n)
		}
	}
	return names
}
