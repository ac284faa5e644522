package h1

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

func TestParseResponse(t *testing.T) {
	for name, tc := range map[string]struct {
		method, head string
		want         http.Response
		how          framing
	}{
		"API server's": {
			"GET", "HTTP/1.1 200 OK\r\nAudit-Id: 1\r\nContent-Length: 12\r\nDate: Mon\r\n\r\n",
			http.Response{Status: "200 OK", StatusCode: 200, ProtoMinor: 1, ContentLength: 12,
				Header: http.Header{"Audit-Id": {"1"}, "Content-Length": {"12"}, "Date": {"Mon"}}}, byLength,
		},
		"no reason, odd case, repeated, empty, padded": {
			"GET", "HTTP/1.1 429\r\nx-a:1\r\nX-A: \t2 \r\nretry-AFTER:\r\ncontent-length: 0\r\n\r\n",
			http.Response{Status: "429", StatusCode: 429, ProtoMinor: 1,
				Header: http.Header{"X-A": {"1", "2"}, "Retry-After": {""}, "Content-Length": {"0"}}}, noBody,
		},
		"lone LF": {
			"GET", "HTTP/1.1 204 No Content\nA: b\n\n",
			http.Response{Status: "204 No Content", StatusCode: 204, ProtoMinor: 1, Header: http.Header{"A": {"b"}}}, noBody,
		},
		"chunked beats length, and ends the connection": {
			"GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: Chunked\r\n\r\n",
			http.Response{Status: "200 OK", StatusCode: 200, ProtoMinor: 1, ContentLength: -1, Close: true,
				TransferEncoding: []string{"Chunked"}, Header: http.Header{}}, byChunks,
		},
		"close": {
			"GET", "HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
			http.Response{Status: "200 OK", StatusCode: 200, ProtoMinor: 1, ContentLength: 1, Close: true,
				Header: http.Header{"Content-Length": {"1"}}}, byLength,
		},
		"until the end": {
			"GET", "HTTP/1.1 200 OK\r\n\r\n",
			http.Response{Status: "200 OK", StatusCode: 200, ProtoMinor: 1, ContentLength: -1, Close: true, Header: http.Header{}}, untilClose,
		},
		"HTTP/1.0": {
			"GET", "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n",
			http.Response{Status: "200 OK", StatusCode: 200, ContentLength: 1, Close: true, Header: http.Header{"Content-Length": {"1"}}}, byLength,
		},
		"HEAD": {
			"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n",
			http.Response{Status: "200 OK", StatusCode: 200, ProtoMinor: 1, ContentLength: 77, Header: http.Header{"Content-Length": {"77"}}}, noBody,
		},
		"declared trailer": {
			"GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: a, B-c\r\n\r\n",
			http.Response{Status: "200 OK", StatusCode: 200, ProtoMinor: 1, ContentLength: -1, TransferEncoding: []string{"chunked"},
				Header: http.Header{}, Trailer: http.Header{"A": nil, "B-C": nil}}, byChunks,
		},
	} {
		t.Run(name, func(t *testing.T) {
			var got http.Response
			how, err := parseResponse(&got, []byte(tc.head), tc.method)
			if err != nil {
				t.Fatal(err)
			}
			tc.want.ProtoMajor, tc.want.Proto = 1, fmt.Sprintf("HTTP/1.%d", tc.want.ProtoMinor)
			if diff := cmp.Diff(describe(&tc.want), describe(&got)); diff != "" || how != tc.how {
				t.Errorf("framing %d, want %d; (-want +got):\n%s", how, tc.how, diff)
			}
		})
	}
}

// describe is what of a response can be compared.
func describe(r *http.Response) map[string]any {
	return map[string]any{
		"status": r.Status, "code": r.StatusCode, "proto": r.Proto, "minor": r.ProtoMinor, "header": r.Header,
		"length": r.ContentLength, "close": r.Close, "encoding": len(r.TransferEncoding), "trailer": r.Trailer,
	}
}

