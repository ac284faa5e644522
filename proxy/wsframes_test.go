package proxy

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// wsFrame is a server's or, with a mask, a client's frame.
func wsFrame(masked bool, payload int) []byte {
	mask := byte(0)
	if masked {
		mask = 0x80
	}
	b := []byte{0x82}
	switch {
	case payload < 126:
		b = append(b, mask|byte(payload))
	case payload <= 0xffff:
		b = binary.BigEndian.AppendUint16(append(b, mask|126), uint16(payload))
	default:
		b = binary.BigEndian.AppendUint64(append(b, mask|127), uint64(payload))
	}
	if masked {
		b = append(b, 1, 2, 3, 4)
	}
	return append(b, bytes.Repeat([]byte{0xff}, payload)...)
}

func TestWSFramesKnowTheirEnds(t *testing.T) {
	var stream []byte
	ends := map[int]bool{0: true}
	for _, size := range []int{0, 1, 125, 126, 127, 0xffff, 0x10000} {
		for _, masked := range []bool{false, true} {
			stream = append(stream, wsFrame(masked, size)...)
			ends[len(stream)] = true
		}
	}
	for _, step := range []int{1, 2, 3, 7, 4096, len(stream)} {
		var f wsFrames
		for at := 0; at < len(stream); {
			next := min(at+step, len(stream))
			f.advance(stream[at:next])
			at = next
			if f.boundary() != ends[at] {
				t.Fatalf("in steps of %d, after %d bytes: boundary %t, want %t", step, at, f.boundary(), ends[at])
			}
		}
	}
}

func TestCloseFrameIsOneFrame(t *testing.T) {
	for name, reason := range map[string]string{"short": "the client was revoked", "long": string(bytes.Repeat([]byte("x"), 300)), "none": ""} {
		t.Run(name, func(t *testing.T) {
			b := closeFrame(wsPolicyViolation, reason)
			var f wsFrames
			f.advance(b)
			if !f.boundary() || len(b) > 127 || b[0] != 0x88 || binary.BigEndian.Uint16(b[2:]) != 1008 {
				t.Errorf("%x is not one close frame with code 1008", b)
			}
		})
	}
}

func FuzzWSFrames(f *testing.F) {
	f.Add(wsFrame(false, 5), 1)
	f.Add(wsFrame(true, 200), 3)
	f.Add([]byte{0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 1}, 2)
	f.Fuzz(func(t *testing.T, stream []byte, cut int) {
		var whole, parts wsFrames
		whole.advance(stream)
		if len(stream) > 0 {
			cut = max(cut, -cut) % len(stream)
		} else {
			cut = 0
		}
		parts.advance(stream[:max(cut, 0)])
		parts.advance(stream[max(cut, 0):])
		if whole != parts && (whole.boundary() != parts.boundary() || whole.left != parts.left || whole.got != parts.got) {
			t.Errorf("whole %+v, in two parts %+v", whole, parts)
		}
	})
}
