package audit

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds, in bytes of JSON, of what strangers can make long. Together they keep
// a line under maxLine, whatever was sent.
const (
	maxLine        = 64 << 10
	maxURI         = 8 << 10
	maxText        = 1 << 10 // user names, the user agent, messages, values
	maxWord        = 512     // what Kubernetes itself keeps shorter than 254
	maxList        = 6 << 10 // all groups, or all extra keys and values
	maxAnnotations = 12 << 10
)

// cut ends what was longer than its bound.
const cut = "[cut]"

// line is a buffer in which an event becomes JSON.
type line struct {
	b []byte
}

// encode makes l the event's line, behind a newline of its own: the file needs
// that one when the line before was torn.
func (l *line) encode(e *Event) {
	l.b = append(l.b[:0], '\n')
	l.raw(`{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"` + LevelMetadata + `","auditID":`)
	l.text(e.AuditID, maxWord)
	l.raw(`,"stage":`)
	l.text(string(e.Stage), maxWord)
	l.raw(`,"requestURI":"`)
	l.uri(e, len(l.b)+maxURI)
	l.raw(`","verb":`)
	l.text(e.Verb, maxWord)
	l.raw(`,"user":`)
	l.user(&e.User)
	if e.Impersonated != nil {
		l.raw(`,"impersonatedUser":`)
		l.user(e.Impersonated)
	}
	if e.SourceIP != "" {
		l.raw(`,"sourceIPs":[`)
		l.text(e.SourceIP, maxWord)
		l.raw(`]`)
	}
	l.field(`,"userAgent":`, e.UserAgent, maxText)
	if e.Object != nil {
		l.object(e.Object)
	}
	if e.Code != 0 {
		l.status(e)
	}
	l.raw(`,"requestReceivedTimestamp":`)
	l.time(e.RequestReceived)
	l.raw(`,"stageTimestamp":`)
	l.time(e.Timestamp)
	l.annotations(e.Annotations)
	l.raw("}\n")
}

func (l *line) user(u *User) {
	l.raw(`{`)
	start := len(l.b)
	l.field(`,"username":`, u.Username, maxText)
	l.field(`,"uid":`, u.UID, maxWord)
	if len(u.Groups) > 0 {
		l.raw(`,"groups":`)
		l.list(u.Groups, len(l.b)+maxList)
	}
	if len(u.Extra) > 0 {
		l.raw(`,"extra":{`)
		l.extra(u.Extra)
		l.raw(`}`)
	}
	l.dropComma(start)
	l.raw(`}`)
}

func (l *line) extra(extra map[string][]string) {
	start, end := len(l.b), len(l.b)+maxList
	var few [16]string
	keys := slices.AppendSeq(few[:0], maps.Keys(extra))
	slices.Sort(keys)
	for _, key := range keys {
		l.raw(`,`)
		if len(l.b) > end {
			l.raw(`"` + cut + `":[]`)
			break
		}
		l.text(key, maxWord)
		l.raw(`:`)
		l.list(extra[key], end)
	}
	l.dropComma(start)
}

// list writes items until the line is end bytes long.
func (l *line) list(items []string, end int) {
	l.raw(`[`)
	for i, item := range items {
		if i > 0 {
			l.raw(`,`)
		}
		if len(l.b) > end {
			l.raw(`"` + cut + `"`)
			break
		}
		l.text(item, maxText)
	}
	l.raw(`]`)
}

func (l *line) object(o *ObjectRef) {
	l.raw(`,"objectRef":{`)
	start := len(l.b)
	l.field(`,"resource":`, o.Resource, maxWord)
	l.field(`,"namespace":`, o.Namespace, maxWord)
	l.field(`,"name":`, o.Name, maxWord)
	l.field(`,"apiGroup":`, o.APIGroup, maxWord)
	l.field(`,"apiVersion":`, o.APIVersion, maxWord)
	l.field(`,"subresource":`, o.Subresource, maxWord)
	l.dropComma(start)
	l.raw(`}`)
}