func TestMalformedResponsesAreRefused(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	for name, head := range map[string]string{
		"other version":             "HTTP/2.0 200 OK\r\n\r\n",
		"no space":                  "HTTP/1.1200 OK\r\n\r\n",
		"short status":              "HTTP/1.1 20\r\n\r\n",
		"long status":               "HTTP/1.1 2000 OK\r\n\r\n",
		"signed status":             "HTTP/1.1 +20 OK\r\n\r\n",
		"status below 100":          "HTTP/1.1 099 OK\r\n\r\n",
		"control byte in reason":    "HTTP/1.1 200 O\x00K\r\n\r\n",
		"CR in reason":              "HTTP/1.1 200 O\rK\r\n\r\n",
		"no colon":                  ok + "Abc\r\n\r\n",
		"folded line":               ok + "A: b\r\n c\r\n\r\n",
		"first line folded":         ok + " A: b\r\n\r\n",
		"space before colon":        ok + "Content-Length : 5\r\n\r\n",
		"no name":                   ok + ": b\r\n\r\n",
		"control byte in value":     ok + "A: b\x00c\r\n\r\n",
		"CR in value":               ok + "A: b\rB: c\r\n\r\n",
		"different lengths":         ok + "Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
		"list of lengths":           ok + "Content-Length: 5, 5\r\n\r\n",
		"signed length":             ok + "Content-Length: +5\r\n\r\n",
		"negative length":           ok + "Content-Length: -5\r\n\r\n",
		"huge length":               ok + "Content-Length: 99999999999999999999\r\n\r\n",
		"empty length":              ok + "Content-Length: \r\n\r\n",
		"other encoding":            ok + "Transfer-Encoding: gzip\r\n\r\n",
		"two encodings":             ok + "Transfer-Encoding: gzip, chunked\r\n\r\n",
		"encoding twice":            ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
		"trailer that frames":       ok + "Transfer-Encoding: chunked\r\nTrailer: Content-Length\r\n\r\n",
		"trailer that is no token":  ok + "Transfer-Encoding: chunked\r\nTrailer: a b\r\n\r\n",
		"bad length beside chunked": ok + "Transfer-Encoding: chunked\r\nContent-Length: x\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			var resp http.Response
			if _, err := parseResponse(&resp, []byte(head), "GET"); !errors.Is(err, ErrMalformed) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestHeadsAreBoundedAndFoundOutEarly(t *testing.T) {
	for name, in := range map[string]string{
		"too long":            "HTTP/1.1 200 OK\r\nA: " + strings.Repeat("x", 20<<10) + "\r\n\r\n",
		"endless":             "HTTP/1.1 200 OK\r\n" + strings.Repeat("A: b\r\n", 20<<10),
		"not HTTP":            "SSH-2.0-x\r\n",
		"the TLS of a server": "\x15\x03\x01\x00\x02\x02\x46",
	} {
		t.Run(name, func(t *testing.T) {
			rd := reader{src: io.MultiReader(strings.NewReader(in), iotest.ErrReader(errors.New("read on")))}
			if _, err := rd.head("HTTP/1.", 16<<10); !errors.Is(err, ErrMalformed) {
				t.Errorf("error %v", err)
			}
			if len(rd.buf) > 64<<10 {
				t.Errorf("%d bytes were buffered", len(rd.buf))
			}
		})
	}
}

// FuzzResponse holds the parser to net/http's: what it accepts, net/http
// accepts with the same meaning, however the bytes are cut.
func FuzzResponse(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: A\r\n\r\n5\r\nhello\r\n3;x=y\r\nabc\r\n0\r\nA: b\r\n\r\n",
		"HTTP/1.0 404 Not Found\nConnection: keep-alive\ncontent-length: 3\n\nabcdef",
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"HTTP/1.1 200 \r\nA: b\r\n c\r\n\r\nx",
		"HTTP/1.1 200 OK\r\nPragma: no-cache\r\nTransfer-Encoding: identity\r\n\r\n1\r\n",
	} {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, in []byte, head bool) {
		method := "GET"
		if head {
			method = "HEAD"
		}
		rd := reader{src: iotest.OneByteReader(bytes.NewReader(in))}
		raw, err := rd.head("HTTP/1.", DefaultMaxHeaderBytes)
		if err != nil {
			return
		}
		rawCopy := bytes.Clone(raw)
		var got http.Response
		how, err := parseResponse(&got, raw, method)
		if err != nil {
			return
		}
		req := &http.Request{Method: method}
		want, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(in)), req)
		if err != nil {
			t.Fatalf("accepted %q, which net/http refuses: %v", rawCopy, err)
		}
		defer func() { _ = want.Body.Close() }()
		if got.Header["Pragma"] != nil && got.Header["Cache-Control"] == nil {
			delete(want.Header, "Cache-Control") // net/http's addition
		}
		if how == byChunks && got.Close != want.Close {
			got.Close = want.Close // chunked with a length: we close
		}
		if want.TransferEncoding == nil && got.ContentLength == -1 && method == "HEAD" {
			got.Close = want.Close // no body, so nothing hangs on it
		}
		want.Status, got.Status = strings.TrimSpace(want.Status), strings.TrimSpace(got.Status)
		if diff := cmp.Diff(describe(want), describe(&got)); diff != "" {
			t.Fatalf("%q (-net/http +ours):\n%s", rawCopy, diff)
		}

		wantBody, wantErr := io.ReadAll(want.Body)
		gotBody, gotTrailer, gotErr := readBody(&rd, how, got.ContentLength)
		if gotErr != nil {
			return // we may refuse more, never less
		}
		if wantErr != nil || !bytes.Equal(wantBody, gotBody) {
			t.Fatalf("body of %q: %q, net/http says %q, %v", in, gotBody, wantBody, wantErr)
		}
		if err := mergeTrailer(&got, gotTrailer); err == nil {
			if diff := cmp.Diff(want.Trailer, got.Trailer); diff != "" {
				t.Fatalf("trailer of %q (-net/http +ours):\n%s", in, diff)
			}
		}
	})
}

