package logging

import (
	"bufio"
	"encoding/json"
	"errors"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"k8s.io/klog/v2"
)

// logged returns the lines that use writes to a new logger.
func logged(t *testing.T, level, format string, use func(*zap.Logger)) []string {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	l, _, err := New(f, level, format)
	if err != nil {
		t.Fatal(err)
	}
	use(l)
	if _, err := f.Seek(0, 0); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for s := bufio.NewScanner(f); s.Scan(); {
		lines = append(lines, s.Text())
	}
	return lines
}

func TestConsoleLine(t *testing.T) {
	for _, tc := range []struct {
		name string
		use  func(*zap.Logger)
		want string // after the time
	}{
		{"a message", func(l *zap.Logger) { l.Info("upstream is up") }, "INFO  upstream is up"},
		{"fields in their order", func(l *zap.Logger) { l.Warn("m", zap.String("b", "x"), zap.Int("a", 1)) }, "WARN  m b=x a=1"},
		{"fields of With first", func(l *zap.Logger) { l.With(zap.Bool("c", true)).Error("m", zap.Duration("took", time.Second)) }, "ERROR m c=true took=1s"},
		{"a name", func(l *zap.Logger) { l.Named("health").Info("m") }, "INFO  health: m"},
		{"a value that needs quotes", func(l *zap.Logger) { l.Info("m", zap.String("k", `a "b"=c`), zap.String("e", "")) }, `INFO  m k="a \"b\"=c" e=""`},
		{"an error, once", func(l *zap.Logger) { l.Info("m", zap.Error(errors.New("no route"))) }, `INFO  m error="no route"`},
		{"a list", func(l *zap.Logger) { l.Info("m", zap.Strings("k", []string{"a", "b"})) }, `INFO  m k=["a","b"]`},
		{"a time", func(l *zap.Logger) { l.Info("m", zap.Time("at", time.Unix(0, 0).UTC())) }, "INFO  m at=1970-01-01T00:00:00Z"},
		{"no second line from a message", func(l *zap.Logger) { l.Info("a\nb\x1b[31m") }, `INFO  a\nb\x1b[31m`},
		{"no second line from a value", func(l *zap.Logger) { l.Info("m", zap.String("k", "a\nb\x1b")) }, `INFO  m k="a\nb\x1b"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			lines := logged(t, "info", Console, tc.use)
			if len(lines) != 1 {
				t.Fatalf("lines %q, want one", lines)
			}
			stamp, rest, _ := strings.Cut(lines[0], " ")
			if rest != tc.want {
				t.Errorf("line %q, want %q after the time", lines[0], tc.want)
			}
			if !regexp.MustCompile(`^\d\d:\d\d:\d\d\.\d{3}$`).MatchString(stamp) {
				t.Errorf("time %q, want hh:mm:ss.mmm", stamp)
			}
		})
	}
}

func TestAutoIsJSONInAFile(t *testing.T) {
	lines := logged(t, "info", Auto, func(l *zap.Logger) { l.Named("health").Warn("m", zap.Duration("took", time.Second)) })
	if len(lines) != 1 {
		t.Fatalf("lines %q, want one", lines)
	}
	var entry map[string]string
	if err := json.Unmarshal([]byte(lines[0]), &entry); err != nil {
		t.Fatalf("line %q: %v", lines[0], err)
	}
	if at, err := time.Parse(time.RFC3339, entry["time"]); err != nil || at.Location() != time.UTC {
		t.Errorf("time %q, want RFC 3339 in UTC", entry["time"])
	}
	delete(entry, "time")
	for key, want := range map[string]string{"level": "warn", "logger": "health", "msg": "m", "took": "1s"} {
		if entry[key] != want {
			t.Errorf("%s = %q, want %q", key, entry[key], want)
		}
	}
}

func TestLevelIsLeastSevere(t *testing.T) {
	for _, format := range []string{Console, JSON} {
		lines := logged(t, "warn", format, func(l *zap.Logger) { l.Debug("1"); l.Info("2"); l.Warn("3"); l.Error("4") })
		if len(lines) != 2 {
			t.Errorf("%s: lines %q, want those of warn and error", format, lines)
		}
	}
}

func TestLevelCanChange(t *testing.T) {
	l, level, err := New(os.Stderr, "error", Console)
	if err != nil {
		t.Fatal(err)
	}
	if l.Core().Enabled(zapcore.DebugLevel) {
		t.Error("debug is enabled at level error")
	}
	level.SetLevel(zapcore.DebugLevel)
	if !l.Core().Enabled(zapcore.DebugLevel) {
		t.Error("debug is not enabled at level debug")
	}
}

func TestUnknownLevelAndFormat(t *testing.T) {
	if _, _, err := New(os.Stderr, "all", JSON); err == nil || !strings.Contains(err.Error(), `"all"`) {
		t.Errorf("level all: error %v, want it named", err)
	}
	if _, _, err := New(os.Stderr, "info", "xml"); err == nil || !strings.Contains(err.Error(), `"xml"`) {
		t.Errorf("format xml: error %v, want it named", err)
	}
}

func TestLibrariesAreCapturedWithoutSecrets(t *testing.T) {
	header := http.Header{"Authorization": {"Bearer hunter2"}}
	lines := logged(t, "debug", Console, func(l *zap.Logger) {
		restore, err := CaptureLibraries(l)
		if err != nil {
			t.Fatal(err)
		}
		defer restore()
		defer klog.ClearLogger()
		klog.Warning("cert rotated")
		klog.Background().Info("request", "headers", header, "attempts", 2)
		klog.Background().Error(errors.New("refused"), "dial")
		klog.V(1).Info("headers ", header)
		klog.Background().V(8).Info("request", "headers", header)
		log.Print("from net/http")
	})
	var got []string
	for _, line := range lines {
		_, rest, _ := strings.Cut(line, " ")
		got = append(got, rest)
	}
	want := []string{
		"WARN  client-go: cert rotated",
		"WARN  client-go: request headers=(http.Header) attempts=2",
		"ERROR client-go: dial error=refused",
		"WARN  from net/http",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("lines\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
