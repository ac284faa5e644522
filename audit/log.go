package audit

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

const (
	// maxKept is the capacity of buffers that are kept for the next event.
	maxKept = 16 << 10
	// quiet is the least time between two reports that writing fails: on a
	// disk that is almost full, short lines succeed where long ones fail.
	quiet = 10 * time.Second
)

var errClosed = errors.New("is closed")

// Options are what a [Log] is connected to. The zero value is valid.
type Options struct {
	// Log gets a line when writing begins to fail, and when it works again.
	Log *zap.Logger
	// OnEvent, if not nil, is called after each event that was written. It
	// must not block.
	OnEvent func(Stage)
	// OnError, if not nil, is called with each error of Write: an event that
	// is lost. It must not block.
	OnError func(error)

	// open replaces the file system in tests.
	open func(path string) (*file, error)
}

// Log is an open audit log. Its methods may be called from any goroutine, and
// on a nil Log, which is off: it writes nothing and never fails.
type Log struct {
	path    string
	blocks  bool
	options Options
	buffers sync.Pool               // of *line
	failure atomic.Pointer[failure] // why the last write failed; nil if it did not

	// reopening is held while a file is opened, so that of two files the later
	// one stays.
	reopening sync.Mutex

	mu sync.Mutex // guards what follows; held over one write
	// file is nil once the log is closed.
	file *file
	// lost counts the events that were not written since that was last said.
	lost       int
	reported   bool      // whether the last line of options.Log is that writing fails
	reportedAt time.Time // when it was last said
}

type failure struct{ err error }

// Open opens the log of cfg, appending to the file that is there. It returns
// nil, which is a Log that is off, if cfg has no file or the level None. The
// error names the file and what to do.
func Open(cfg Config, o Options) (*Log, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	if cfg.File == "" || cfg.Level == LevelNone {
		return nil, nil
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.open == nil {
		o.open = openFile
	}
	f, err := o.open(cfg.File)
	if err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	return &Log{
		path:    cfg.File,
		blocks:  cfg.OnFailure == OnFailureBlock,
		options: o,
		buffers: sync.Pool{New: func() any { return &line{b: make([]byte, 0, 2<<10)} }},
		file:    f,
	}, nil
}

// Blocks reports whether a request that may change something, or upgrades, has
// to be refused when its event cannot be written.
func (l *Log) Blocks() bool { return l != nil && l.blocks }

// Healthy returns nil, or why the last event could not be written. It is for the
// status; see the package's comment for why no request may be refused for it.
func (l *Log) Healthy() error {
	if l == nil {
		return nil
	}
	if f := l.failure.Load(); f != nil {
		return f.err
	}
	return nil
}

// Write appends e as one line, with one write. It fails if and only if not all
// of the line reached the file.
func (l *Log) Write(e *Event) error {
	if l == nil {
		return nil
	}
	buffer := l.buffers.Get().(*line)
	buffer.encode(e)
	err := l.put(buffer.b)
	if cap(buffer.b) <= maxKept {
		l.buffers.Put(buffer)
	}
	switch {
	case err != nil && l.options.OnError != nil:
		l.options.OnError(err)
	case err == nil && l.options.OnEvent != nil:
		l.options.OnEvent(e.Stage)
	}
	return err
}

func (l *Log) put(line []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := errClosed
	if l.file != nil {
		err = l.file.put(line)
	}
	if err != nil {
		err = fmt.Errorf("audit log %s: %w", l.path, err)
		l.failed(err)
		return err
	}
	if l.failure.Load() != nil {
		l.failure.Store(nil)
	}
	if l.reported {
		l.recovered()
	}
	return nil
}

// failed keeps err, and says it once. The caller holds l.mu, so that the lines
// of the log are in the order of what they say.
func (l *Log) failed(err error) {
	l.failure.Store(&failure{err})
	l.lost++
	if l.reported || !l.reportedAt.IsZero() && time.Since(l.reportedAt) < quiet {
		return
	}
	l.reported, l.reportedAt = true, time.Now()
	effect := "requests go on unrecorded"
	if l.blocks {
		effect = "requests that change something, and upgrades, are refused"
	}
	l.options.Log.Error("audit log cannot be written", zap.String("effect", effect), zap.Error(err))
}

// recovered says that writing works again. The caller holds l.mu.
func (l *Log) recovered() {
	l.options.Log.Info("audit log can be written again",
		zap.String("file", l.path), zap.Int("lost", l.lost), zap.Duration("after", time.Since(l.reportedAt)))
	l.lost, l.reported = 0, false
}

// Reopen opens the log's path anew and closes the file that was in use, as it
// has to be after that was renamed. No event is lost meanwhile. If the path
// cannot be opened, the old file stays in use, and the error says so.
func (l *Log) Reopen() error {
	if l == nil {
		return nil
	}
	l.reopening.Lock()
	defer l.reopening.Unlock()
	next, err := l.options.open(l.path)
	if err != nil {
		return fmt.Errorf("audit log cannot be opened anew, the file that is open stays in use: %w", err)
	}
	l.mu.Lock()
	old := l.file
	if old != nil {
		l.file = next
	}
	l.mu.Unlock()
	if old == nil {
		return errors.Join(fmt.Errorf("audit log %s: %w", l.path, errClosed), next.w.Close())
	}
	if err := old.w.Close(); err != nil {
		return fmt.Errorf("audit log %s: the new file is in use, but the old one may lack its last events: %w", l.path, err)
	}
	return nil
}

// Close closes the file. Later writes fail. Closing again does nothing.
func (l *Log) Close() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	f := l.file
	l.file = nil
	l.mu.Unlock()
	if f == nil {
		return nil
	}
	if err := f.w.Close(); err != nil {
		return fmt.Errorf("audit log %s: its last events may be missing: %w", l.path, err)
	}
	return nil
}