// readBody reads a body as body does, without a connection.
func readBody(rd *reader, how framing, length int64) ([]byte, http.Header, error) {
	switch how {
	case byLength:
		b, err := io.ReadAll(io.LimitReader(readFunc(rd.read), length))
		if err == nil && int64(len(b)) < length {
			err = io.ErrUnexpectedEOF
		}
		return b, nil, err
	case byChunks:
		c := chunkReader{}
		b, err := io.ReadAll(readFunc(func(p []byte) (int, error) { return c.read(rd, p) }))
		return b, c.trailer, err
	case untilClose:
		b, err := io.ReadAll(readFunc(rd.read))
		return b, nil, err
	}
	return nil, nil, nil
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

func TestChunkedBodiesThatAreRefused(t *testing.T) {
	for name, in := range map[string]string{
		"lone LF after size":   "5\nhello\r\n0\r\n\r\n",
		"lone LF after data":   "5\r\nhello\n0\r\n\r\n",
		"data too long":        "5\r\nhello!\r\n0\r\n\r\n",
		"no size":              "\r\nhello",
		"signed size":          "+5\r\nhello\r\n0\r\n\r\n",
		"huge size":            "ffffffffffffffff\r\nhello",
		"0x":                   "0x5\r\nhello\r\n0\r\n\r\n",
		"long extension":       "5;" + strings.Repeat("x", 5000) + "\r\nhello\r\n0\r\n\r\n",
		"trailer without name": "0\r\n: x\r\n\r\n",
		"lone LF as trailer":   "0\r\n\n\r\n",
		"lone LF in trailer":   "0\r\na: b\n\n",
		"long trailer":         "0\r\na: " + strings.Repeat("x", maxTrailer) + "\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := readBody(&reader{src: strings.NewReader(in)}, byChunks, -1)
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// A watch's event has to be passed on while the next one is not there.
func TestChunksAreReturnedAsTheyArrive(t *testing.T) {
	r, w := io.Pipe()
	defer func() { _ = w.Close() }()
	rd, c := &reader{src: r}, &chunkReader{}
	for _, in := range []string{"5\r\nhello\r\n", "3\r\nab", "c\r\n2\r\nde\r\n4", "\r\nfghi\r\n0\r\n", "\r\n"} {
		go func() { _, _ = io.WriteString(w, in) }()
		p := make([]byte, 100)
		n, err := c.read(rd, p)
		if got, want := string(p[:n]), strings.Join(strings.FieldsFunc(in, func(r rune) bool { return r < 'a' || r > 'z' }), ""); got != want {
			t.Errorf("after %q: %q, want %q", in, got, want)
		}
		if (err == io.EOF) != (in == "\r\n") || err != nil && err != io.EOF {
			t.Errorf("after %q: %v", in, err)
		}
	}
}

// FuzzChunked compares with net/http/httputil, and reads with many sizes.
func FuzzChunked(f *testing.F) {
	f.Add([]byte("5\r\nhello\r\n0\r\n\r\n"), 3)
	f.Add([]byte("A;x\r\n0123456789\r\n00\r\nT: v\r\n\r\nrest"), 4096)
	f.Add([]byte("1 \r\na\r\n1\t\r\nb\r\n0\r\n\r\n"), 1)
	f.Fuzz(func(t *testing.T, in []byte, size int) {
		if size < 1 || size > 1<<16 {
			return
		}
		rd, c := &reader{src: bytes.NewReader(in)}, &chunkReader{}
		var got []byte
		var err error
		for p := make([]byte, size); err == nil; {
			var n int
			n, err = c.read(rd, p)
			got = append(got, p[:n]...)
			if n == 0 && err == nil {
				t.Fatal("nothing was read, without an error")
			}
		}
		if err != io.EOF {
			return
		}
		want, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(in)))
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("got %q, net/http %q, %v", got, want, err)
		}
	})
}

