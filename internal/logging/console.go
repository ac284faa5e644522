package logging

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"go.uber.org/zap/zapcore"
)

// consoleTime is short: who reads a terminal knows the day.
const consoleTime = "15:04:05.000"

func utcTime(t time.Time, enc zapcore.PrimitiveArrayEncoder) {
	enc.AppendString(t.UTC().Format("2006-01-02T15:04:05.000Z07:00"))
}

// console is a core that writes a line of time, level, message and key=value
// pairs. (zap's own console encoder ends its lines in a JSON object.)
type console struct {
	zapcore.LevelEnabler
	out     zapcore.WriteSyncer
	context []zapcore.Field // of With; never changed
}

func newConsole(out zapcore.WriteSyncer, level zapcore.LevelEnabler) *console {
	return &console{LevelEnabler: level, out: out}
}

// With implements [zapcore.Core].
func (c *console) With(fields []zapcore.Field) zapcore.Core {
	return &console{c.LevelEnabler, c.out, slices.Concat(c.context, fields)}
}

// Check implements [zapcore.Core].
func (c *console) Check(e zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return checked.AddCore(e, c)
	}
	return checked
}

// Write implements [zapcore.Core].
func (c *console) Write(e zapcore.Entry, fields []zapcore.Field) error {
	var line bytes.Buffer
	fmt.Fprintf(&line, "%s %-5s ", e.Time.Format(consoleTime), e.Level.CapitalString())
	if e.LoggerName != "" {
		line.WriteString(e.LoggerName + ": ")
	}
	line.WriteString(oneLine(e.Message))
	for _, f := range c.context {
		appendField(&line, f)
	}
	for _, f := range fields {
		appendField(&line, f)
	}
	line.WriteByte('\n')
	_, err := c.out.Write(line.Bytes())
	return err
}

// Sync implements [zapcore.Core].
func (c *console) Sync() error { return c.out.Sync() }

// appendField writes " key=value", or several for an object that zap inlines.
func appendField(line *bytes.Buffer, f zapcore.Field) {
	m := zapcore.NewMapObjectEncoder()
	f.AddTo(m)
	keys := make([]string, 0, len(m.Fields))
	for key := range m.Fields {
		if key != f.Key+"Verbose" { // an error's stack or repeated text
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		line.WriteByte(' ')
		line.WriteString(key)
		line.WriteByte('=')
		line.WriteString(text(m.Fields[key]))
	}
}

func text(value any) string {
	switch v := value.(type) {
	case string:
		return quoted(v)
	case time.Time:
		return v.Format(time.RFC3339)
	case map[string]any, []any:
		if b, err := json.Marshal(v); err == nil {
			return string(b)
		}
	}
	return quoted(fmt.Sprint(value))
}

// quoted quotes what could be taken for more than one value, or would not show.
func quoted(s string) string {
	plain := func(r rune) bool { return unicode.IsPrint(r) && r != ' ' && r != '"' && r != '=' }
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return strconv.Quote(s)
}

// oneLine escapes what would let a message forge another line or drive the
// terminal.
func oneLine(s string) string {
	if strings.IndexFunc(s, unicode.IsControl) < 0 {
		return s
	}
	q := strconv.Quote(strings.TrimRight(s, "\n"))
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}
