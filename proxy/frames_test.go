package proxy

import (
	"encoding/binary"
	"strings"
	"testing"
)

func TestFramingOf(t *testing.T) {
	for _, c := range []struct {
		contentType, encoding string
		want                  framing
	}{
		{"application/json", "", lines},
		{"application/json;as=Table;v=v1;g=meta.k8s.io", "", lines},
		{"application/json;stream=watch", "identity", lines},
		{"application/json", "gzip", unframed},
		{"text/plain; charset=utf-8", "", lines},
		{"application/vnd.kubernetes.protobuf;stream=watch", "", lengths},
		{"application/octet-stream", "", unframed},
		{"", "", unframed},
	} {
		if got := framingOf(c.contentType, c.encoding); got != c.want {
			t.Errorf("framingOf(%q, %q) = %v, want %v", c.contentType, c.encoding, got, c.want)
		}
	}
}

func protobufFrames(sizes ...int) []byte {
	var b []byte
	for _, n := range sizes {
		b = binary.BigEndian.AppendUint32(b, uint32(n))
		b = append(b, strings.Repeat("x", n)...)
	}
	return b
}

func TestFramesLines(t *testing.T) {
	f := frames{framing: lines}
	for i, step := range []struct {
		in       string
		last     int
		boundary bool
	}{
		{"{}\n", 3, true},
		{"{\"a\"", 0, false},
		{"", 0, false},
		{":1}\n{", 4, false},
		{"}\n", 2, true},
		{"", 0, true},
	} {
		if got := f.advance([]byte(step.in)); got != step.last || f.boundary() != step.boundary {
			t.Errorf("step %d %q: last %d boundary %v, want %d %v", i, step.in, got, f.boundary(), step.last, step.boundary)
		}
	}
}

// FuzzFrames cuts a protobuf stream anywhere: the boundaries found do not
// depend on how the bytes arrive.
func FuzzFrames(f *testing.F) {
	f.Add(protobufFrames(3, 0, 70), uint8(1))
	f.Add(protobufFrames(1)[:3], uint8(2))
	f.Add([]byte("\xff\xff\xff\xffabc"), uint8(3))
	f.Fuzz(func(t *testing.T, stream []byte, step uint8) {
		for _, framing := range []framing{lines, lengths, unframed} {
			whole := frames{framing: framing}
			want := whole.advance(stream)
			pieces := frames{framing: framing}
			got := 0
			for at := 0; at < len(stream); {
				n := min(int(step)+1, len(stream)-at)
				if last := pieces.advance(stream[at : at+n]); last > 0 {
					got = at + last
				}
				at += n
			}
			if got != want || pieces.boundary() != whole.boundary() {
				t.Errorf("framing %v in pieces of %d: last boundary %d (%v), at once %d (%v)",
					framing, int(step)+1, got, pieces.boundary(), want, whole.boundary())
			}
		}
	})
}
