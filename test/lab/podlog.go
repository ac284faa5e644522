package lab

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// podLog is the log file of all containers of all pods.
type podLog struct {
	path string

	mu   sync.Mutex
	file *os.File // guarded by mu
}

func newPodLog(path string) (*podLog, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	p := &podLog{path: path, file: f}
	return p, p.append("pod started")
}

// append writes each line of text in the format of the container runtime
// interface: time, stream, F for a full line.
func (p *podLog) append(text string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var b strings.Builder
	for line := range strings.Lines(text) {
		fmt.Fprintf(&b, "%s stdout F %s\n", time.Now().UTC().Format(time.RFC3339Nano), strings.TrimSuffix(line, "\n"))
	}
	_, err := p.file.WriteString(b.String())
	return err
}

func (p *podLog) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.file.Close()
}

// AppendLog adds lines to the log that `kubectl logs` shows, `logs -f` follows
// and `attach` streams. It is the same log for all containers of all pods.
func (l *Lab) AppendLog(text string) error { return l.podLog.append(text) }
