package proxy

import (
	"bytes"
	"encoding/binary"
	"mime"
	"strings"
)

// framing is how a streamed body is cut into frames, so that a drain ends it
// between two of them and the client's decoder sees a clean end.
type framing uint8

const (
	unframed framing = iota // anything: an end anywhere is as good as any other
	lines                   // JSON watch frames and log lines: each ends in a newline
	lengths                 // protobuf watch frames: a 4-byte big-endian length before each
)

// framingOf reads the framing from a response's Content-Type and
// Content-Encoding. Compressed streams cannot be cut and count as unframed.
//
// Source: apimachinery, pkg/runtime/serializer/{json,protobuf}: the stream
// serializers' framers.
func framingOf(contentType, contentEncoding string) framing {
	if contentEncoding != "" && contentEncoding != "identity" {
		return unframed
	}
	mediaType, _, err := mime.ParseMediaType(contentType)
	switch {
	case err != nil:
		return unframed
	case mediaType == "application/json", strings.HasPrefix(mediaType, "text/"), strings.HasSuffix(mediaType, "+json"):
		return lines
	case mediaType == "application/vnd.kubernetes.protobuf":
		return lengths
	}
	return unframed
}

// frames follows a stream and knows where frames end.
type frames struct {
	framing framing
	inside  bool // bytes of a frame passed and its end has not
	head    [4]byte
	headLen int
	left    uint64 // bytes of the current length-delimited frame still to come
}

// boundary reports whether everything seen so far is whole frames.
func (f *frames) boundary() bool { return !f.inside }

// advance takes note of p and returns the length of the prefix of p that ends
// at the last frame boundary in it: 0 when p holds none.
func (f *frames) advance(p []byte) (last int) {
	switch f.framing {
	case lines:
		last = bytes.LastIndexByte(p, '\n') + 1
		f.inside = last < len(p) || (last == 0 && f.inside && len(p) == 0)
		return last
	case lengths:
		return f.advanceLengths(p)
	}
	return len(p)
}

func (f *frames) advanceLengths(p []byte) (last int) {
	for i := 0; i < len(p); {
		if f.left == 0 {
			n := copy(f.head[f.headLen:], p[i:])
			f.headLen += n
			i += n
			f.inside = true
			if f.headLen < len(f.head) {
				return last
			}
			f.headLen = 0
			f.left = uint64(binary.BigEndian.Uint32(f.head[:]))
			if f.left == 0 {
				f.inside = false
				last = i
			}
			continue
		}
		n := min(f.left, uint64(len(p)-i))
		f.left -= n
		i += int(n)
		if f.left == 0 {
			f.inside = false
			last = i
		}
	}
	return last
}
