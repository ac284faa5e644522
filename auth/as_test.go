package auth

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestResolveAllowsWhatTheClientMayAskFor(t *testing.T) {
	own := mustAs(t, Impersonation{User: "alice", UID: "7", Groups: []string{"dev", "ops"}, Extra: map[string][]string{"team": {"a"}}})
	allowed := AllowedImpersonation{Users: []string{"alice-admin"}, Groups: []string{"admins"}}
	for name, c := range map[string]struct {
		own    *As
		header http.Header
		user   string
		groups []string
		refuse string // a part of the error; "": none
	}{
		"nothing is asked for: the grant's":               {own, http.Header{"Accept": {"*/*"}}, "alice", []string{"dev", "ops"}, ""},
		"nothing, and the grant says nothing":             {nil, http.Header{}, "", nil, ""},
		"itself with fewer groups":                        {own, http.Header{"Impersonate-User": {"alice"}, "Impersonate-Group": {"dev"}}, "alice", []string{"dev"}, ""},
		"itself with no groups":                           {own, http.Header{"Impersonate-User": {"alice"}}, "alice", nil, ""},
		"itself with a group that is for others":          {own, http.Header{"Impersonate-User": {"alice"}, "Impersonate-Group": {"admins"}}, "", nil, `group "admins"`},
		"an allowed user without groups":                  {own, http.Header{"Impersonate-User": {"alice-admin"}}, "alice-admin", nil, ""},
		"an allowed user with an allowed group":           {own, http.Header{"Impersonate-User": {"alice-admin"}, "Impersonate-Group": {"admins"}}, "alice-admin", []string{"admins"}, ""},
		"an allowed user with one's own group":            {own, http.Header{"Impersonate-User": {"alice-admin"}, "Impersonate-Group": {"dev"}}, "", nil, `group "dev"`},
		"another user":                                    {own, http.Header{"Impersonate-User": {"bob"}}, "", nil, `user "bob"`},
		"another user, and the grant says nothing":        {nil, http.Header{"Impersonate-User": {"bob"}}, "", nil, `user "bob"`},
		"itself with a group more":                        {own, http.Header{"Impersonate-User": {"alice"}, "Impersonate-Group": {"dev", "system:masters"}}, "", nil, `group "system:masters"`},
		"a group alone":                                   {own, http.Header{"Impersonate-Group": {"dev"}}, "", nil, "needs an Impersonate-User"},
		"two users":                                       {own, http.Header{"Impersonate-User": {"alice", "alice-admin"}}, "", nil, "more than one"},
		"two users in two spellings":                      {own, http.Header{"Impersonate-User": {"alice"}, "impersonate-USER": {"alice-admin"}}, "", nil, "more than one"},
		"nobody":                                          {own, http.Header{"Impersonate-User": {""}}, "", nil, "is empty"},
		"a UID, even its own":                             {own, http.Header{"Impersonate-User": {"alice"}, "Impersonate-Uid": {"7"}}, "", nil, "Impersonate-Uid"},
		"an extra":                                        {own, http.Header{"Impersonate-User": {"alice"}, "Impersonate-Extra-Team": {"a"}}, "", nil, "Impersonate-Extra-Team"},
		"what Kubernetes may come to know":                {own, http.Header{"Impersonate-Anything": {"x"}}, "", nil, "Impersonate-Anything"},
		"a spelling that is dropped":                      {own, http.Header{"Impersonate_User": {"bob"}}, "alice", []string{"dev", "ops"}, ""},
		"a group with a line break":                       {own, http.Header{"Impersonate-User": {"alice-admin"}, "Impersonate-Group": {"admins\r\nX: y"}}, "", nil, "group"},
		"a group that names no header of Kubernetes' own": {own, http.Header{"Immutable": {"x"}}, "alice", []string{"dev", "ops"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			as, err := allowed.Resolve(c.own, c.header)
			if c.refuse != "" {
				if refused, ok := errors.AsType[*ImpersonationError](err); !ok || !strings.Contains(refused.Error(), c.refuse) {
					t.Fatalf("as %q, error %v, want one that says %q", as.User(), err, c.refuse)
				}
				return
			}
			if err != nil || as.User() != c.user || cmp.Diff(c.groups, as.Groups()) != "" {
				t.Errorf("as %q in %q, error %v; want %q in %q", as.User(), as.Groups(), err, c.user, c.groups)
			}
		})
	}
}

// TestAskingForFewerGroupsKeepsTheRest: OpenShift's scopes, for one, are extras
// that take rights away.
func TestAskingForFewerGroupsKeepsTheRest(t *testing.T) {
	own := mustAs(t, Impersonation{User: "alice", UID: "7", Groups: []string{"dev"}, Extra: map[string][]string{"team": {"a"}}})
	as, err := new(AllowedImpersonation).Resolve(own, http.Header{"Impersonate-User": {"alice"}})
	if err != nil || as.UID() != "7" || len(as.Extra()["team"]) != 1 || len(as.Groups()) != 0 {
		t.Errorf("uid %q, extra %v, groups %q, error %v; want all but the groups", as.UID(), as.Extra(), as.Groups(), err)
	}
}

func TestAsEqual(t *testing.T) {
	alice := Impersonation{User: "alice", Groups: []string{"dev"}}
	same, other := mustAs(t, alice), mustAs(t, Impersonation{User: "alice", Groups: []string{"ops"}})
	for name, c := range map[string]struct {
		a, b *As
		want bool
	}{
		"both nobody":         {nil, nil, true},
		"one nobody":          {nil, same, false},
		"the same":            {same, mustAs(t, alice), true},
		"of another group":    {same, other, false},
		"the very same value": {other, other, true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.a.Equal(c.b); got != c.want {
				t.Errorf("equal: %t, want %t", got, c.want)
			}
		})
	}
}

// TestAllowsAgreesWithResolve: a reload asks Allows about what Resolve has
// let in before.
func TestAllowsAgreesWithResolve(t *testing.T) {
	own := mustAs(t, Impersonation{User: "alice", Groups: []string{"dev"}})
	before := AllowedImpersonation{Users: []string{"alice-admin"}, Groups: []string{"admins"}}
	as, err := before.Resolve(own, http.Header{"Impersonate-User": {"alice-admin"}, "Impersonate-Group": {"admins"}})
	if err != nil || !before.Allows(own, as) {
		t.Fatalf("resolved: %v, allowed: %t", err, before.Allows(own, as))
	}
	for name, now := range map[string]AllowedImpersonation{
		"nothing is allowed any more":    {},
		"the user is not":                {Groups: before.Groups},
		"the group is not":               {Users: before.Users},
		"another user and another group": {Users: []string{"x"}, Groups: []string{"y"}},
	} {
		t.Run(name, func(t *testing.T) {
			if now.Allows(own, as) {
				t.Error("it is still allowed")
			}
		})
	}
}

func mustAs(t *testing.T, c Impersonation) *As {
	t.Helper()
	as, err := NewAs(c)
	if err != nil {
		t.Fatal(err)
	}
	return as
}
