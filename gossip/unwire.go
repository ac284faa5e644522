package gossip

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// Why a message is not taken.
var (
	errVersion   = errors.New("its version is not known")
	errOversize  = errors.New("it is too long")
	errMalformed = errors.New("it is malformed")
)

// Bounds on what a message may hold, beside maxState.
const (
	maxRecords   = 512
	maxEntries   = 1024 // of one node
	maxDecisions = 4096
)

// decode reads a message from a peer, or from whoever has the key. An error
// refuses all of it. raw is not kept.
func decode(raw []byte) (message, error) {
	var m message
	switch {
	case len(raw) == 0:
		return m, errMalformed
	case len(raw) > maxState:
		return m, errOversize
	case raw[0] != wireVersion:
		return m, errVersion
	}
	err := fields(raw[1:], func(f wireField) error {
		switch f.number {
		case 1:
			r, err := decodeRecord(f.bytes)
			m.records = append(m.records, r)
			return errors.Join(err, f.want(protowire.BytesType), atMost(len(m.records), maxRecords))
		case 2:
			d, err := decodeDecision(f.bytes)
			m.decisions = append(m.decisions, d)
			return errors.Join(err, f.want(protowire.BytesType), atMost(len(m.decisions), maxDecisions))
		}
		return nil
	})
	if err != nil {
		return message{}, err
	}
	return m, nil
}

func decodeRecord(raw []byte) (record, error) {
	var r record
	err := fields(raw, func(f wireField) error {
		switch f.number {
		case 1:
			r.node = string(f.bytes)
			return f.want(protowire.BytesType)
		case 2:
			r.epoch = f.value
			return f.want(protowire.VarintType)
		case 3:
			e, err := decodeEntry(f.bytes)
			r.entries = append(r.entries, e)
			return errors.Join(err, f.want(protowire.BytesType), atMost(len(r.entries), maxEntries))
		}
		return nil
	})
	if err == nil && (validateName(r.node) != nil || !sequence(r.epoch) || len(r.entries) == 0) {
		err = errMalformed
	}
	return r, err
}

func decodeEntry(raw []byte) (entry, error) {
	var e entry
	err := fields(raw, func(f wireField) error {
		switch f.number {
		case 1:
			e.key.kind = f.value
			return f.want(protowire.VarintType)
		case 2:
			e.seq = f.value
			return f.want(protowire.VarintType)
		case 3:
			e.key.upstream = string(f.bytes)
			return f.want(protowire.BytesType)
		case 4:
			e.body = string(f.bytes)
			return f.want(protowire.BytesType)
		}
		return nil
	})
	if err != nil {
		return e, err
	}
	ok := sequence(e.seq) && len(e.body) <= maxBody && len(e.key.upstream) <= idBytes
	switch e.key.kind {
	case 0:
		ok = false
	case kindObservation:
		_, err = decodeObservation(e.body)
		ok = ok && len(e.key.upstream) == idBytes
	case kindParticulars:
		_, err = decodeParticulars(e.body)
		ok = ok && e.key.upstream == ""
	case kindBeacon:
		ok = ok && e.key.upstream == ""
	}
	if !ok {
		err = errMalformed
	}
	return e, err
}

func decodeDecision(raw []byte) (decision, error) {
	var d decision
	err := fields(raw, func(f wireField) error {
		switch f.number {
		case 1:
			d.key.kind = f.value
			return f.want(protowire.VarintType)
		case 2:
			d.key.target = string(f.bytes)
			return f.want(protowire.BytesType)
		case 3:
			d.counter = f.value
			return f.want(protowire.VarintType)
		case 4:
			d.by = string(f.bytes)
			return f.want(protowire.BytesType)
		case 5:
			d.body = string(f.bytes)
			return f.want(protowire.BytesType)
		}
		return nil
	})
	if err != nil {
		return d, err
	}
	if d.key.kind == 0 || len(d.key.target) != idBytes || !sequence(d.counter) || validateName(d.by) != nil || len(d.body) > maxBody {
		return d, errMalformed
	}
	_, err = d.intent()
	return d, err
}

