package identify

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"
)

func TestNewTokensAreDifferentAndMatchTheirHash(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		token, sum := NewToken()
		random, ok := strings.CutPrefix(token, "kuberelay_")
		if raw, err := base64.RawURLEncoding.DecodeString(random); !ok || err != nil || len(raw) != 32 || len(random) != 43 {
			t.Fatalf("token %q is not kuberelay_ and 43 characters of base64url", token)
		}
		if seen[token] || sum != sha(token) {
			t.Fatalf("token %q was seen before (%t), or has another hash than %s", token, seen[token], sum)
		}
		seen[token] = true
	}
}

func TestMintedTokensHoldForTheirTTL(t *testing.T) {
	c := newClock()
	m := NewMinter(c.now)
	token, expires := m.Mint("alice", 1001, 10*time.Minute)
	if want := c.now().Add(10 * time.Minute); !expires.Equal(want) {
		t.Errorf("expires at %v, want %v", expires, want)
	}
	got := m.verify(token)
	if got == nil || got.client != "alice" || got.uid != 1001 || !got.expires.Equal(expires) {
		t.Errorf("the token says %+v", got)
	}
	if again, _ := m.Mint("alice", 1001, 10*time.Minute); again == token {
		t.Error("two tokens are the same")
	}
	if strings.Contains(token, "alice") || !isToken(token) {
		t.Errorf("%q is not a token", token)
	}
}

func TestAChangedMintedTokenIsNotValid(t *testing.T) {
	m := NewMinter(nil)
	token, _ := m.Mint("alice", 1001, time.Hour)
	const others = "AQgwx_-0."
	for n := range len(token) {
		for _, c := range []byte(others) {
			if c == token[n] {
				continue
			}
			if changed := token[:n] + string(c) + token[n+1:]; m.verify(changed) != nil {
				t.Fatalf("valid with byte %d changed from %q to %q", n, token[n], c)
			}
		}
		if m.verify(token[:n]) != nil {
			t.Fatalf("valid when cut to %d bytes", n)
		}
	}
	if long, _ := m.Mint(strings.Repeat("a", maxMinted), 1001, time.Hour); m.verify(long) != nil {
		t.Error("a token of more than 4 KiB is looked at")
	}
	for _, added := range []string{"\n", "=", "A", "."} {
		if m.verify(token+added) != nil {
			t.Errorf("valid with %q added", added)
		}
	}
}

func FuzzMintedToken(f *testing.F) {
	m := newMinter([32]byte{1}, nil)
	// The workers of a fuzz run must have the same one.
	signed := mintedPrefix + base64.RawURLEncoding.EncodeToString(append(make([]byte, mintedHeader), "alice"...))
	mac := m.mac(signed)
	good := signed + "." + base64.RawURLEncoding.EncodeToString(mac[:])
	if m.verify(good) == nil {
		f.Fatalf("%q is not valid", good)
	}
	for _, seed := range []string{"", mintedPrefix, mintedPrefix + ".", good, good + ".", strings.ToUpper(good), good[:len(good)-1]} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		if got := m.verify(token); got != nil && token != good {
			t.Errorf("%q is valid, and was not minted: %+v", token, got)
		}
	})
}

// FuzzBearer holds that an Authorization header yields a token as it is written
// or nothing, and that whatever is not refused is text that can be a header.
func FuzzBearer(f *testing.F) {
	for _, seed := range []string{"", "Bearer x", "bearer  x", "Bearer\tx", "Basic eDp5", "Bearer x y", "Bearer \x00", "Bearer x,Bearer y"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		h := carriers{authorization: []string{value}}
		token, refusal := h.bearer()
		if refusal != nil {
			return
		}
		if !strings.EqualFold(value[:7], "Bearer ") || value[7:] != token || strings.ContainsAny(token, " \t\r\n\x00\x7f") || token == "" {
			t.Errorf("%q is read as the token %q", value, token)
		}
	})
}

// FuzzSubprotocol holds that a token is read from websocket subprotocols only
// if it encodes to one of them, and that none is overlooked.
func FuzzSubprotocol(f *testing.F) {
	for _, seed := range []string{
		"", "x", subprotocol("t") + ",x", "x, " + subprotocol("t"), subprotocol("t"), subprotocolPrefix + ",x",
		subprotocolPrefix + "YR,x", subprotocol("t") + "," + subprotocol("u") + ",x", strings.ToUpper(subprotocolPrefix) + "dA,x",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		h := carriers{subprotocols: []string{value}, upgrade: []string{"websocket"}, connection: []string{"upgrade"}}
		token, refusal := h.subprotocolBearer()
		has := strings.Contains(value, subprotocolPrefix)
		switch {
		case refusal != nil:
		case token != "":
			encoded := base64.RawURLEncoding.EncodeToString([]byte(token))
			if !strings.Contains(value, encoded) || !isToken(token) {
				t.Errorf("%q is read as the token %q", value, token)
			}
		case has:
			for each := range strings.SplitSeq(value, ",") {
				if strings.HasPrefix(strings.Trim(each, " \t"), subprotocolPrefix) {
					t.Errorf("the token in %q is overlooked", value)
				}
			}
		}
	})
}
