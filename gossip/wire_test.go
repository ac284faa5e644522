package gossip

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
)

func longText(n int) string { return strings.Repeat("x", n) }

func longName(c byte) string { return strings.Repeat(string(c), maxName) }

func observationEntry(o Observation) entry {
	return entry{entryKey{kindObservation, "12345678"}, 7, encodeObservation(o)}
}

var sample = message{
	records: []record{
		{"a", 1, []entry{observationEntry(Observation{State: StateDown, Reason: "refused"}), {entryKey{kind: kindBeacon}, 2, ""}}},
		{"b", 9, []entry{{entryKey{kind: kindParticulars}, 1, encodeParticulars(selfFacts{keyIDs: []string{"01234567"}})}}},
	},
	decisions: []decision{encodeIntent(Intent{Kind: Revoke, Target: upstreamA, On: true, Counter: 3, By: "a", Reason: "why"})},
}

func TestMessagesComeBackAsTheyWere(t *testing.T) {
	got, err := decode(sample.encode())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sample, got, messageOptions); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestBodiesComeBackAsTheyWere(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC)
	o := Observation{State: StateDegraded, Breaker: "half-open", Since: at, Reason: "etcd: “gone”"}
	if got, err := decodeObservation(encodeObservation(o)); err != nil || got != o {
		t.Errorf("observation %+v, %v", got, err)
	}
	p := selfFacts{
		Particulars: Particulars{Version: "v1", ConfigHash: "h", AdminAddress: "a:1", Started: at, Load: Load{1, 2}},
		keyIDs:      []string{"a", "b"}, leaving: true,
	}
	got, err := decodeParticulars(encodeParticulars(p))
	if diff := cmp.Diff(p, got, cmp.AllowUnexported(selfFacts{})); diff != "" || err != nil {
		t.Errorf("particulars (-want +got), %v:\n%s", err, diff)
	}
	i := Intent{Kind: Drain, Target: upstreamB, On: true, Until: at, Reason: "r", By: "n", At: at, Counter: 12}
	if got, err := encodeIntent(i).intent(); err != nil || got != i {
		t.Errorf("intent %+v, %v", got, err)
	}
}

func TestTheLongestFactsAndIntentsFitIntoAPacket(t *testing.T) {
	far := time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	facts := selfFacts{
		Particulars: Particulars{
			Version: longText(500), ConfigHash: longText(500), AdminAddress: longText(500), Started: far,
			Load: Load{1<<64 - 1, 1<<64 - 1},
		},
		keyIDs: []string{"01234567", "01234567", "01234567", "01234567", "01234567", "01234567", "01234567", "01234567", "too many"}, leaving: true,
	}
	for name, m := range map[string]message{
		"particulars": {records: []record{{longName('n'), maxSequence - 1, []entry{{entryKey{kind: kindParticulars}, maxSequence - 1, encodeParticulars(facts)}}}}},
		"observation": {records: []record{{longName('n'), maxSequence - 1, []entry{{entryKey{kindObservation, "12345678"}, maxSequence - 1,
			encodeObservation(Observation{State: StateMisconfigured, Breaker: "half-open", Since: far, Reason: longText(1000)})}}}}},
		"intent": {decisions: []decision{encodeIntent(Intent{Kind: Revoke, Target: upstreamA, On: true, Until: far, At: far, Reason: longText(1000), By: longName('n'), Counter: maxSequence - 1})}},
	} {
		raw := m.encode()
		if len(raw) > maxMessage {
			t.Errorf("%s: %d bytes, more than %d", name, len(raw), maxMessage)
		}
		if _, err := decode(raw); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTextIsCutBetweenCharacters(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "abcd": "abcd", "abcdef": "abcd", "abcé": "abc", "日本": "日", "\xff\xffabc": "?abc", "ab\xffcd": "ab?c",
	} {
		if got := cut(in, 4); got != want {
			t.Errorf("cut(%q) = %q, want %q", in, got, want)
		}
	}
}

// field builds a message by hand.
func number(out []byte, n protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(out, n, protowire.VarintType), v)
}

