package proxy

import "encoding/binary"

// wsFrames follows the frames of a WebSocket connection in one direction, and
// knows where one ends.
//
// Source: RFC 6455, section 5.2.
type wsFrames struct {
	head [14]byte // of the frame that is coming: 2 to 14 bytes
	got  int      // how many of them have come
	left uint64   // bytes of its payload that are still to come
}

// boundary reports whether everything seen so far is whole frames.
func (f *wsFrames) boundary() bool { return f.got == 0 && f.left == 0 }

// advance takes note of p.
func (f *wsFrames) advance(p []byte) {
	for len(p) > 0 {
		if f.left > 0 {
			n := min(f.left, uint64(len(p)))
			f.left -= n
			p = p[n:]
			continue
		}
		n := copy(f.head[f.got:f.size()], p)
		f.got += n
		p = p[n:]
		if f.got >= 2 && f.got == f.size() {
			f.left, f.got = f.payload(), 0
		}
	}
}

// size is how many bytes the head has, as far as that is known.
func (f *wsFrames) size() int {
	if f.got < 2 {
		return 2
	}
	size := 2
	switch f.head[1] & 0x7f {
	case 126:
		size += 2
	case 127:
		size += 8
	}
	if f.head[1]&0x80 != 0 { // masked
		size += 4
	}
	return size
}

// payload is the length that a whole head says.
func (f *wsFrames) payload() uint64 {
	switch n := f.head[1] & 0x7f; n {
	case 126:
		return uint64(binary.BigEndian.Uint16(f.head[2:]))
	case 127:
		return binary.BigEndian.Uint64(f.head[2:])
	default:
		return uint64(n)
	}
}

// wsPolicyViolation is the close code for what may not go on (RFC 6455, section
// 7.4.1).
const wsPolicyViolation = 1008

// closeFrame is a server's last frame: the code, and a reason of at most 123
// bytes, in UTF-8.
func closeFrame(code uint16, reason string) []byte {
	const most = 123
	if len(reason) > most {
		reason = reason[:most] // ours are ASCII
	}
	frame := append(make([]byte, 0, 4+len(reason)), 0x88, byte(2+len(reason)))
	frame = binary.BigEndian.AppendUint16(frame, code)
	return append(frame, reason...)
}
