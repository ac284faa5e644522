package identify

import "strings"

// Accepted is the set of methods that a listener takes as evidence. The zero
// value is the empty set: nobody is recognised. Values are compared with ==.
type Accepted struct{ bits uint8 }

// NewAccepted returns the set of the methods. What is not one of [Methods] is
// left out; the configuration refuses it.
func NewAccepted(methods []Method) Accepted {
	var a Accepted
	for _, m := range methods {
		a.bits |= bit(m)
	}
	return a
}

// Has reports whether the method is in the set.
func (a Accepted) Has(m Method) bool { return a.bits&bit(m) != 0 }

// tokens reports whether any kind of bearer token is in the set.
func (a Accepted) tokens() bool { return a.Has(Bearer) || a.Has(OIDC) }

// String names the methods, in the order of [Methods], joined by
// commas: "uid, bearer"; "nothing" if there are none.
func (a Accepted) String() string {
	names := make([]string, 0, 4)
	for _, m := range Methods() {
		if a.Has(m) {
			names = append(names, string(m))
		}
	}
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}

func bit(m Method) uint8 {
	switch m {
	case UID:
		return 1
	case Bearer:
		return 2
	case Certificate:
		return 4
	case OIDC:
		return 8
	}
	return 0
}
