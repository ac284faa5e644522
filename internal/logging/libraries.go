package logging

import (
	"fmt"

	"github.com/go-logr/logr"
	"go.uber.org/zap"
	"k8s.io/klog/v2"
)

// CaptureLibraries sends to log, as warnings, what client-go and its kin log
// through klog and what others log through the standard logger. Both are the
// process's: call it once, from main. restore undoes the standard logger's part.
//
// klog's verbosity stays at zero whatever the program's own is. From 6 on,
// Kubernetes libraries print request headers, credentials among them.
func CaptureLibraries(log *zap.Logger) (restore func(), err error) {
	klog.SetLogger(logr.New(sink{log.Named("client-go")}))
	return zap.RedirectStdLogAt(log, zap.WarnLevel)
}

// sink is the logr side of CaptureLibraries. klog hands its warnings over as
// Info of level 0, which is why these are warnings here.
type sink struct{ log *zap.Logger }

// unparsable is what RequestInfo says of a list whose query it cannot read: at
// every request of whoever likes, and with pieces of the query, which may be
// secret.
const unparsable = "Couldn't parse request"

func (sink) Init(logr.RuntimeInfo)  {}
func (sink) Enabled(level int) bool { return level <= 0 }

func (s sink) Info(level int, msg string, pairs ...any) {
	if s.Enabled(level) {
		s.log.Warn(msg, fields(pairs)...)
	}
}

func (s sink) Error(err error, msg string, pairs ...any) {
	if msg == unparsable {
		return
	}
	s.log.Error(msg, append(fields(pairs), zap.Error(err))...)
}

func (s sink) WithValues(pairs ...any) logr.LogSink { return sink{s.log.With(fields(pairs)...)} }
func (s sink) WithName(name string) logr.LogSink    { return sink{s.log.Named(name)} }

// fields turns logr's keys and values into fields. Only what is plainly a
// text or a number is written; of anything else, such as a header map, its
// type alone.
func fields(pairs []any) []zap.Field {
	var fs []zap.Field
	for i := 0; i+1 < len(pairs); i += 2 {
		key := fmt.Sprint(pairs[i])
		switch v := pairs[i+1].(type) {
		case string, bool, int, int32, int64, uint, uint32, uint64, float64, error, fmt.Stringer:
			fs = append(fs, zap.Any(key, v))
		default:
			fs = append(fs, zap.String(key, fmt.Sprintf("(%T)", v)))
		}
	}
	return fs
}