// FuzzRequest checks that no field can escape its place: net/http reads back
// one request with exactly the fields that went in.
func FuzzRequest(f *testing.F) {
	f.Add("GET", "/api", "host:1", "Accept", "a/b", []byte(nil))
	f.Add("POST", "/a?b=%zz", "[::1]:1", "x-a", "v\r\nB: c", []byte("{}"))
	f.Add("PUT", "/\xff", "h", "Content-length", "7", []byte("x"))
	f.Fuzz(func(t *testing.T, method, target, host, name, value string, payload []byte) {
		r := &Request{Method: method, Target: target, Host: host, Header: http.Header{name: {value}}, Payload: payload}
		b, err := r.appendTo(nil, false)
		if err != nil {
			return
		}
		if len(payload) > inlineBody {
			b = append(b, payload...)
		}
		in := bufio.NewReader(bytes.NewReader(b))
		got, err := http.ReadRequest(in)
		if err != nil {
			if strings.ContainsAny(target+host, "%?#[]@:") || strings.HasPrefix(target, "//") || target == "*" || method == "PRI" {
				return // net/url or the host check is pickier
			}
			t.Fatalf("%q: %v", b, err)
		}
		body, err := io.ReadAll(got.Body)
		if err != nil || !bytes.Equal(body, payload) {
			t.Errorf("body %q, %v; want %q", body, err, payload)
		}
		if rest, _ := io.ReadAll(in); len(rest) != 0 {
			t.Errorf("left over: %q", rest)
		}
		want := http.Header{}
		if !isFraming(name, false) {
			want[http.CanonicalHeaderKey(name)] = []string{strings.Trim(value, " \t")}
		}
		got.Header.Del("Content-Length")
		if want["Pragma"] != nil {
			got.Header.Del("Cache-Control")
		}
		if diff := cmp.Diff(want, got.Header); diff != "" || got.Method != method || got.RequestURI != target {
			t.Errorf("%q reads back as %s %s %v", b, got.Method, got.RequestURI, got.Header)
		}
	})
}