func TestFieldsAndKindsOfNewerNodesGetThrough(t *testing.T) {
	observation := string(appendString(number([]byte(encodeObservation(Observation{State: StateDown})), 99, 5), 98, "new"))
	raw := message{
		records: []record{{"a", 1, []entry{
			{entryKey{kindObservation, "12345678"}, 1, observation},
			{entryKey{77, "some"}, 1, "anything"},
		}}},
		decisions: []decision{{decisionKey{55, "12345678"}, 1, "a", ""}},
	}.encode()
	raw = appendString(number(raw, 99, 5), 100, "new")
	raw = protowire.AppendFixed64(protowire.AppendTag(raw, 101, protowire.Fixed64Type), 1)
	m, err := decode(raw)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.records) != 1 || len(m.records[0].entries) != 2 || m.records[0].entries[0].body != observation {
		t.Errorf("got %+v", m)
	}
	if i, err := m.decisions[0].intent(); err != nil || i.Kind != "UNKNOWN-55" {
		t.Errorf("intent %+v, %v", i, err)
	}
	if o, ok := m.records[0].entries[0].asObservation("a"); !ok || o.State != StateDown {
		t.Errorf("observation %+v", o)
	}
	if o, err := decodeObservation(string(number(nil, 1, 9))); err != nil || o.State != "UNKNOWN-9" || o.State.Decided() || o.State.Up() {
		t.Errorf("a state that only newer nodes know: %+v, %v", o, err)
	}
	// And they are passed on as they came.
	if diff := cmp.Diff(m, replicaOf(m).all(), messageOptions); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWhatIsNoMessage(t *testing.T) {
	ok := func(change func(*record)) []byte {
		r := record{"a", 1, []entry{observationEntry(Observation{State: StateDown})}}
		change(&r)
		return message{records: []record{r}}.encode()
	}
	decided := func(change func(*decision)) []byte {
		d := encodeIntent(Intent{Kind: Drain, Target: upstreamA, Counter: 1, By: "a"})
		change(&d)
		return message{decisions: []decision{d}}.encode()
	}
	if _, err := decode(ok(func(*record) {})); err != nil {
		t.Fatal(err)
	}
	if _, err := decode(decided(func(*decision) {})); err != nil {
		t.Fatal(err)
	}
	whole := ok(func(*record) {})
	group := protowire.AppendTag([]byte{wireVersion}, 1, protowire.StartGroupType)
	for name, c := range map[string]struct {
		raw  []byte
		want error
	}{
		"nothing":                        {nil, errMalformed},
		"another version":                {[]byte{2, 1, 2, 3}, errVersion},
		"text":                           {[]byte("hello"), errVersion},
		"half a message":                 {whole[:len(whole)/2], errMalformed},
		"all but a byte":                 {whole[:len(whole)-1], errMalformed},
		"a group":                        {group, errMalformed},
		"too long":                       {append([]byte{wireVersion}, make([]byte, maxState)...), errOversize},
		"a number in place of a record":  {number([]byte{wireVersion}, 1, 5), errMalformed},
		"a node without a name":          {ok(func(r *record) { r.node = "" }), errMalformed},
		"a name with a space":            {ok(func(r *record) { r.node = "a b" }), errMalformed},
		"a name that is too long":        {ok(func(r *record) { r.node = longText(maxName + 1) }), errMalformed},
		"no epoch":                       {ok(func(r *record) { r.epoch = 0 }), errMalformed},
		"an epoch made up":               {ok(func(r *record) { r.epoch = maxSequence }), errMalformed},
		"no entries":                     {ok(func(r *record) { r.entries = nil }), errMalformed},
		"no sequence":                    {ok(func(r *record) { r.entries[0].seq = 0 }), errMalformed},
		"a sequence made up":             {ok(func(r *record) { r.entries[0].seq = 1 << 63 }), errMalformed},
		"no kind":                        {ok(func(r *record) { r.entries[0].key.kind = 0 }), errMalformed},
		"half an upstream":               {ok(func(r *record) { r.entries[0].key.upstream = "1234" }), errMalformed},
		"a body that is too long":        {ok(func(r *record) { r.entries[0].body = longText(maxBody + 1) }), errMalformed},
		"a body that is none":            {ok(func(r *record) { r.entries[0].body = "\xff" }), errMalformed},
		"a reason that is too long":      {ok(func(r *record) { r.entries[0].body = string(appendString(nil, 4, longText(maxReason+1))) }), errMalformed},
		"a reason that is no text":       {ok(func(r *record) { r.entries[0].body = string(appendString(nil, 4, "\xff")) }), errMalformed},
		"a reason that is a number":      {ok(func(r *record) { r.entries[0].body = string(number(nil, 4, 4)) }), errMalformed},
		"a state that is text":           {ok(func(r *record) { r.entries[0].body = string(appendString(nil, 1, "DOWN")) }), errMalformed},
		"particulars of an upstream":     {ok(func(r *record) { r.entries[0].key.kind = kindParticulars }), errMalformed},
		"too many entries of a node":     {ok(func(r *record) { r.entries = make1025(r.entries[0]) }), errOversize},
		"too many records":               {manyRecords(), errOversize},
		"a decision without a kind":      {decided(func(d *decision) { d.key.kind = 0 }), errMalformed},
		"a decision about nothing":       {decided(func(d *decision) { d.key.target = "" }), errMalformed},
		"a decision without a counter":   {decided(func(d *decision) { d.counter = 0 }), errMalformed},
		"a decision with a wild counter": {decided(func(d *decision) { d.counter = maxSequence }), errMalformed},
		"a decision of nobody":           {decided(func(d *decision) { d.by = "" }), errMalformed},
		"a decision that is no body":     {decided(func(d *decision) { d.body = "\x0a\xff" }), errMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := decode(c.raw)
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if len(m.records)+len(m.decisions) > 0 {
				t.Errorf("a part was taken: %+v", m)
			}
		})
	}
}

func make1025(e entry) []entry {
	all := make([]entry, maxEntries+1)
	for i := range all {
		all[i] = e
	}
	return all
}

func manyRecords() []byte {
	var m message
	for range maxRecords + 1 {
		m.records = append(m.records, sample.records[0])
	}
	return m.encode()
}
