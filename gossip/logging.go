package gossip

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// logWriter takes the lines of memberlist's *log.Logger ("[LEVEL] memberlist:
// text"), counts what they say was ignored, and gives them to zap. Anybody can
// provoke warnings by sending packets, so lines of one kind are written once in
// logEvery, with the number of those left out.
type logWriter struct {
	log    *zap.Logger
	ignore func(reason string)
	now    func() time.Time

	mu    sync.Mutex
	kinds map[string]*logKind // guarded by mu
}

type logKind struct {
	last    time.Time
	skipped int
}

const (
	logEvery    = 10 * time.Second
	maxLogKinds = 128
	maxLogLine  = 1024
)

// logLevels are memberlist's. What it calls an error is a peer that cannot be
// reached or a packet that cannot be read: no operator has to act on either.
var logLevels = map[string]zapcore.Level{
	"DEBUG": zapcore.DebugLevel, "INFO": zapcore.InfoLevel, "WARN": zapcore.WarnLevel,
	"ERR": zapcore.WarnLevel, "ERROR": zapcore.WarnLevel,
}

// refusals map a text in a line to the reason why memberlist refused something;
// it reports that in no other way. The first match counts. Tests that send such
// things fail if a new version words it otherwise.
var refusals = []struct{ text, reason string }{
	{"no installed keys could decrypt", ignoredKey},
	{"remote state is not encrypted", ignoredPlain},
	{"unacceptable label", ignoredLabel},
	{"is larger than limit", ignoredOversize},
	{"exceeds limit", ignoredOversize},
	{"Decrypt packet failed", ignoredMalformed},
	{"failed to receive", ignoredMalformed},
	{"Failed to receive", ignoredMalformed},
	{"Failed to read remote state", ignoredMalformed},
	{"Failed to decode", ignoredMalformed},
	{"Failed to decompress", ignoredMalformed},
	{"cannot decode label", ignoredMalformed},
	{"label header cannot be empty", ignoredMalformed},
	{"missing message type", ignoredMalformed},
	{"not supported", ignoredMalformed},
	{"nvalid msgType", ignoredMalformed},
	{"invalid checksum", ignoredMalformed},
	{"truncated messages", ignoredMalformed},
}

// restated are in lines about what the mesh itself logs better, or what nobody
// did wrong. They are logged at level debug, and not counted.
var restated = []string{
	errSilent.Error(),
	"over TCP but UDP probes failed",
	"Conflicting address for",
	"ignoring alive message for",
}

// Write implements [io.Writer]; it takes one line.
func (w *logWriter) Write(line []byte) (int, error) {
	text := string(bytes.TrimSpace(line[:min(len(line), maxLogLine)]))
	level := zapcore.InfoLevel
	if rest, ok := strings.CutPrefix(text, "["); ok {
		name, rest, _ := strings.Cut(rest, "]")
		if known, ok := logLevels[name]; ok {
			level, text = known, strings.TrimSpace(rest)
		}
	}
	text = strings.ToValidUTF8(strings.TrimPrefix(text, "memberlist: "), "?")
	kind, _, _ := strings.Cut(text, ":")
	kind = kind[:min(len(kind), 24)]
	if slices.ContainsFunc(restated, func(s string) bool { return strings.Contains(text, s) }) {
		level = zapcore.DebugLevel
	}
	if level >= zapcore.WarnLevel {
		for _, r := range refusals {
			if strings.Contains(text, r.text) {
				w.ignore(r.reason)
				kind = "ignored " + r.reason
				break
			}
		}
	}
	entry := w.log.Check(level, text)
	if entry == nil {
		return len(line), nil
	}
	if level < zapcore.WarnLevel {
		entry.Write()
		return len(line), nil
	}
	if skipped, write := w.pass(kind); write {
		entry.Write(zap.Int("omitted", skipped))
	}
	return len(line), nil
}

// pass reports whether a line of that kind may be written, and how many were left
// out since the last one that was.
func (w *logWriter) pass(kind string) (skipped int, write bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	k := w.kinds[kind]
	if k == nil {
		if len(w.kinds) >= maxLogKinds {
			clear(w.kinds)
		}
		k = &logKind{last: now.Add(-logEvery)}
		w.kinds[kind] = k
	}
	if now.Sub(k.last) < logEvery {
		k.skipped++
		return 0, false
	}
	skipped, k.skipped, k.last = k.skipped, 0, now
	return skipped, true
}
