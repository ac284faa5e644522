package identify

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

const (
	// mintedPrefix begins every minted token; the number is the format's.
	mintedPrefix = "kuberelay-m1."
	// maxMinted bounds the bytes of a minted token that is looked at.
	maxMinted = 4 << 10
	// mintedHeader is the payload before the client's name: issued-at and
	// expiry in Unix seconds, the uid, a nonce. Nothing depends on issued-at
	// and nonce but that no two tokens are alike.
	mintedHeader = 8 + 8 + 4 + mintedNonce
	mintedNonce  = 8
)

// strict64 decodes one spelling of each value only.
var strict64 = base64.RawURLEncoding.Strict()

// Minter makes tokens that hold for a short time and one user, for kuberelay
// credential, and verifies them. The tokens carry all that is known of them;
// their key is random and lives as long as the Minter, so none outlives the
// process. It is safe for concurrent use.
type Minter struct {
	// mac is a func, so that fmt cannot find the key from whatever holds the
	// Minter.
	mac func(signed string) [sha256.Size]byte
	now func() time.Time
}

// NewMinter returns a Minter with a key of its own. The clock may be nil:
// time.Now.
func NewMinter(now func() time.Time) *Minter {
	var key [32]byte
	_, _ = rand.Read(key[:]) // It never fails: crypto/rand says so.
	return newMinter(key, now)
}

func newMinter(key [32]byte, now func() time.Time) *Minter {
	if now == nil {
		now = time.Now
	}
	return &Minter{now: now, mac: func(signed string) (sum [sha256.Size]byte) {
		h := hmac.New(sha256.New, key[:])
		_, _ = io.WriteString(h, signed)
		h.Sum(sum[:0])
		return sum
	}}
}

// Mint returns a token of the client, which holds for ttl, in whole seconds,
// and where the peer's user ID can be known for uid alone. Whether it may be handed
// out is for the caller to decide: see [Identity.UID]. The client's name has
// 2 KiB at most; a longer one makes a token that is not valid.
func (m *Minter) Mint(client string, uid uint32, ttl time.Duration) (token string, expires time.Time) {
	issued := m.now()
	expires = issued.Add(ttl).Truncate(time.Second)
	payload := make([]byte, mintedHeader, mintedHeader+len(client))
	binary.BigEndian.PutUint64(payload[0:], uint64(issued.Unix()))
	binary.BigEndian.PutUint64(payload[8:], uint64(expires.Unix()))
	binary.BigEndian.PutUint32(payload[16:], uid)
	_, _ = rand.Read(payload[20:mintedHeader]) // It never fails: crypto/rand says so.
	payload = append(payload, client...)

	signed := mintedPrefix + base64.RawURLEncoding.EncodeToString(payload)
	mac := m.mac(signed)
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac[:]), expires
}

// String says what it is, and not its key.
func (m *Minter) String() string { return "minter" }

// Format writes what String returns, for every verb.
func (m *Minter) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, m.String()) }

// verify returns what the token says, if this Minter has made it; nil if not.
// Its expiry is not looked at.
func (m *Minter) verify(token string) *minted {
	if len(token) > maxMinted || !strings.HasPrefix(token, mintedPrefix) {
		return nil
	}
	dot := strings.LastIndexByte(token, '.')
	if dot < len(mintedPrefix) {
		return nil
	}
	signed, encoded := token[:dot], token[dot+1:]
	// The decoder skips line breaks, which would be a second spelling.
	var given [sha256.Size + 1]byte
	if base64.RawURLEncoding.DecodedLen(len(encoded)) != sha256.Size || strings.ContainsAny(encoded, "\r\n") {
		return nil
	}
	n, err := strict64.Decode(given[:], []byte(encoded))
	if err != nil || n != sha256.Size {
		return nil
	}
	if want := m.mac(signed); !hmac.Equal(want[:], given[:n]) {
		return nil
	}
	payload, err := strict64.DecodeString(signed[len(mintedPrefix):])
	if err != nil || len(payload) <= mintedHeader {
		return nil
	}
	return &minted{
		expires: time.Unix(int64(binary.BigEndian.Uint64(payload[8:])), 0),
		uid:     binary.BigEndian.Uint32(payload[16:]),
		client:  string(payload[mintedHeader:]),
	}
}

// minted is what a minted token says.
type minted struct {
	client  string
	uid     uint32
	expires time.Time
}

func (m *minted) describe() (Method, string) {
	return Bearer, "minted:uid:" + strconv.FormatUint(uint64(m.uid), 10)
}

// resolve holds the token against the Directory of now: the client must still
// have the user that the token was made for. The token's own expiry, of which
// holds tells, ends nothing that was opened with it: it repeats what the kernel
// said of a process, and kubectl, which gets the next one by itself, cannot give
// it to a stream that is open.
func (m *minted) resolve(d *Directory, _ time.Time) (string, time.Time, *Refusal) {
	if e := d.uids[m.uid]; e == nil || e.client != m.client {
		return "", time.Time{}, refuse(ReasonUnknownClient, "the token's client is not configured any more, or not for the token's user; ask for it to be configured")
	}
	return m.client, m.expires, nil
}

// holds refuses a token that has expired: nothing new may come with it.
func (m *minted) holds(now time.Time) *Refusal {
	if now.Before(m.expires) {
		return nil
	}
	return refuse(ReasonExpired, "the token has expired; kuberelay credential gets a new one")
}

// from refuses a peer that may not use the token: a process of this machine must
// be of the user that the token was made for. Of others no user is known.
func (m *minted) from(p *Peer) *Refusal {
	switch {
	case !p.local():
		return nil
	case !p.UIDKnown:
		return uidUnknown(p, "the user ID of the connecting process is not known, and the token holds for one user alone; try again on a new connection")
	case p.UID != m.uid:
		return refuse(ReasonUIDMismatch, "the token was made for another user than the one that this connection comes from; get your own with kuberelay credential")
	}
	return nil
}
