package identify

import (
	"errors"
	"fmt"
	"io"
	"os/user"
	"strconv"
	"time"
)

// Directory knows the clients of one configuration by their evidence. It is
// immutable, and safe for concurrent use; no request scans the clients.
type Directory struct {
	names       map[string]int // the client's index
	uids        map[uint32]*uidEntry
	tokens      map[digest]*tokenEntry
	commonNames map[string]string // to the client's name
	issuers     map[string]*audiences

	minter *Minter
	oidc   *Issuers
	now    func() time.Time
}

// Options are what a Directory works with besides the clients. The zero value
// takes no minted tokens and has issuers of its own.
type Options struct {
	// Minter verifies the tokens that this process has minted. It outlives the
	// Directory. Nil: no minted token is valid.
	Minter *Minter

	// OIDC holds the issuers' keys. It outlives the Directory, so that a
	// reload asks no issuer again. Nil: keys of the Directory's own.
	OIDC *Issuers

	// LookupUser returns the user ID of a system user. Nil: os/user's.
	LookupUser func(name string) (uid uint32, err error)

	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

// MatchError is a client that cannot be in a Directory, and the field that says
// why.
type MatchError struct {
	// Client is the client's index among the clients.
	Client int

	// Match is the index in the client's Match, -1 if it is the client itself.
	Match int

	// Field is the field within the match ("tokenSHA256", "oidc.issuer"), or
	// within the client ("name"); empty for the match as a whole.
	Field string

	// Err is what is wrong and what to do.
	Err error
}

// Error returns the field's path and what is wrong with it.
func (e *MatchError) Error() string { return e.Path() + ": " + e.Err.Error() }

// Unwrap returns what is wrong.
func (e *MatchError) Unwrap() error { return e.Err }

// Path returns the field's path in the configuration, such as
// "clients[3].match[0].oidc.issuer".
func (e *MatchError) Path() string {
	path := "clients[" + strconv.Itoa(e.Client) + "]"
	if e.Match >= 0 {
		path += ".match[" + strconv.Itoa(e.Match) + "]"
	}
	if e.Field != "" {
		path += "." + e.Field
	}
	return path
}

// NewDirectory returns the Directory of the clients. Its error joins a
// [*MatchError] for each problem: a client without a name or with another's, a
// match that has not exactly one kind of evidence or one that is not well
// formed, an unknown user, a CA file that cannot be read, and evidence that two
// clients share. No issuer is asked for anything yet.
func NewDirectory(clients []Client, o Options) (*Directory, error) {
	if o.LookupUser == nil {
		o.LookupUser = lookupUser
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.OIDC == nil {
		o.OIDC = NewIssuers(o.Now)
	}
	b := builder{
		clients: clients, lookupUser: o.LookupUser,
		owners: make(map[key]owner, len(clients)),
		d: &Directory{
			names:       make(map[string]int, len(clients)),
			uids:        make(map[uint32]*uidEntry, len(clients)),
			tokens:      make(map[digest]*tokenEntry, len(clients)),
			commonNames: make(map[string]string),
			issuers:     make(map[string]*audiences),
			minter:      o.Minter, oidc: o.OIDC, now: o.Now,
		},
	}
	for n := range clients {
		b.add(n)
	}
	if len(b.problems) > 0 {
		return nil, errors.Join(b.problems...)
	}
	return b.d, nil
}

// String says how many clients there are.
func (d *Directory) String() string { return fmt.Sprintf("directory of %d clients", len(d.names)) }

// Format writes what String returns, for every verb.
func (d *Directory) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, d.String()) }

// lookupUser asks the system's user database.
func lookupUser(name string) (uint32, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return 0, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("its user ID %q is not a number", u.Uid)
	}
	return uint32(uid), nil
}
