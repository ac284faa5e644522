package auth

import (
	"net/http"
	"testing"
)

// TestAllowsKeepsUIDAndExtraOfTheGrant: a UID or an extra may be what restricts
// a user, so a grant that has got another one is not what was let in before.
func TestAllowsKeepsUIDAndExtraOfTheGrant(t *testing.T) {
	grant := Impersonation{User: "alice", UID: "7", Groups: []string{"dev"}, Extra: map[string][]string{"scope": {"a", "b"}}}
	allowed := AllowedImpersonation{Users: []string{"carol", "alice"}, Groups: []string{"dev"}}
	ask := func(user string) *As {
		t.Helper()
		as, err := allowed.Resolve(mustAs(t, grant), http.Header{"Impersonate-User": {user}, "Impersonate-Group": {"dev"}})
		if err != nil {
			t.Fatal(err)
		}
		return as
	}
	herself, carol := ask("alice"), ask("carol")
	for name, c := range map[string]struct {
		edit           func(*Impersonation)
		herself, carol bool
	}{
		"as it was":              {func(*Impersonation) {}, true, true},
		"a group more":           {func(g *Impersonation) { g.Groups = []string{"ops", "dev"} }, true, true},
		"another UID":            {func(g *Impersonation) { g.UID = "8" }, false, true},
		"no UID":                 {func(g *Impersonation) { g.UID = "" }, false, true},
		"one value less":         {func(g *Impersonation) { g.Extra = map[string][]string{"scope": {"a"}} }, false, true},
		"another value":          {func(g *Impersonation) { g.Extra = map[string][]string{"scope": {"a", "c"}} }, false, true},
		"an extra more":          {func(g *Impersonation) { g.Extra = map[string][]string{"scope": {"a", "b"}, "x": {"y"}} }, false, true},
		"no extra":               {func(g *Impersonation) { g.Extra = nil }, false, true},
		"carol's grant, with it": {func(g *Impersonation) { g.User = "carol" }, false, false},
		"carol's grant, without": {func(g *Impersonation) { *g = Impersonation{User: "carol", Groups: []string{"dev"}} }, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			now := grant
			c.edit(&now)
			own := mustAs(t, now)
			if got := allowed.Allows(own, herself); got != c.herself {
				t.Errorf("alice, who had asked for herself: allowed: %t, want %t", got, c.herself)
			}
			if got := allowed.Allows(own, carol); got != c.carol {
				t.Errorf("alice, who had asked for carol: allowed: %t, want %t", got, c.carol)
			}
		})
	}
	if !new(AllowedImpersonation).Allows(mustAs(t, grant), herself) {
		t.Error("alice may not ask for herself where nothing is allowed besides")
	}
}
