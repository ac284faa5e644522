package identify

import (
	"testing"
	"time"
)

// TestMintedTokenThatExpiresEndsNothing: its expiry is for what is new.
func TestMintedTokenThatExpiresEndsNothing(t *testing.T) {
	c := newClock()
	minter := NewMinter(c.now)
	o := Options{Minter: minter, Now: c.now}
	d := newDirectory(t, team(c.now().Add(time.Hour)), o)
	token, until := minter.Mint("alice", 1001, 10*time.Minute)
	alone, err := d.Identify(t.Context(), request(t, bearer(token)), local(1001), accept(Bearer))
	if err != nil || !alone.Expires.Equal(until) {
		t.Fatalf("until %v (%v), want %v", alone.Expires, err, until)
	}
	both, err := d.Identify(t.Context(), request(t, bearer(token), "Sec-Websocket-Protocol: "+subprotocol(aliceToken)+", x", "Connection: Upgrade", "Upgrade: websocket"), local(1001), accept(Bearer))
	if err != nil {
		t.Fatal(err)
	}

	c.advance(10 * time.Minute)
	if _, err := d.Identify(t.Context(), request(t, bearer(token)), local(1001), accept(Bearer)); reason(t, err) != ReasonExpired {
		t.Errorf("a new request: %v, want it refused", err)
	}
	for name, i := range map[string]*Identity{"the token alone": &alone, "the token beside another": &both} {
		if err := d.Review(i, c.now().Add(time.Minute)); err != nil {
			t.Errorf("%s, after it has expired: %v", name, err)
		}
	}
	if err := d.Review(&both, c.now().Add(time.Hour)); reason(t, err) != ReasonExpired {
		t.Errorf("when the token beside it has expired: %v, want a refusal", err)
	}
	if err := d.Review(&alone, c.now().AddDate(1, 0, 0)); err != nil {
		t.Errorf("after a year: %v", err)
	}

	for name, clients := range map[string][]Client{
		"nobody":         nil,
		"another client": {{Name: "bob", Match: []Match{{UID: new(uint32(1001))}}}},
		"another uid":    {{Name: "alice", Match: []Match{{UID: new(uint32(1002))}}}},
	} {
		if err := newDirectory(t, clients, o).Review(&alone, c.now()); reason(t, err) != ReasonUnknownClient {
			t.Errorf("the uid is of %s: %v, want a refusal", name, err)
		}
	}
}
