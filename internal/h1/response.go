package h1

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// framing says how a response's body ends, RFC 9112 §6.3.
type framing uint8

const (
	noBody     framing = iota
	byLength           // Content-Length
	byChunks           // Transfer-Encoding: chunked
	untilClose         // neither: the end of the connection
)

// parseResponse parses head, a complete response head with its empty line,
// into resp. The strings of the result share one allocation with head's copy.
//
// It accepts less than net/http.ReadResponse: HTTP/1.0 and 1.1 only, no folded
// fields, no status below 100. What it accepts means the same there.
func parseResponse(resp *http.Response, head []byte, method string) (framing, error) {
	s := string(head)
	line, fields := cutLine(s)
	if err := parseStatusLine(resp, line); err != nil {
		return 0, err
	}
	var err error
	if resp.Header, err = parseFields(fields); err != nil {
		return 0, err
	}
	resp.Close = connectionCloses(resp)
	return parseFraming(resp, method)
}

func parseStatusLine(resp *http.Response, line string) error {
	const proto = "HTTP/1.x "
	if len(line) < len(proto)+3 || line[:7] != proto[:7] || line[8] != ' ' || line[7] != '0' && line[7] != '1' {
		return malformed("status line", line)
	}
	resp.Proto = line[:8]
	resp.ProtoMajor, resp.ProtoMinor = 1, int(line[7]-'0')
	resp.Status = line[len(proto):]
	code := 0
	for i := range 3 {
		c := resp.Status[i]
		if c < '0' || c > '9' {
			return malformed("status code", line)
		}
		code = code*10 + int(c-'0')
	}
	if code < 100 || len(resp.Status) > 3 && resp.Status[3] != ' ' || !httpguts.ValidHeaderFieldValue(resp.Status) {
		return malformed("status code", line)
	}
	resp.StatusCode = code
	return nil
}

// parseFields parses header fields up to an empty line, which has to be the
// last.
func parseFields(s string) (http.Header, error) {
	n := strings.Count(s, "\n") - 1
	h := make(http.Header, n)
	values := make([]string, max(n, 0)) // the backing of all single values
	for {
		var line string
		line, s = cutLine(s)
		if line == "" {
			if s != "" {
				return nil, malformed("empty line before", s)
			}
			return h, nil
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || !isToken(name) {
			// This is also where a folded line ends up, which RFC 9112
			// §5.2 allows to refuse.
			return nil, malformed("header line", line)
		}
		value = strings.Trim(value, " \t")
		if !httpguts.ValidHeaderFieldValue(value) {
			return nil, malformed("value of header", name)
		}
		if !isCanonical(name) {
			name = http.CanonicalHeaderKey(name)
		}
		if old, ok := h[name]; ok {
			h[name] = append(old, value)
			continue
		}
		// A capacity of one makes a later append copy, not overwrite.
		values[0] = value
		h[name], values = values[:1:1], values[1:]
	}
}

// parseFraming decides how the body ends and normalises the fields that say
// so, as net/http does.
func parseFraming(resp *http.Response, method string) (framing, error) {
	h := resp.Header
	chunked := false
	if te, ok := h["Transfer-Encoding"]; ok {
		delete(h, "Transfer-Encoding")
		if resp.ProtoMinor > 0 {
			if len(te) != 1 || !strings.EqualFold(te[0], "chunked") {
				return 0, malformed("Transfer-Encoding", strings.Join(te, ", "))
			}
			chunked = true
			resp.TransferEncoding = te
		}
	}
	length := int64(-1)
	if cl, ok := h["Content-Length"]; ok {
		for _, v := range cl[1:] {
			if v != cl[0] {
				return 0, malformed("Content-Length", strings.Join(cl, ", "))
			}
		}
		n, err := parseLength(cl[0])
		if err != nil {
			return 0, err
		}
		h["Content-Length"] = cl[:1]
		length = n
	}
	hasBody := method != http.MethodHead && resp.StatusCode >= 200 && resp.StatusCode != 204 && resp.StatusCode != 304
	if chunked {
		if err := declareTrailer(resp); err != nil {
			return 0, err
		}
		if length >= 0 && hasBody {
			// RFC 9112 §6.3: the sender is broken or up to something. The
			// message is taken as chunked, and nothing else is read from
			// this connection.
			delete(h, "Content-Length")
			resp.Close = true
			length = -1
		}
	}
	resp.ContentLength = length
	switch {
	case !hasBody:
		if method != http.MethodHead {
			resp.ContentLength = 0
		}
		return noBody, nil
	case chunked:
		return byChunks, nil
	case length == 0:
		return noBody, nil
	case length > 0:
		return byLength, nil
	}
	resp.Close = true
	return untilClose, nil
}

func parseLength(s string) (int64, error) {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, malformed("Content-Length", s)
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, malformed("Content-Length", s)
	}
	return n, nil
}

// declareTrailer moves the names in Trailer fields into resp.Trailer.
func declareTrailer(resp *http.Response) error {
	declared, ok := resp.Header["Trailer"]
	if !ok {
		return nil
	}
	delete(resp.Header, "Trailer")
	for _, v := range declared {
		for name := range strings.SplitSeq(v, ",") {
			name = http.CanonicalHeaderKey(strings.Trim(name, " \t"))
			switch {
			case name == "":
				continue
			case !mayTrail(name):
				return malformed("Trailer", name)
			}
			if resp.Trailer == nil {
				resp.Trailer = make(http.Header)
			}
			resp.Trailer[name] = nil
		}
	}
	return nil
}

// mayTrail reports whether a field may come after the body: never one that
// frames the message.
func mayTrail(name string) bool {
	switch name {
	case "Transfer-Encoding", "Content-Length", "Trailer":
		return false
	}
	return isToken(name)
}

// connectionCloses reports whether the upstream will not use the connection
// again. "Connection: close" is taken out of the header, as in net/http.
func connectionCloses(resp *http.Response) bool {
	tokens, ok := resp.Header["Connection"]
	if !ok {
		return resp.ProtoMinor == 0
	}
	closes := httpguts.HeaderValuesContainsToken(tokens, "close")
	if resp.ProtoMinor == 0 {
		return closes || !httpguts.HeaderValuesContainsToken(tokens, "keep-alive")
	}
	if closes {
		delete(resp.Header, "Connection")
	}
	return closes
}

// cutLine splits s after its first line, whose CRLF or LF is dropped.
func cutLine(s string) (line, rest string) {
	line, rest, _ = strings.Cut(s, "\n")
	return strings.TrimSuffix(line, "\r"), rest
}

// isCanonical reports whether the token is as http.CanonicalHeaderKey would
// write it, which Go servers do.
func isCanonical(name string) bool {
	upper := true
	for i := range len(name) {
		c := name[i]
		if upper && 'a' <= c && c <= 'z' || !upper && 'A' <= c && c <= 'Z' {
			return false
		}
		upper = c == '-'
	}
	return true
}

func malformed(what, value string) error {
	return fmt.Errorf("%w: %s %q", ErrMalformed, what, value[:min(len(value), 80)])
}

// mergeTrailer adds the fields that came after a chunked body.
func mergeTrailer(resp *http.Response, fields http.Header) error {
	for name, values := range fields {
		if !mayTrail(name) {
			return malformed("trailer", name)
		}
		if resp.Trailer == nil {
			resp.Trailer = make(http.Header, len(fields))
		}
		resp.Trailer[name] = slices.Clone(values)
	}
	return nil
}
