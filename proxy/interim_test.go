package proxy

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestHintsEndWithTheAttempt has the connection's goroutine bring a 1xx response
// when the attempt is over: it is dropped, and the exchange left alone.
func TestHintsEndWithTheAttempt(t *testing.T) {
	w := httptest.NewRecorder()
	h := hints{x: &exchange{w: w, r: httptest.NewRequest(http.MethodGet, "/api", nil)}}
	h.end()
	h.x = nil // as good as: it may serve another request
	if err := h.pass(http.StatusEarlyHints, nil); err != nil {
		t.Error(err)
	}
}
