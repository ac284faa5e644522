package logging

import (
	"fmt"
	"os"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"
)

// Formats of a log. See [New].
const (
	Auto    = "auto"
	Console = "console"
	JSON    = "json"
)

// New returns a logger that writes to f the entries from level (debug, info,
// warn, error) on, and the level, which may be changed at any time. The format
// is Console: one line of time, level, message and key=value pairs; JSON: one
// object a line, with RFC 3339 times in UTC; or Auto: Console if f is a
// terminal, else JSON.
func New(f *os.File, level, format string) (*zap.Logger, zap.AtomicLevel, error) {
	atomic, err := zap.ParseAtomicLevel(level)
	if err != nil {
		return nil, zap.AtomicLevel{}, fmt.Errorf("log level %q: want debug, info, warn or error", level)
	}
	if format == Auto {
		format = JSON
		if term.IsTerminal(int(f.Fd())) {
			format = Console
		}
	}
	out := zapcore.Lock(f)
	switch format {
	case Console:
		return zap.New(newConsole(out, atomic)), atomic, nil
	case JSON:
		return zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(jsonEncoding()), out, atomic)), atomic, nil
	}
	return nil, zap.AtomicLevel{}, fmt.Errorf("log format %q: want %s, %s or %s", format, Auto, Console, JSON)
}

func jsonEncoding() zapcore.EncoderConfig {
	return zapcore.EncoderConfig{
		TimeKey:        "time",
		LevelKey:       "level",
		NameKey:        "logger",
		MessageKey:     "msg",
		EncodeTime:     utcTime,
		EncodeLevel:    zapcore.LowercaseLevelEncoder,
		EncodeName:     zapcore.FullNameEncoder,
		EncodeDuration: zapcore.StringDurationEncoder,
	}
}