func (l *line) status(e *Event) {
	status := "Success"
	if e.Code >= 400 {
		status = "Failure"
	}
	l.raw(`,"responseStatus":{"status":"`)
	l.raw(status)
	l.raw(`"`)
	l.field(`,"message":`, e.Message, maxText)
	l.field(`,"reason":`, e.Reason, maxWord)
	l.raw(`,"code":`)
	l.b = strconv.AppendInt(l.b, int64(e.Code), 10)
	l.raw(`}`)
}

func (l *line) annotations(list []Annotation) {
	open := false
	end := len(l.b) + maxAnnotations
	for _, a := range list {
		if a.Value == "" {
			continue
		}
		if open {
			l.raw(`,`)
		} else {
			l.raw(`,"annotations":{`)
			open = true
		}
		if len(l.b) > end {
			l.raw(`"` + cut + `":"` + cut + `"`)
			break
		}
		l.text(a.Key, maxWord)
		l.raw(`:`)
		l.text(a.Value, maxText)
	}
	if open {
		l.raw(`}`)
	}
}

// dropComma removes the comma that the first of some fields has brought, if
// anything was written since start.
func (l *line) dropComma(start int) {
	if len(l.b) > start {
		l.b = slices.Delete(l.b, start, start+1)
	}
}

// field writes name, which has the comma, quotes and colon with it, and value,
// unless that is empty.
func (l *line) field(name, value string, limit int) {
	if value != "" {
		l.raw(name)
		l.text(value, limit)
	}
}

// The times that RFC 3339 has: the years 1 to 9999.
const (
	minTime = -62135596800 // also what the zero time is
	maxTime = 253402300799
)

// time writes t as metav1.MicroTime does.
func (l *line) time(t time.Time) {
	if s := t.Unix(); t.IsZero() || s < minTime || s > maxTime {
		l.raw(`null`)
		return
	}
	l.b = t.UTC().AppendFormat(l.b, `"2006-01-02T15:04:05.000000Z07:00"`)
}

// raw appends what is JSON already.
func (l *line) raw(s string) { l.b = append(l.b, s...) }

// text writes s as a JSON string of at most limit bytes and its quotes.
func (l *line) text(s string, limit int) {
	l.raw(`"`)
	l.escaped(s, len(l.b)+limit)
	l.raw(`"`)
}

// escaped appends s as the inside of a JSON string, and false if that would
// have made the line longer than end: it then ends in cut instead. What does
// not print is escaped, since the log is read in terminals too: control
// characters of all kinds, line separators, marks that turn the direction.
// Bytes that are no UTF-8 become U+FFFD.
func (l *line) escaped(s string, end int) bool {
	b := l.b
	end -= len(cut)
	for i := 0; i < len(s); {
		run := i
		for run < len(s) && plain[s[run]] {
			run++
		}
		if len(b)+run-i > end {
			l.b = append(append(b, s[i:i+max(end-len(b), 0)]...), cut...)
			return false
		}
		b = append(b, s[i:run]...)
		if i = run; i == len(s) {
			break
		}
		l.b = b // Up to where it is cut if the next one does not fit.
		size := 1
		if s[i] < utf8.RuneSelf {
			b = appendEscape(b, s[i])
		} else {
			var r rune
			r, size = utf8.DecodeRuneInString(s[i:])
			b = appendRune(b, r, size)
		}
		if len(b) > end {
			l.raw(cut)
			return false
		}
		i += size
	}
	l.b = b
	return true
}

// plain are the bytes that stand for themselves in a JSON string.
var plain = func() (t [256]bool) {
	for c := range utf8.RuneSelf {
		t[c] = c >= ' ' && c != '"' && c != '\\' && c != 0x7f
	}
	return t
}()

const hex = "0123456789abcdef"

// appendEscape appends an ASCII character that is not plain.
func appendEscape(b []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\n':
		return append(b, `\n`...)
	case '\t':
		return append(b, `\t`...)
	}
	return append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
}

// appendRune appends what is not ASCII. A rune that was no UTF-8 has size 1.
func appendRune(b []byte, r rune, size int) []byte {
	if unicode.IsPrint(r) && size > 1 {
		return utf8.AppendRune(b, r)
	}
	if r > 0xffff {
		r -= 0x10000
		return fmt.Appendf(b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
	}
	return fmt.Appendf(b, `\u%04x`, r)
}
