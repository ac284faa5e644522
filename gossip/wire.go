package gossip

import (
	"encoding/hex"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// A message is a version byte and, in the wire format of protocol buffers,
//
//	Message     { repeated Record records = 1; repeated Decision decisions = 2; }
//	Record      { string node = 1; uint64 epoch = 2; repeated Entry entries = 3; }
//	Entry       { uint64 kind = 1; uint64 seq = 2; bytes upstream = 3; bytes body = 4; }
//	Decision    { uint64 kind = 1; bytes target = 2; uint64 counter = 3; string by = 4; bytes body = 5; }
//	Observation { uint64 state = 1; uint64 breaker = 2; uint64 since_ms = 3; string reason = 4; }
//	Particulars { string version = 1; string config_hash = 2; string admin_address = 3; uint64 started_ms = 4;
//	              uint64 in_flight = 5; uint64 streams = 6; reserved 7;
//	              repeated string key_ids = 8; bool leaving = 9; }
//	Verdict     { bool on = 1; uint64 until_ms = 2; string reason = 3; uint64 at_ms = 4; }
//
// Bodies are kept and passed on as they came, so a field or a kind that only
// newer nodes know gets through older ones. The version is for changes that
// cannot be made in that way.
const wireVersion = 1

// Bounds on messages. What memberlist can send by UDP is 1400 bytes less 45 of
// its own and the label's; a longer broadcast would stay in its queue for ever.
const (
	maxMessage  = 1366 - 2 - maxLabel // of one entry or decision
	maxState    = 2 << 20             // of the whole map
	maxBody     = 640
	maxReason   = 256
	maxVersion  = 64
	maxHash     = 64
	maxAdmin    = 256
	maxSequence = 1 << 62 // nobody has counted that far: it is made up
)

// Kinds of entry.
const (
	kindObservation = 1
	kindParticulars = 2
	kindBeacon      = 3
)

// entryKey says which of a node's facts an entry is. Upstream is raw bytes.
type entryKey struct {
	kind     uint64
	upstream string
}

// entry is one fact of a node's; body is as it came.
type entry struct {
	key  entryKey
	seq  uint64
	body string
}

// record holds facts of one node, all from one run.
type record struct {
	node    string
	epoch   uint64
	entries []entry
}

// decisionKey says what an intent is about. Target is raw bytes.
type decisionKey struct {
	kind   uint64
	target string
}

// decision is an intent on its way; body is as it came.
type decision struct {
	key     decisionKey
	counter uint64
	by      string
	body    string
}

// message is what nodes send each other.
type message struct {
	records   []record
	decisions []decision
}

func (m message) encode() []byte {
	out := []byte{wireVersion}
	for _, r := range m.records {
		out = appendBytes(out, 1, r.encode())
	}
	for _, d := range m.decisions {
		out = appendBytes(out, 2, d.encode())
	}
	return out
}

func (r record) encode() []byte {
	out := appendString(nil, 1, r.node)
	out = appendNumber(out, 2, r.epoch)
	for _, e := range r.entries {
		var raw []byte
		raw = appendNumber(raw, 1, e.key.kind)
		raw = appendNumber(raw, 2, e.seq)
		raw = appendString(raw, 3, e.key.upstream)
		raw = appendString(raw, 4, e.body)
		out = appendBytes(out, 3, raw)
	}
	return out
}

func (d decision) encode() []byte {
	var out []byte
	out = appendNumber(out, 1, d.key.kind)
	out = appendString(out, 2, d.key.target)
	out = appendNumber(out, 3, d.counter)
	out = appendString(out, 4, d.by)
	return appendString(out, 5, d.body)
}

var (
	wireStates   = []State{"", StateReady, StateSuspect, StateDegraded, StateDown, StateMisconfigured}
	wireBreakers = []string{"", "closed", "half-open", "open"}
	wireKinds    = []IntentKind{"", Drain, Revoke}
)

func encodeObservation(o Observation) string {
	var out []byte
	out = appendNumber(out, 1, indexOf(wireStates, o.State))
	out = appendNumber(out, 2, indexOf(wireBreakers, o.Breaker))
	out = appendTime(out, 3, o.Since)
	return string(appendString(out, 4, cut(o.Reason, maxReason)))
}

// selfFacts are a node's particulars and what its mesh adds.
type selfFacts struct {
	Particulars
	keyIDs  []string // the primary key's first
	leaving bool
}

func encodeParticulars(p selfFacts) string {
	var out []byte
	out = appendString(out, 1, cut(p.Version, maxVersion))
	out = appendString(out, 2, cut(p.ConfigHash, maxHash))
	out = appendString(out, 3, cut(p.AdminAddress, maxAdmin))
	out = appendTime(out, 4, p.Started)
	out = appendNumber(out, 5, p.Load.InFlight)
	out = appendNumber(out, 6, p.Load.Streams)
	for _, id := range p.keyIDs[:min(len(p.keyIDs), maxKeys)] {
		out = appendString(out, 8, id)
	}
	return string(appendBool(out, 9, p.leaving))
}

func encodeIntent(i Intent) decision {
	var body []byte
	body = appendBool(body, 1, i.On)
	body = appendTime(body, 2, i.Until)
	body = appendString(body, 3, cut(i.Reason, maxReason))
	body = appendTime(body, 4, i.At)
	target, _ := hex.DecodeString(i.Target)
	return decision{
		key:     decisionKey{indexOf(wireKinds, i.Kind), string(target)},
		counter: i.Counter, by: i.By, body: string(body),
	}
}

func appendBytes(out []byte, number protowire.Number, value []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(out, number, protowire.BytesType), value)
}

func appendString(out []byte, number protowire.Number, value string) []byte {
	if value == "" {
		return out
	}
	return protowire.AppendString(protowire.AppendTag(out, number, protowire.BytesType), value)
}

func appendNumber(out []byte, number protowire.Number, value uint64) []byte {
	if value == 0 {
		return out
	}
	return protowire.AppendVarint(protowire.AppendTag(out, number, protowire.VarintType), value)
}

func appendBool(out []byte, number protowire.Number, value bool) []byte {
	return appendNumber(out, number, protowire.EncodeBool(value))
}

func appendTime(out []byte, number protowire.Number, value time.Time) []byte {
	if value.IsZero() || value.UnixMilli() < 0 {
		return out
	}
	return appendNumber(out, number, uint64(value.UnixMilli()))
}

func indexOf[T comparable](list []T, value T) uint64 {
	for i, v := range list {
		if v == value {
			return uint64(i)
		}
	}
	return 0
}

// cut shortens s to limit bytes and makes it valid UTF-8.
func cut(s string, limit int) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
