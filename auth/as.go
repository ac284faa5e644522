package auth

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"k8s.io/client-go/rest"
)

// As is the user as whom a request is made: a complete and immutable set of
// Impersonate-* headers.
type As struct {
	headers impersonation
	user    string
	uid     string
	groups  []string
	extra   map[string][]string
}

// NewAs returns the headers for c; nil when c impersonates nobody. A UID, group
// or extra without a user is an error, and so is what cannot stand in a header.
func NewAs(c Impersonation) (*As, error) {
	headers, err := newImpersonation(rest.ImpersonationConfig{UserName: c.User, UID: c.UID, Groups: c.Groups, Extra: c.Extra})
	if err != nil || headers == nil {
		return nil, err
	}
	return &As{headers: headers, user: c.User, uid: c.UID, groups: c.Groups, extra: c.Extra}, nil
}

// User is the user's name; "" on nil.
func (a *As) User() string {
	if a == nil {
		return ""
	}
	return a.user
}

// Groups are the user's groups. The slice is shared.
func (a *As) Groups() []string {
	if a == nil {
		return nil
	}
	return a.groups
}

// UID is the user's unique ID.
func (a *As) UID() string {
	if a == nil {
		return ""
	}
	return a.uid
}

// Extra are the user's further attributes. The map is shared.
func (a *As) Extra() map[string][]string {
	if a == nil {
		return nil
	}
	return a.extra
}

// Equal reports whether requests are made as the same user.
func (a *As) Equal(b *As) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a == b || a.headers.identity() == b.headers.identity()
}

// ImpersonationError says that a client asked for an identity that it may not
// take. It is for the client: it quotes only what the client itself sent.
type ImpersonationError struct{ why string }

func (e *ImpersonationError) Error() string { return e.why }

// Resolve returns the user as whom a request is made. Its client is own (nil: the
// credential's own user) and sent the headers in. Without Impersonate-* headers
// it is own. A client may ask for itself with fewer of its groups, and for the
// users that allowed names with the groups that it names: --as USER without
// groups is USER without groups. Everything else is an [*ImpersonationError]; so
// are a UID and extras, and what the API server would not understand. A client
// that asks for itself keeps the UID and the extras of its grant, which may
// restrict it. Spellings with "_" are not looked at: [RebuildShared] drops them.
func (allowed *AllowedImpersonation) Resolve(own *As, in http.Header) (*As, error) {
	var asked askedFor
	for name, values := range in {
		if name != "" && name[0]|0x20 == 'i' {
			asked.take(classify(name), name, values)
		}
	}
	if !asked.any {
		return own, nil
	}
	switch {
	case asked.other != "":
		return nil, &ImpersonationError{fmt.Sprintf("the header %s cannot be asked for: only a user and groups can", asked.other)}
	case len(asked.users) == 0:
		return nil, &ImpersonationError{"the header Impersonate-Group needs an Impersonate-User"}
	case len(asked.users) > 1:
		return nil, &ImpersonationError{"there is more than one Impersonate-User"}
	case asked.users[0] == "":
		return nil, &ImpersonationError{"Impersonate-User is empty"}
	}
	if err := allowed.check(own, asked.users[0], asked.groups); err != nil {
		return nil, err
	}
	wanted := Impersonation{User: asked.users[0], Groups: asked.groups}
	wanted.UID, wanted.Extra = own.kept(wanted.User) // they may be what restricts it
	as, err := NewAs(wanted)
	if err != nil {
		return nil, &ImpersonationError{err.Error()}
	}
	return as, nil
}

// Allows reports whether as, which a client whose grant says own has asked
// for, may be asked for, and would be the same: the question that a reload asks
// again.
func (allowed *AllowedImpersonation) Allows(own, as *As) bool {
	if allowed.check(own, as.User(), as.Groups()) != nil {
		return false
	}
	uid, extra := own.kept(as.User())
	return as.UID() == uid && maps.EqualFunc(as.Extra(), extra, slices.Equal)
}

// kept are the UID and the extras with which a client asks for a user: those
// that its grant has for that very one.
func (a *As) kept(user string) (uid string, extra map[string][]string) {
	if a == nil || a.user != user {
		return "", nil
	}
	return a.uid, a.extra
}

func (allowed *AllowedImpersonation) check(own *As, user string, groups []string) error {
	self, named := own != nil && user == own.user, slices.Contains(allowed.Users, user)
	if !self && !named {
		return &ImpersonationError{fmt.Sprintf("the client may not impersonate the user %q", cut(user))}
	}
	for _, group := range groups {
		if (!named || !slices.Contains(allowed.Groups, group)) && (!self || !slices.Contains(own.groups, group)) {
			return &ImpersonationError{fmt.Sprintf("the client may not impersonate the group %q", cut(group))}
		}
	}
	return nil
}

// askedFor gathers a client's Impersonate-* headers.
type askedFor struct {
	any           bool
	users, groups []string
	other         string // a name that cannot be asked for
}

func (a *askedFor) take(kind headerKind, name string, values []string) {
	if !kind.impersonates() {
		return
	}
	a.any = true
	switch kind {
	case headerImpersonateUser:
		a.users = append(a.users, values...)
	case headerImpersonateGroup:
		a.groups = append(a.groups, values...)
	default:
		a.other = cut(name)
	}
}

// cut bounds what an error quotes of a client's words.
func cut(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
