package fakeapi

import (
	"bufio"
	"crypto/sha1" // the WebSocket handshake is made with it (RFC 6455 §4.2.2)
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Upgrade switches protocols, whatever the client asks for (websocket,
// SPDY/3.1), and then sends back every byte it gets, until the client closes its
// side. A greeting is sent in the same write as the 101, so that it arrives
// together with the head.
func Upgrade(greeting string) http.Handler {
	return fault(func(ex *exchange, w http.ResponseWriter, r *http.Request) {
		protocol := r.Header.Get("Upgrade")
		if protocol == "" || ex.stream != nil {
			writeStatus(w, http.StatusBadRequest, "BadRequest", "you must specify an Upgrade, over HTTP/1.1", 0)
			return
		}
		raw, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			http.Error(w, "fakeapi: "+err.Error(), http.StatusInternalServerError)
			return
		}
		defer raw.Close()
		defer func() { _ = ex.conn.Close() }() // first: raw's close_notify could be held up by a fault
		var head strings.Builder
		fmt.Fprintf(&head, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n", protocol)
		if key := r.Header.Get("Sec-Websocket-Key"); key != "" {
			sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
			fmt.Fprintf(&head, "Sec-WebSocket-Accept: %s\r\n", base64.StdEncoding.EncodeToString(sum[:]))
		}
		if first, _, _ := strings.Cut(r.Header.Get("Sec-Websocket-Protocol"), ","); first != "" {
			fmt.Fprintf(&head, "Sec-WebSocket-Protocol: %s\r\n", strings.TrimSpace(first))
		}
		if version := r.Header.Get("X-Stream-Protocol-Version"); version != "" {
			fmt.Fprintf(&head, "X-Stream-Protocol-Version: %s\r\n", version)
		}
		if _, err := io.WriteString(raw, head.String()+"\r\n"+greeting); err != nil {
			return
		}
		echo(raw, buffered.Reader)
	})
}

func echo(w io.Writer, r *bufio.Reader) {
	if _, err := r.WriteTo(onlyWriter{w}); err != nil {
		return
	}
	if half, ok := w.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // the client may be gone
	}
}
