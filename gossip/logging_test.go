package gossip

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

func TestMemberlistsLinesGetLevels(t *testing.T) {
	for line, want := range map[string]struct {
		level zapcore.Level
		text  string
	}{
		"[DEBUG] memberlist: Stream connection from=1.2.3.4:5\n":                                                             {zap.DebugLevel, "Stream connection from=1.2.3.4:5"},
		"[INFO] memberlist: Suspect n2 has failed, no acks received\n":                                                       {zap.InfoLevel, "Suspect n2 has failed, no acks received"},
		"[WARN] memberlist: Refuting a suspect message (from: n1)\n":                                                         {zap.WarnLevel, "Refuting a suspect message (from: n1)"},
		"[ERR] memberlist: Push/Pull with n2 failed: dial tcp: refused\n":                                                    {zap.WarnLevel, "Push/Pull with n2 failed: dial tcp: refused"},
		"[ERROR] memberlist: Failed to encrypt local state: x\n":                                                             {zap.WarnLevel, "Failed to encrypt local state: x"},
		"[WARN] memberlist: Was able to connect to n2 over TCP but UDP probes failed, network may be misconfigured\n":        {zap.DebugLevel, "Was able to connect to n2 over TCP but UDP probes failed, network may be misconfigured"},
		"[ERR] memberlist: Conflicting address for n2. Mine: 1.2.3.4:5 Theirs: 1.2.3.5:5 Old state: 0\n":                     {zap.DebugLevel, "Conflicting address for n2. Mine: 1.2.3.4:5 Theirs: 1.2.3.5:5 Old state: 0"},
		"Err: Could not set the deadline: x\n":                                                                               {zap.InfoLevel, "Err: Could not set the deadline: x"},
		"[BRACKET] something\n":                                                                                              {zap.InfoLevel, "[BRACKET] something"},
		"[WARN] memberlist: \xff\n":                                                                                          {zap.WarnLevel, "?"},
		"\n":                                                                                                                 {zap.InfoLevel, ""},
		"[INFO] memberlist: " + strings.Repeat("x", 2*maxLogLine):                                                            {zap.InfoLevel, strings.Repeat("x", maxLogLine-len("[INFO] memberlist: "))},
		"[ERR] memberlist: discarding packet with unacceptable label \"[WARN] \": from=1.2.3.4:5\n":                          {zap.WarnLevel, `discarding packet with unacceptable label "[WARN] ": from=1.2.3.4:5`},
		"[WARN] memberlist: ignoring alive message for 'n9': 10.0.0.1 is in no network of allowedCIDRs\n":                    {zap.DebugLevel, "ignoring alive message for 'n9': 10.0.0.1 is in no network of allowedCIDRs"},
		"[DEBUG] memberlist: Failed UDP ping: n2 (timeout reached) no installed keys could decrypt, is what somebody said\n": {zap.DebugLevel, "Failed UDP ping: n2 (timeout reached) no installed keys could decrypt, is what somebody said"},
	} {
		core, logs := observer.New(zap.DebugLevel)
		w := &logWriter{log: zap.New(core), ignore: func(string) {}, now: time.Now, kinds: map[string]*logKind{}}
		if n, err := w.Write([]byte(line)); n != len(line) || err != nil {
			t.Errorf("Write(%.40q) = %d, %v", line, n, err)
		}
		entries := logs.All()
		if len(entries) != 1 || entries[0].Level != want.level || entries[0].Message != want.text {
			t.Errorf("%.60q was logged as %v", line, entries)
		}
	}
}

func TestWarningsThatAnybodyCanProvokeAreCountedAndThinnedOut(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	now := time.Now()
	ignored := map[string]int{}
	w := &logWriter{log: zap.New(core), ignore: func(r string) { ignored[r]++ }, now: func() time.Time { return now }, kinds: map[string]*logKind{}}
	say := func(line string) { _, _ = w.Write([]byte(line)) }
	for range 1000 {
		say("[ERR] memberlist: Decrypt packet failed: no installed keys could decrypt the message from=10.0.0.1:1")
		say("[ERR] memberlist: discarding packet with unacceptable label \"x\": from=10.0.0.1:1")
	}
	if logs.Len() != 2 {
		t.Errorf("%d lines, want one of each kind", logs.Len())
	}
	if diff := cmp.Diff(map[string]int{ignoredKey: 1000, ignoredLabel: 1000}, ignored); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
	now = now.Add(logEvery)
	say("[ERR] memberlist: Decrypt packet failed: no installed keys could decrypt the message from=10.0.0.1:1")
	all := logs.All()
	if last := all[len(all)-1]; len(all) != 3 || last.ContextMap()["omitted"] != int64(999) {
		t.Errorf("the next one says %v", last)
	}
	for i := range 10 * maxLogKinds {
		say("[WARN] memberlist: " + string(rune('a'+i)) + " is new")
	}
	if len(w.kinds) > maxLogKinds {
		t.Errorf("%d kinds are remembered", len(w.kinds))
	}
}
