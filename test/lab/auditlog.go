package lab

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"time"
)

// auditPolicy has every request on record when it has been answered, and a
// stream also when it begins.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
`

// maxAuditMegabytes is more than a lab's lifetime fills: at this size a server
// would rename its log away under who reads it.
const maxAuditMegabytes = 4096

func (l *Lab) auditPolicyFile() string { return l.path("pki", "audit-policy.yaml") }

// writeAuditPolicy writes the policy of the API servers' audit logs, if they
// are to have any.
func (l *Lab) writeAuditPolicy() error {
	if !l.opts.AuditLog {
		return nil
	}
	return os.WriteFile(l.auditPolicyFile(), []byte(auditPolicy), 0o600)
}

// auditArgs make the server write its log before a request's connection is free
// for another one.
func (s *Server) auditArgs() []string {
	if !s.lab.opts.AuditLog {
		return nil
	}
	return []string{
		"--audit-policy-file=" + s.lab.auditPolicyFile(),
		"--audit-log-path=" + s.AuditLogFile(),
		"--audit-log-mode=blocking",
		"--audit-log-maxsize=" + strconv.Itoa(maxAuditMegabytes),
	}
}

// AuditLogFile holds what the server was asked, of all its runs, where
// Options.AuditLog is set.
func (s *Server) AuditLogFile() string { return s.lab.path("log", s.name+".audit.jsonl") }

// AuditEvent is one line of an audit log, an Event of audit.k8s.io/v1, in part.
type AuditEvent struct {
	// File is the log that the event is from.
	File string `json:"-"`

	AuditID, Stage, Level string
	Verb, RequestURI      string
	User                  AuditUser
	ImpersonatedUser      *AuditUser
	ObjectRef             *AuditObject
	ResponseStatus        struct {
		Code                    int
		Status, Reason, Message string
	}
	StageTimestamp time.Time
	Annotations    map[string]string
}

// AuditUser is who made a request, or as whom it was made.
type AuditUser struct {
	Username string
	Groups   []string
}

// AuditObject is what a request is about.
type AuditObject struct {
	Resource, Subresource, Namespace, Name string
}

// AuditTail reads the events that are appended to audit logs. It is not safe
// for concurrent use.
type AuditTail struct {
	files []*tailedFile
}

type tailedFile struct {
	path   string
	offset int64
	rest   []byte // a line that has not ended yet
}

// TailAudit returns a tail of the API servers' audit logs, from here on.
func (l *Lab) TailAudit() (*AuditTail, error) {
	var files []string
	for _, s := range l.Servers {
		files = append(files, s.AuditLogFile())
	}
	return TailAuditFiles(files...)
}

// TailAuditFiles returns a tail of any audit logs, from here on. A log may be
// still to come.
func TailAuditFiles(paths ...string) (*AuditTail, error) {
	t := &AuditTail{}
	for _, path := range paths {
		f := &tailedFile{path: path}
		info, err := os.Stat(path)
		switch {
		case err == nil:
			f.offset = info.Size()
		case !errors.Is(err, fs.ErrNotExist):
			return nil, err
		}
		t.files = append(t.files, f)
	}
	return t, nil
}

// Next returns the events that were written since the last call, each log's in
// its order.
func (t *AuditTail) Next() ([]AuditEvent, error) {
	var events []AuditEvent
	for _, f := range t.files {
		lines, err := f.next()
		if err != nil {
			return events, err
		}
		for _, line := range lines {
			e := AuditEvent{File: f.path}
			if err := json.Unmarshal(line, &e); err != nil {
				return events, fmt.Errorf("%s: %w: %s", f.path, err, line)
			}
			events = append(events, e)
		}
	}
	return events, nil
}

// next returns the whole lines that are new.
func (f *tailedFile) next() ([][]byte, error) {
	file, err := os.Open(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	fresh, err := io.ReadAll(io.NewSectionReader(file, f.offset, 1<<62))
	if err != nil {
		return nil, err
	}
	f.offset += int64(len(fresh))
	f.rest = append(f.rest, fresh...)
	end := bytes.LastIndexByte(f.rest, '\n') + 1
	var lines [][]byte
	for line := range bytes.Lines(f.rest[:end]) {
		lines = append(lines, line)
	}
	f.rest = bytes.Clone(f.rest[end:])
	return lines, nil
}