func decodeObservation(body string) (Observation, error) {
	var o Observation
	err := fields([]byte(body), func(f wireField) error {
		switch f.number {
		case 1:
			o.State = State(word(wireStates, f.value))
			return f.want(protowire.VarintType)
		case 2:
			o.Breaker = word(wireBreakers, f.value)
			return f.want(protowire.VarintType)
		case 3:
			o.Since = f.time()
			return f.want(protowire.VarintType)
		case 4:
			return f.text(&o.Reason, maxReason)
		}
		return nil
	})
	return o, err
}

func decodeParticulars(body string) (selfFacts, error) {
	var p selfFacts
	err := fields([]byte(body), func(f wireField) error {
		switch f.number {
		case 1:
			return f.text(&p.Version, maxVersion)
		case 2:
			return f.text(&p.ConfigHash, maxHash)
		case 3:
			return f.text(&p.AdminAddress, maxAdmin)
		case 4:
			p.Started = f.time()
			return f.want(protowire.VarintType)
		case 5:
			p.Load.InFlight = f.value
		case 6:
			p.Load.Streams = f.value
		case 8:
			var id string
			err := f.text(&id, 16)
			p.keyIDs = append(p.keyIDs, id)
			return errors.Join(err, atMost(len(p.keyIDs), maxKeys))
		case 9:
			p.leaving = f.value != 0
		}
		return nil
	})
	return p, err
}

// intent returns what d decides.
func (d decision) intent() (Intent, error) {
	i := Intent{
		Kind: IntentKind(word(wireKinds, d.key.kind)), Target: hex.EncodeToString([]byte(d.key.target)),
		Counter: d.counter, By: d.by,
	}
	err := fields([]byte(d.body), func(f wireField) error {
		switch f.number {
		case 1:
			i.On = f.value != 0
			return f.want(protowire.VarintType)
		case 2:
			i.Until = f.time()
			return f.want(protowire.VarintType)
		case 3:
			return f.text(&i.Reason, maxReason)
		case 4:
			i.At = f.time()
			return f.want(protowire.VarintType)
		}
		return nil
	})
	return i, err
}

// word returns what number stands for; a number that only newer nodes know is
// shown as it is.
func word[T ~string](list []T, number uint64) string {
	if number < uint64(len(list)) {
		return string(list[number])
	}
	return "UNKNOWN-" + strconv.FormatUint(number, 10)
}

// wireField is one field of a message; its value is a number or bytes.
type wireField struct {
	number protowire.Number
	kind   protowire.Type
	value  uint64
	bytes  []byte
}

func (f wireField) want(kind protowire.Type) error {
	if f.kind != kind {
		return errMalformed
	}
	return nil
}

func (f wireField) text(into *string, limit int) error {
	if f.kind != protowire.BytesType || len(f.bytes) > limit || !utf8.Valid(f.bytes) {
		return errMalformed
	}
	*into = string(f.bytes)
	return nil
}

// time reads milliseconds since 1970, up to the year 9999.
func (f wireField) time() time.Time {
	const end = 253402300800000
	if f.value == 0 || f.value >= end {
		return time.Time{}
	}
	return time.UnixMilli(int64(f.value)).UTC()
}

// fields calls each with every field of raw, in order, and stops at an error.
func fields(raw []byte, each func(wireField) error) error {
	for len(raw) > 0 {
		number, kind, n := protowire.ConsumeTag(raw)
		if n < 0 {
			return errMalformed
		}
		raw = raw[n:]
		f := wireField{number: number, kind: kind}
		switch kind {
		case protowire.VarintType:
			f.value, n = protowire.ConsumeVarint(raw)
		case protowire.BytesType:
			f.bytes, n = protowire.ConsumeBytes(raw)
		case protowire.Fixed32Type, protowire.Fixed64Type:
			n = protowire.ConsumeFieldValue(number, kind, raw)
		default: // Groups can be nested without end, and nobody writes them.
			return errMalformed
		}
		if n < 0 {
			return errMalformed
		}
		raw = raw[n:]
		if err := each(f); err != nil {
			return err
		}
	}
	return nil
}

func atMost(count, limit int) error {
	if count > limit {
		return fmt.Errorf("%w: %d parts, at most %d", errOversize, count, limit)
	}
	return nil
}

func sequence(n uint64) bool { return n > 0 && n < maxSequence }
